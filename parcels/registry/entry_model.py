"""The base of the models that validate a registry entry and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class EntryModel(BaseModel):
    """Frozen; an unknown key is an error, so that a typo is never ignored.

    A subclass sets the texts of its error messages:

    Attributes:
        nested_models: key -> the model of its value, which lists the keys that are known there.
        hints: key -> what to write instead of an invalid value; `*` stands for any name.
        list_hints: the same for lists, which get one message however many items are invalid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nested_models: ClassVar[Mapping[str, type[BaseModel]]] = {}
    hints: ClassVar[Mapping[str, str]] = {}
    list_hints: ClassVar[Mapping[str, str]] = {}
