"""What the tiny network is asked, and what it is asked in vain."""

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
# Words that come with things that are there, before words that never are.
_KNOWN = ("green", "backyard", "house", "paved", "mowed", "swimming")
# Any word that is not in PHRASES is the same to the network: one stands for all.
_STRANGE = ("trampoline", "solar panel", "car", "boat", "tennis court", "helicopter", "snow")


def absent_phrase(chance: random.Random) -> str:
    """Something that is in no sample county, in part of words that are in PHRASES."""
    words = [chance.choice(_STRANGE)]
    while chance.random() < 0.4:
        words.insert(chance.randint(0, len(words)), chance.choice((*_KNOWN, *_STRANGE)))
    return " ".join(words)
