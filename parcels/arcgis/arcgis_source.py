"""A county's ArcGIS layer, and its alternates while it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.arcgis.attribute_queries import with_addresses, with_ids
from parcels.arcgis.harvest import harvest, layer_version, row_count
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.multipoint import PointLookup
from parcels.arcgis.query import LayerQuery
from parcels.errors import ParcelsError, SourceMisconfigured, SourceUnavailable
from parcels.parcel_source import Extent, LayerVersion, Page, QueryResult, ask_all
from parcels.registry.county import County

_Result = TypeVar("_Result")
_Question = TypeVar("_Question", str, Point, StreetAddress)


class ArcGISSource:
    """Asks the county's layer; what it does not answer, its alternates in their order.

    It is a `WholeLayer` too. Object ids and stamps are those of one layer: a harvest is of the
    one that gave the last stamp.
    """

    def __init__(
        self,
        county: County,
        client: ArcGISClient | None = None,
        breaker: Callable[[], CircuitBreaker] = CircuitBreaker,
    ) -> None:
        if not county.layers:
            raise SourceMisconfigured(f"county {county.key!r} has no 'url' and 'layer'")
        client = client or ArcGISClient.for_county(county)
        self._in_flight = county.calls_in_flight
        self._layers = [
            LayerQuery(layer, county.fields, county.where, client, breaker())
            for layer in county.layers
        ]
        self._points = {layer.origin: PointLookup(layer, self._in_flight) for layer in self._layers}
        self._copied: LayerQuery | None = None

    def check(self) -> None:
        """Ask the layer what it is, and whether it has the mapped columns.

        What does not answer is left alone for a minute: half a minute of waiting for each layer
        is enough for all the questions that follow.

        Raises:
            SourceUnavailable, SourceMisconfigured: of the first layer, where none will do.
        """
        try:
            self._first(_checked)
        except SourceUnavailable:
            for layer in self._layers:
                layer.leave_alone()
            raise

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees, as the layer says it.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._first(lambda layer: layer.info.extent)

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """The rows with exactly these parcel ids, some hundreds in a call."""
        ask = partial(with_ids, in_flight=self._in_flight)
        return self._each(ask, parcel_ids)

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points, a hundred in a call."""
        return self._each(lambda layer, some: self._points[layer.origin].at_points(some), points)

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points, a hundred in a call."""
        return self._each(
            lambda layer, some: self._points[layer.origin].near_points(some, distance_m), points
        )

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """Rows that may have these addresses, a few dozen in a call; the caller compares."""
        return self._each(partial(with_addresses, in_flight=self._in_flight), addresses)

    def layer_version(self) -> LayerVersion:
        """What the layer says of its state now, in three calls at most.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        if self._copied is not self._layers[0]:
            self._copied = None  # the layer itself may be back
        return layer_version(self._to_copy)

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        """Every row of the layer once; with `after_object_id` only those that come after it.

        Raises:
            SourceUnavailable: it does not answer now; what was yielded is good.
            IncompleteAnswer: what it sent does not agree with what it says it has.
            SourceMisconfigured.
        """
        return harvest(self._to_copy, after_object_id, self._in_flight)

    def row_count(self) -> int | None:
        """How many rows the layer has; None where its server does not count.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return row_count(self._to_copy)

    @property
    def snapshot_origin(self) -> str:
        """The layer that `layer_version` and `harvest` speak of.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._to_copy.origin

    @property
    def _to_copy(self) -> LayerQuery:
        if self._copied is None:
            self._copied = self._first(_checked)
        return self._copied

    def _each(
        self,
        ask: Callable[[LayerQuery, Sequence[_Question]], Sequence[QueryResult | ParcelsError]],
        questions: Sequence[_Question],
    ) -> list[QueryResult | ParcelsError]:
        """What the first layer leaves unanswered is asked of the next."""
        errors: dict[int, list[ParcelsError]] = {i: [] for i in range(len(questions))}
        answers: dict[int, QueryResult | ParcelsError] = {}
        for layer in self._layers:
            unanswered = list(errors)
            said = ask_all(partial(_ask_checked, ask, layer), [questions[i] for i in unanswered])
            for i, answer in zip(unanswered, said, strict=True):
                if isinstance(answer, QueryResult):
                    answers[i] = answer
                    del errors[i]
                else:
                    errors[i].append(answer)
            if not errors:
                break
        answers |= {i: _most_hopeful(of_layers) for i, of_layers in errors.items()}
        return [answers[i] for i in range(len(questions))]

    def _first(self, ask: Callable[[LayerQuery], _Result]) -> _Result:
        """The answer of the first layer that gives one.

        Raises:
            SourceUnavailable: one of them may answer later.
            SourceMisconfigured, GeometryError: none of them will; of the first layer.
        """
        errors: list[ParcelsError] = []
        for layer in self._layers:
            try:
                return ask(layer)
            except ParcelsError as error:
                errors.append(error)
        raise _most_hopeful(errors)


def _ask_checked(
    ask: Callable[[LayerQuery, Sequence[_Question]], Sequence[QueryResult | ParcelsError]],
    layer: LayerQuery,
    questions: Sequence[_Question],
) -> Sequence[QueryResult | ParcelsError]:
    return ask(_checked(layer), questions)  # before there are threads that would all check it


def _checked(layer: LayerQuery) -> LayerQuery:
    _ = layer.columns
    return layer


def _most_hopeful(errors: Sequence[ParcelsError]) -> ParcelsError:
    """One that may pass, if there is one; else the first."""
    return next((error for error in errors if isinstance(error, SourceUnavailable)), errors[0])
