"""The labels that are to be detected on images, from names, own labels and prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from detection.errors import LabelError
from detection.labels import (
    LABELS,
    Label,
    check_labels,
    choose_labels,
    merge_label_entries,
    parse_label_option,
)


def labels_of(
    labels: Sequence[str],
    prompts: Sequence[str],
    segmenter: str,
    supported: Sequence[str] | None,
) -> tuple[Label, ...]:
    """The labels that were asked for, or all that the segmenter detects.

    Args:
        labels: names, or NAME=PROMPT for own labels.
        prompts: texts that are detected under a name made of them.
        supported: the names that the segmenter detects; None if it takes any prompt.

    Raises:
        LabelError: an unknown name, a name with two prompts, or one that it cannot detect.
    """
    texts = [text for text in labels if "=" in text]
    texts += [f"{_name_of(prompt)}={prompt}" for prompt in prompts]
    own = {}
    for text in texts:
        [(name, entry)] = parse_label_option(text).items()
        if name in own:
            raise LabelError(f"the label {name!r} has two prompts: keep one of them")
        own[name] = entry
    known = merge_label_entries(LABELS, own, "--label")
    names = [text.partition("=")[0].strip() for text in labels]
    names += [_name_of(prompt) for prompt in prompts]
    if not names:
        names = [name for name in known if supported is None or name in supported]
    for name in names:
        if name not in known:  # images have no registry entry that could have it
            raise LabelError(
                f"unknown label {name!r}: choose from {', '.join(known)}, or give it a prompt, "
                f'as --label "{name}=..." does'
            )
    chosen = choose_labels(names, known)
    check_labels(segmenter, supported, chosen)
    return chosen


def _name_of(prompt: str) -> str:
    """The label's name of a prompt: fuse_cutout of "fuse cutout"."""
    name = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:40].rstrip("_")
    return name if name[:1].isalpha() else f"prompt_{name}".rstrip("_")
