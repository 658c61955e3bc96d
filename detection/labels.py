"""Labels: the class, the text that asks for it, and how its polygons meet a lot line.

The known ones are in labels.yaml beside this. A county may say otherwise of them, and add its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from detection.errors import LabelError
from detection.registry.label_entry import LABEL_HINTS, LabelEntries, LabelEntry
from parcels.errors import RegistryError
from parcels.registry.entry import validation_messages
from parcels.registry.entry_model import EntryModel
from parcels.registry.yaml_file import parse_yaml, read_text

LabelKind = Literal["discrete", "continuous"]

# Of a label that somebody adds and says no more of than its words.
_NEW = {"kind": "discrete", "min_area_m2": 1.0}


@dataclass(frozen=True, slots=True)
class Label:
    """A class of things on a lot.

    Attributes:
        prompt: the text that a prompted segmenter is asked with.
        kind: "discrete" things (a pool) belong to a lot whole; "continuous" ones (a lawn) are
            trimmed at the lot line.
        min_area_m2: smaller polygons are taken for noise.
        score_threshold: what a prompted segmenter must be sure of, 0..1, to say that it is there.
        simplify_share: outlines may lose corners as long as a polygon's area changes by no more
            than this share of it; 0 keeps every corner.
    """

    name: str
    prompt: str
    kind: LabelKind
    min_area_m2: float
    score_threshold: float = 0.5
    simplify_share: float = 0.0


class _File(EntryModel):
    """What labels.yaml holds."""

    labels: LabelEntries

    nested_models: ClassVar = {"labels": LabelEntry}
    hints: ClassVar = LABEL_HINTS


def read_labels(file: Path) -> dict[str, Label]:
    """The labels of a YAML file, by their names, in the file's order.

    Raises:
        LabelError: the file cannot be read, or a label is wrong; a line for each mistake, with
            file, label, key and what to write instead.
    """
    try:
        content = parse_yaml(read_text(file), file)
    except RegistryError as error:
        raise LabelError(str(error)) from error
    if not isinstance(content, dict) or content.keys() != {"labels"}:
        raise LabelError(f"{file}: write the labels under 'labels:', and nothing beside it")
    return merge_label_entries({}, _entries(content, str(file)), str(file))


def merge_label_entries(
    known: Mapping[str, Label], entries: Mapping[str, LabelEntry], where: str
) -> dict[str, Label]:
    """The known labels with what the entries say of them, then the new ones.

    Args:
        where: the entries are written, for the messages.

    Raises:
        LabelError: a new label without a prompt.
    """
    labels = dict(known)
    for name, entry in entries.items():
        said: dict[str, Any] = entry.model_dump(exclude_none=True)
        if name in labels:
            labels[name] = replace(labels[name], **said)
        elif "prompt" in said:
            labels[name] = Label(name, **{**_NEW, **said})
        else:
            raise LabelError(
                f"{where}: 'labels.{name}': has no prompt; write the words that name it, such as "
                f"prompt: round backyard trampoline (known without one: {', '.join(known)})"
            )
    return labels


def parse_label_option(text: str) -> dict[str, LabelEntry]:
    """The entry of "trampoline=round backyard trampoline", by its name.

    Raises:
        LabelError: it is not written so.
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
    """The labels of these names, in their order, each once; of `LABELS` if not said otherwise.

    Raises:
        LabelError: a name that is not known, or none at all.
    """
    known = LABELS if known is None else known
    chosen: dict[str, Label] = {}
    for name in names:
        if name not in known:
            raise LabelError(
                f"unknown label {name!r}: choose from {', '.join(known)}, or add it with its "
                f'prompt (--label "{name}=…", or labels: in the registry)'
            )
        chosen[name] = known[name]
    if not chosen:
        raise LabelError(f"no label given: choose from {', '.join(known)}")
    return tuple(chosen.values())


def _entries(content: object, where: str) -> dict[str, LabelEntry]:
    try:
        return _File.model_validate(content).labels
    except ValidationError as error:
        lines = (f"{where}: {line}" for line in validation_messages(error, _File))
        raise LabelError("\n".join(lines)) from error


LABELS: Mapping[str, Label] = MappingProxyType(read_labels(Path(__file__).with_name("labels.yaml")))
