"""Which labels a batch looks for: those of labels.yaml, of the county and of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.errors import LabelError
from detection.labels import LABELS, Label, choose_labels, merge_label_entries, parse_label_option
from detection.registry.county import DetectionCounty
from detection.registry.label_entry import LabelEntry
from pipeline.batch.request import BatchRequest


class LabelSelection:
    """The labels of a request in a county, validated before a segmenter is built."""

    def __init__(self, request: BatchRequest, county: DetectionCounty) -> None:
        """
        Raises:
            LabelError: an unknown label name, or an own label that is not valid.
        """
        in_county = merge_label_entries(LABELS, county.labels, f"registry: county {county.key!r}")
        own = _parse_own_labels(request.own_labels)
        self._own = tuple(own)
        self._known: Mapping[str, Label] = merge_label_entries(in_county, own, "--label")
        self._chosen = (
            choose_labels([*request.labels, *own], self._known) if request.labels else None
        )

    def for_segmenter(self, supported: Sequence[str] | None) -> tuple[Label, ...]:
        """The labels for a segmenter that finds the `supported` names; None if it finds any.

        Labels that the segmenter does not support are left out, unless the request names them.
        """
        if self._chosen is not None:
            return self._chosen
        default = [name for name in self._known if supported is None or name in supported]
        return choose_labels([*default, *self._own], self._known)


def _parse_own_labels(texts: Sequence[str]) -> dict[str, LabelEntry]:
    entries: dict[str, LabelEntry] = {}
    for text in texts:
        [(name, entry)] = parse_label_option(text).items()
        if name in entries:
            raise LabelError(f"the label {name!r} is given twice: keep one of its prompts")
        entries[name] = entry
    return entries
