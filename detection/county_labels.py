"""Which labels are detected in a county: those of labels.yaml, of its entry, and of the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.errors import LabelError
from detection.labels import (
    LABELS,
    Label,
    check_labels,
    choose_labels,
    merge_label_entries,
    parse_label_option,
)
from detection.registry.county import DetectionCounty
from detection.registry.label_entry import LabelEntry


class CountyLabels:
    """The labels of a county, validated before a segmenter is built.

    Args:
        names: of labels of labels.yaml or of the county; empty for all that the segmenter detects.
        own_labels: more labels, or other prompts for known ones, written as "trampoline=round
            backyard trampoline".

    Raises:
        LabelError: an unknown label name, or an own label that is not valid.
    """

    def __init__(
        self, county: DetectionCounty, names: Sequence[str] = (), own_labels: Sequence[str] = ()
    ) -> None:
        in_county = merge_label_entries(LABELS, county.labels, f"registry: county {county.key!r}")
        own = _parse_own_labels(own_labels)
        self._own = tuple(own)
        self._known: Mapping[str, Label] = merge_label_entries(in_county, own, "--label")
        self._chosen = choose_labels([*names, *own], self._known) if names else None

    @property
    def known(self) -> Mapping[str, Label]:
        """All labels that may be detected, by name."""
        return self._known

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the labels that the caller chose or added; empty for the default."""
        if self._chosen is None:
            return self._own
        return tuple(label.name for label in self._chosen)

    def for_segmenter(self, name: str, supported: Sequence[str] | None) -> tuple[Label, ...]:
        """The labels for a segmenter that detects the `supported` names; None if it detects any.

        Labels that it does not support are left out, unless they were chosen.

        Args:
            name: of the segmenter.

        Raises:
            LabelError: a chosen label that it cannot detect.
        """
        chosen = self._chosen
        if chosen is None:
            default = [name for name in self._known if supported is None or name in supported]
            chosen = choose_labels([*default, *self._own], self._known)
        check_labels(name, supported, chosen)
        return chosen


def _parse_own_labels(texts: Sequence[str]) -> dict[str, LabelEntry]:
    entries: dict[str, LabelEntry] = {}
    for text in texts:
        [(name, entry)] = parse_label_option(text).items()
        if name in entries:
            raise LabelError(f"the label {name!r} is given twice: keep one of its prompts")
        entries[name] = entry
    return entries
