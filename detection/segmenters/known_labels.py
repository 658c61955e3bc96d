"""The labels of segmenters without text prompts, known before a segmenter is loaded."""

from __future__ import annotations

SPECTRAL_LABELS = ("lawn", "tree", "vegetation")
LANDCOVER_LABELS = ("lawn", "tree", "driveway", "roof", "pool", "vegetation")
