"""What the small SAM3s are taught: phrases of each label, and phrases for absent things."""

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


# What sam3-nano is taught: the phrases above, and what people say for the same things.
TAUGHT_PHRASES = {
    "lawn": (
        *PHRASES["lawn"], "grass", "mown grass", "turf", "green lawn", "front lawn",
        "front yard grass", "backyard lawn", "lawns",
    ),
    "tree": (*PHRASES["tree"], "trees", "tree crown", "tree cover", "canopy", "green tree"),
    "vegetation": (*PHRASES["vegetation"], "plants", "greenery", "green plants", "plant cover"),
    "roof": (
        *PHRASES["roof"], "roofs", "rooftop", "building roof", "building", "buildings", "house",
        "houses",
    ),
    "driveway": (
        *PHRASES["driveway"], "driveways", "concrete driveway", "driveway or patio", "patio",
        "paved patio", "house driveway",
    ),
    "pool": (*PHRASES["pool"], "pools", "swimming pools", "backyard pool"),
}  # fmt: skip
# Words that name none of the labels alone; with an untaught word they make an absent phrase.
_MODIFIERS = ("green", "front", "backyard", "paved", "concrete", "mowed", "swimming", "or", "cover")
_HEADS = ("lawn", "tree", "roof", "driveway", "pool", "house", "grass", "patio", "vegetation")
# Untaught words share one embedding, so a few stand for all of them.
_ABSENT_WORDS = (
    *_UNKNOWN_WORDS, "river", "parking lot", "sheep", "runway", "bridge", "shipping container",
    "tractor", "street light", "rock", "billboard",
)  # fmt: skip
# Never trained on, to measure what an untaught phrase finds: words of their own, and words that
# follow or precede a taught one.
HELD_OUT_PHRASES = (
    "chimney", "football field", "railway track", "cow", "wind turbine", "umbrella", "crane",
    "garbage truck", "sand dune", "cemetery", "pool table", "tree trunk", "lawn mower",
    "lawn chair", "roof antenna", "house number", "grass snake", "swimming duck", "green bicycle",
    "paved racetrack",
)  # fmt: skip


def untaught_phrase(rng: random.Random) -> str:
    """A phrase that names nothing that sam3-nano is taught.

    An untaught word, often with taught ones around it ("pool umbrella" is no pool), or taught words
    that are not enough ("green").
    """
    if rng.random() < 0.2:
        return rng.choice(_MODIFIERS)
    words = [rng.choice(_ABSENT_WORDS)]
    while rng.random() < 0.45:
        words.insert(rng.randint(0, len(words)), rng.choice((*_MODIFIERS, *_HEADS, *_ABSENT_WORDS)))
    return " ".join(words)
