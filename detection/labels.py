"""Labels: the classes to detect, each with its text prompt and its rule at lot lines.

The shipped ones are in labels.yaml. A county may change them, and add its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from detection.errors import LabelError, UnknownLabel
from detection.registry.label_entry import LABEL_HINTS, LabelEntries, LabelEntry
from parcels.errors import RegistryError
from parcels.registry.entry import validation_messages
from parcels.registry.entry_model import EntryModel
from parcels.registry.yaml_file import parse_yaml, read_text

LabelKind = Literal["discrete", "continuous"]

# Defaults of a new label that has only a prompt.
_NEW_LABEL = {"kind": "discrete", "min_area_m2": 1.0}


@dataclass(frozen=True, slots=True)
class Label:
    """A class of objects on a lot.

    Attributes:
        prompt: the text prompt for the segmenter.
        kind: "discrete" objects (a pool) belong to one lot; "continuous" ones (a lawn) are trimmed
            at the lot line.
        min_area_m2: smaller polygons are dropped as noise.
        score_threshold: the score, 0..1, from which a prompted segmenter's object counts.
        simplify_share: outlines are simplified as long as a polygon's area changes by at most
            this fraction; 0 keeps every vertex.
        contains: labels that are part of this one: adding their areas counts ground twice.
    """

    name: str
    prompt: str
    kind: LabelKind
    min_area_m2: float
    score_threshold: float = 0.5
    simplify_share: float = 0.0
    contains: tuple[str, ...] = ()


class _File(EntryModel):
    """The schema of labels.yaml."""

    labels: LabelEntries

    nested_models: ClassVar = {"labels": LabelEntry}
    hints: ClassVar = LABEL_HINTS


def read_labels(file: Path) -> dict[str, Label]:
    """The labels of a YAML file, by name, in the file's order.

    Raises:
        LabelError: the file cannot be read, or a label is invalid; one line for each mistake, with
            file, label, key and what to write instead.
    """
    try:
        content = parse_yaml(read_text(file), file)
    except RegistryError as error:
        raise LabelError(str(error)) from error
    if not isinstance(content, dict) or content.keys() != {"labels"}:
        raise LabelError(f"{file}: write all labels under 'labels:', the only top-level key")
    return merge_label_entries({}, _entries(content, str(file)), str(file))


def merge_label_entries(
    known: Mapping[str, Label], entries: Mapping[str, LabelEntry], where: str
) -> dict[str, Label]:
    """The known labels with the entries' changes, then the new labels.

    Args:
        where: the source of the entries, for messages.

    Raises:
        LabelError: a new label without a prompt.
    """
    labels = dict(known)
    for name, entry in entries.items():
        changes: dict[str, Any] = entry.model_dump(exclude_none=True)
        if name in labels:
            labels[name] = replace(labels[name], **changes)
        elif "prompt" in changes:
            labels[name] = Label(name, **{**_NEW_LABEL, **changes})
        else:
            raise LabelError(
                f"{where}: 'labels.{name}': a new label needs a prompt, such as "
                f"prompt: round backyard trampoline. Only {', '.join(known)} have a default prompt"
            )
    for name, entry in entries.items():
        for part in entry.contains or ():
            if part not in labels or part == name:
                raise LabelError(
                    f"{where}: 'labels.{name}.contains': {part!r} is not another label; choose "
                    f"from {', '.join(labels)}"
                )
    return labels


def parse_label_option(text: str) -> dict[str, LabelEntry]:
    """The entry of a text such as "trampoline=round backyard trampoline", by name.

    Raises:
        LabelError: not of this form.
    """
    name, equals, prompt = (part.strip() for part in text.partition("="))
    if not equals:
        raise LabelError(
            f'label {text[:80]!r}: write a name and its prompt, such as "trampoline=round backyard '
            'trampoline"'
        )
    return _entries({"labels": {name: prompt}}, f"label {text[:80]!r}")


def choose_labels(
    names: Iterable[str], known: Mapping[str, Label] | None = None
) -> tuple[Label, ...]:
    """The labels with these names, in their order, without duplicates.

    Args:
        known: to choose from; None is `LABELS`.

    Raises:
        LabelError: an unknown name, or no name.
    """
    known = LABELS if known is None else known
    chosen: dict[str, Label] = {}
    for name in names:
        if name not in known:
            raise UnknownLabel(
                f"unknown label {name!r}: choose from {', '.join(known)}, or add it with a "
                "prompt under 'labels' in the registry entry"
            )
        chosen[name] = known[name]
    if not chosen:
        raise LabelError(f"no label given: choose from {', '.join(known)}")
    return tuple(chosen.values())


def contained_labels(labels: Iterable[Label] | None = None) -> dict[str, tuple[str, ...]]:
    """The labels that are part of a label, by name, for those that have any.

    Args:
        labels: None is `LABELS`.
    """
    labels = LABELS.values() if labels is None else labels
    return {label.name: label.contains for label in labels if label.contains}


def check_labels(name: str, supported: Sequence[str] | None, labels: Sequence[Label]) -> None:
    """Refuse labels that a segmenter cannot detect.

    Args:
        name: of the segmenter.
        supported: its label names; None if it takes text prompts.

    Raises:
        LabelError: an unsupported label.
    """
    for label in labels:
        if supported is not None and label.name not in supported:
            # Networks know the labels of labels.yaml; the SAM3s but tiny take any prompt.
            others = "sam3-nano or sam3"
            if label.name in LABELS:
                others = f"landcover, sam3-tiny, {others}"
            raise LabelError(
                f"the segmenter {name} cannot detect {label.name!r}, only "
                f"{', '.join(supported)}. Choose one of these, or a segmenter that can: {others}"
            )


def _entries(content: object, where: str) -> dict[str, LabelEntry]:
    try:
        return _File.model_validate(content).labels
    except ValidationError as error:
        lines = (f"{where}: {line}" for line in validation_messages(error, _File))
        raise LabelError("\n".join(lines)) from error


LABELS: Mapping[str, Label] = MappingProxyType(read_labels(Path(__file__).with_name("labels.yaml")))
"""The labels of labels.yaml, by name."""
