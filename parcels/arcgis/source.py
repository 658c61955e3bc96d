"""A county's ArcGIS layer, and its alternates while it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from shapely import Point

from parcels.arcgis.breaker import Breaker
from parcels.arcgis.client import ArcGISClient
from parcels.arcgis.query import LayerQuery
from parcels.county import County
from parcels.errors import ParcelsError, SourceError, SourceMisconfigured, SourceUnavailable
from parcels.source import Extent, Found

_Result = TypeVar("_Result")
_Question = TypeVar("_Question", str, Point)


class ArcGISSource:
    """Asks the county's layer; where that fails, its alternates in their order."""

    def __init__(
        self,
        county: County,
        client: ArcGISClient | None = None,
        breaker: Callable[[], Breaker] = Breaker,
    ) -> None:
        if not county.layers:
            raise SourceMisconfigured(f"county {county.key!r} has no 'url' and 'layer'")
        client = client or ArcGISClient(allow_private=county.allow_private)
        self._layers = [
            LayerQuery(layer, county.fields, county.where, client, breaker())
            for layer in county.layers
        ]

    def check(self) -> None:
        """Ask the layer what it is, and whether it has the mapped columns.

        Raises:
            SourceUnavailable, SourceMisconfigured: of the first layer, where none will do.
        """
        self._first(lambda layer: layer.check())

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees, as the layer says it.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._first(lambda layer: layer.info.extent)

    def with_ids(self, parcel_ids: Sequence[str]) -> list[Found | ParcelsError]:
        """The rows with exactly these parcel ids, a query for each."""
        return self._each(LayerQuery.with_id, parcel_ids)

    def at_points(self, points: Sequence[Point]) -> list[Found | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points, a query for each."""
        return self._each(LayerQuery.at_point, points)

    def _each(
        self, ask: Callable[[LayerQuery, _Question], Found], questions: Sequence[_Question]
    ) -> list[Found | ParcelsError]:
        answers: list[Found | ParcelsError] = []
        for question in questions:
            try:
                answers.append(self._first(partial(_asked, ask, question)))
            except SourceError as error:
                answers.append(error)
        return answers

    def _first(self, ask: Callable[[LayerQuery], _Result]) -> _Result:
        """The answer of the first layer that gives one.

        Raises:
            SourceUnavailable: one of them may answer later.
            SourceMisconfigured: none of them will; of the first layer.
        """
        errors: list[SourceError] = []
        for layer in self._layers:
            try:
                return ask(layer)
            except SourceError as error:
                errors.append(error)
        raise next((e for e in errors if isinstance(e, SourceUnavailable)), errors[0])


def _asked(
    ask: Callable[[LayerQuery, _Question], Found], question: _Question, layer: LayerQuery
) -> Found:
    return ask(layer, question)
