"""JsonTable: what GeoJSON and saved Esri answers have in common."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from parcels.files.dataset import Dataset
from parcels.files.json_stream import Members, json_features, without_garbage_collection
from parcels.files.table_reader import NO_NOTES, ColumnNotes, RawRows
from parcels.files.text_encoding import TextDecoder
from parcels.files.text_values import Texts, json_text

# A smaller file is parsed once, and its rows are kept until they are read.
_MAX_KEPT_BYTES = 32 << 20
_CUT = (
    "it is cut: the server sent only its first page (exceededTransferLimit), so lots are missing; "
    "add the layer itself with `lotline registry add NAME URL`, or download all pages"
)
_PAGE = (
    "it is cut: it is one page of an answer, which names the next one (links, rel=next), so lots "
    "are missing; download all pages"
)


_Feature = TypeVar("_Feature")


class JsonTable(ABC):
    """See `TableReader`. The first pass finds the columns, the CRS and a cut answer.

    Args:
        where: an SQL filter, which GDAL evaluates.
        encoding: of the registry entry.
    """

    _is_esri = False

    def __init__(self, dataset: Dataset, where: str | None, encoding: str | None) -> None:
        self._dataset, self._where = dataset, where
        self.decoder = TextDecoder.of_utf8_format(encoding)
        self.crs: object | None = None
        self._rows = 0
        self._position = 0
        self._kept: list[tuple[Members, Any]] | None = []
        self._other: Members = {}
        self._answers, self._answers_with_next = 0, 0
        names: dict[str, None] = {}
        with without_garbage_collection():
            for attributes, shape in self._features(names_other=True):
                self._rows += 1
                for name in attributes:
                    names[name] = None
                if self._kept is not None:
                    self._kept.append((attributes, shape))
                    if self._position > _MAX_KEPT_BYTES:
                        self._kept = None
        if not self._rows:
            _refuse_other(self._other)
        _refuse_part(self._other, self._rows)
        # Of several answers in one file, the last has no next page.
        if 0 < self._answers <= self._answers_with_next:
            raise ValueError(_PAGE)
        self.columns = [self.decoder.repair(name) or name for name in names]
        self._raw_names = dict(zip(self.columns, names, strict=True))
        self.crs = self._declared_crs(self._other)
        self.notes = self._column_notes(self._other)

    def count(self) -> int:
        """See `TableReader`."""
        return self._rows

    def batches(
        self, columns: Sequence[str], batch_size: int, after: int, crs: CRS
    ) -> Iterator[RawRows]:
        """See `TableReader`."""
        kept = iter(self._kept) if self._kept is not None else self._features()
        features = itertools.islice(self._matching(kept), after, None)
        while batch := list(itertools.islice(features, batch_size)):
            attributes, shapes = zip(*batch, strict=True)
            values = {name: self._texts(attributes, self._raw_names[name]) for name in columns}
            yield RawRows(self._geometries(shapes, crs), values)
        self._kept = None  # read once, so that the rows are not held twice

    @staticmethod
    @abstractmethod
    def _attributes(feature: Members) -> Members:
        """The column values of a feature."""

    @staticmethod
    @abstractmethod
    def _shape(geometry: Any) -> Any:  # noqa: ANN401
        """The geometry of a feature in the form of which `_geometries` makes polygons."""

    @abstractmethod
    def _geometries(self, shapes: Sequence[Any], crs: CRS) -> NDArray[np.object_]:
        """The polygons (n,) of shapes."""

    @abstractmethod
    def _declared_crs(self, other: Members) -> object | None:
        """The CRS from the members beside the features."""

    def _column_notes(self, other: Members) -> ColumnNotes:  # noqa: ARG002
        """What the members beside the features say about the columns."""
        return NO_NOTES

    def _features(self, *, names_other: bool = False) -> Iterator[tuple[Members, Any]]:
        """The attributes and the shape of each feature."""
        with self._dataset.open() as file:
            for is_feature, members in json_features(file):
                if is_feature:
                    self._position = file.tell()
                    yield self._attributes(members), self._shape(members.get("geometry"))
                elif names_other:
                    _refuse_cut(members)
                    self._answers += 1
                    self._answers_with_next += _has_next_page(members)
                    self._other = {**members, **self._other}

    def _matching(self, features: Iterator[_Feature]) -> Iterator[_Feature]:
        if self._where is None:
            return features
        from parcels.files.json_filter import matching_features

        keep = matching_features(self._dataset, self._where, self._other, is_esri=self._is_esri)
        if len(keep) != self._rows:
            raise ValueError("'where' cannot be evaluated for this file; save it as a GeoPackage")
        return itertools.compress(features, keep.tolist())

    def _texts(self, attributes: Sequence[Members], name: str) -> Texts:
        return [
            None if text is None else self.decoder.repair(text)
            for text in (json_text(each.get(name), self.decoder) for each in attributes)
        ]


def _refuse_cut(members: Members) -> None:
    for holder in (members, members.get("properties"), members.get("metadata")):
        if isinstance(holder, dict) and _is_true(holder.get("exceededTransferLimit")):
            raise ValueError(_CUT)


def _refuse_part(members: Members, rows: int) -> None:
    """Refuse one page of an OGC API, or of GeoServer."""
    for key in ("numberMatched", "totalFeatures"):
        total = members.get(key)
        if isinstance(total, str) and total.strip().isdecimal():
            total = int(total)
        if isinstance(total, int) and total > rows:
            raise ValueError(
                f"it is cut: it has {rows:,} of {total:,} lots ({key}), so the others are missing; "
                "download all pages"
            )


def _has_next_page(members: Members) -> bool:
    links = members.get("links")
    return isinstance(links, list) and any(
        isinstance(link, dict) and link.get("rel") == "next" for link in links
    )


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _refuse_other(members: Members) -> None:
    """Refuse what has no features for a known reason."""
    error: Any = members.get("error")
    if error:
        message = error.get("message") if isinstance(error, dict) else error
        raise ValueError(
            f"it is a server's error message ({str(message)[:100]}), not data; download it again"
        )
    if {"objectIds", "count"} & members.keys():
        raise ValueError("it has only ids or a count of a server, no lots; download the features")
    if "currentVersion" in members or "drawingInfo" in members:
        raise ValueError(
            "it describes a server's layer and has no lots; add the layer itself with `lotline "
            "registry add NAME URL`"
        )
