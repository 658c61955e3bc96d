"""The foot that people are told of beside the metre."""

from __future__ import annotations

# Exactly: the international foot, of which the US survey foot is no more than 0.0004 % larger in
# area.
M_PER_FT = 0.3048
M2_PER_SQFT = M_PER_FT**2
