"""Which labels a batch looks for: those of labels.yaml, of the county, and of the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.errors import LabelError
from detection.labels import LABELS, Label, choose_labels, merge_label_entries, parse_label_option
from detection.registry.county import DetectionCounty
from detection.registry.label_entry import LabelEntry
from pipeline.batch.request import BatchRequest


class LabelSelection:
    """What an order asks for in a county; wrong names and words are found when it is made."""

    def __init__(self, order: BatchRequest, county: DetectionCounty) -> None:
        """
        Raises:
            LabelError: a name that is not known, or words that are no label.
        """
        in_county = merge_label_entries(LABELS, county.labels, f"registry: county {county.key!r}")
        own = _in_words(order.own_labels)
        self._own = tuple(own)
        self._known: Mapping[str, Label] = merge_label_entries(in_county, own, "--label")
        self._chosen = choose_labels([*order.labels, *own], self._known) if order.labels else None

    def of(self, found: Sequence[str] | None) -> tuple[Label, ...]:
        """The labels, where a segmenter finds those names, or (None) what it is asked for.

        One that finds a few only is spared the others, unless the order names them.
        """
        if self._chosen is not None:
            return self._chosen
        usual = [name for name in self._known if found is None or name in found]
        return choose_labels([*usual, *self._own], self._known)


def _in_words(texts: Sequence[str]) -> dict[str, LabelEntry]:
    entries: dict[str, LabelEntry] = {}
    for text in texts:
        [(name, entry)] = parse_label_option(text).items()
        if name in entries:
            raise LabelError(f"the label {name!r} is given twice: keep one of its prompts")
        entries[name] = entry
    return entries
