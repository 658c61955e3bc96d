"""Prompts for training: phrases of each label, and phrases for absent things."""

from __future__ import annotations

import random

PHRASES = {
    "lawn": ("lawn", "grass lawn", "mowed grass lawn"),
    "tree": ("tree", "tree canopy"),
    "vegetation": ("vegetation", "green vegetation"),
    "roof": ("roof", "house roof"),
    "driveway": ("driveway", "paved driveway"),
    "pool": ("pool", "swimming pool", "backyard swimming pool"),
}
# Words of PHRASES, which an absent phrase may contain too.
_KNOWN_WORDS = ("green", "backyard", "house", "paved", "mowed", "swimming")
# Words outside PHRASES share one embedding in the network.
_UNKNOWN_WORDS = ("trampoline", "solar panel", "car", "boat", "tennis court", "helicopter", "snow")


def absent_phrase(rng: random.Random) -> str:
    """A phrase for something that no sample county has, partly of words in PHRASES."""
    words = [rng.choice(_UNKNOWN_WORDS)]
    while rng.random() < 0.4:
        words.insert(rng.randint(0, len(words)), rng.choice((*_KNOWN_WORDS, *_UNKNOWN_WORDS)))
    return " ".join(words)
