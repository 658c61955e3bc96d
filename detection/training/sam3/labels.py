"""The labels that sam3-nano is taught, and how they are coded in arrays."""

from __future__ import annotations

# The order of the planes of targets and weights, and of a view's prompts.
LABELS = ("lawn", "tree", "vegetation", "roof", "driveway", "pool")
# Those of which single objects are known: a canopy has no single trees from above.
OBJECT_LABELS = ("lawn", "roof", "driveway", "pool")
# Where touching objects are told apart by their shape.
SPLIT_LABELS = ("roof",)
# The planes of the teacher's probabilities: the six classes of a pixel, then vegetation.
TEACHER_PLANES = ("other", "lawn", "tree", "roof", "driveway", "pool", "vegetation")
# The codes of labels drawn by hand; 255 is unsure, or outside of what was drawn.
TRACED_CODES = {"lawn": 1, "tree": 2, "roof": 3, "driveway": 4, "pool": 5}
UNSURE = 255
# Of pixels with a target: weights are stored as integers.
WEIGHT_UNIT = 16
