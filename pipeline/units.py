"""Square feet, shown beside square metres."""

from __future__ import annotations

# The international foot, exact; areas in US survey feet differ by less than 0.0004 %.
M_PER_FT = 0.3048
M2_PER_SQFT = M_PER_FT**2
