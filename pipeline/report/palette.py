"""Map colours: one colour per label, state and boundary source, the same in every picture.

Used by the PNG map, the SVG map, their legends and the bars of the report page. Label colours
have to be readable on aerial imagery, on white paper and in dark mode.
"""

from __future__ import annotations

LABEL_COLOURS = {
    "lawn": "#a9de1c",
    "tree": "#0fb0c6",
    "vegetation": "#e667b8",
    "driveway": "#9a78f0",
    "roof": "#f2573f",
    "pool": "#2f72ff",
}
OTHER_LABEL_COLOURS = ("#f58a1f", "#2bbf95", "#d9a514", "#b07a4a", "#d83fc0")

# Properties by state on the report page. Dark mode needs lighter ones.
STATE_COLOURS = {
    "done": "#2f8f63",
    "no_imagery": "#8a93a0",
    "deferred": "#d6962a",
    "failed": "#cc4433",
}
STATE_COLOURS_DARK = {
    "done": "#46b483",
    "no_imagery": "#7d8794",
    "deferred": "#e0a844",
    "failed": "#e8695a",
}

# Outlines on aerial imagery, and the ground where no imagery is.
BOUNDARY_COLOURS = {"lot": "#ffffff", "buffer_30m": "#ffb000"}
NO_IMAGERY_COLOUR = "#d0d0d0"


def label_colour(label: str) -> str:
    """The colour of a label as #rrggbb: its own, else one that its name determines."""
    others = OTHER_LABEL_COLOURS
    return LABEL_COLOURS.get(label) or others[sum(label.encode()) % len(others)]
