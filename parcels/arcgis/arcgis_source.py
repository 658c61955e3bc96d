"""A county's ArcGIS layer as a parcel source, with fallback to its alternates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.arcgis.attribute_queries import with_addresses, with_ids
from parcels.arcgis.harvest import harvest, layer_version
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.multipoint import PointLookup
from parcels.arcgis.object_ids import row_count
from parcels.arcgis.query import LayerQuery
from parcels.errors import ParcelsError, SourceMisconfigured, SourceUnavailable
from parcels.parcel_source import Extent, LayerVersion, Page, QueryResult, query_all
from parcels.registry.county import County

_Result = TypeVar("_Result")
_Key = TypeVar("_Key", str, Point, StreetAddress)


class ArcGISSource:
    """Queries the county's layer; what fails there, it queries from the alternates, in order.

    It is also a `HarvestableLayer`. Object ids and layer versions belong to one layer: a harvest
    uses the layer of the last `layer_version`.
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
        self._snapshot_layer: LayerQuery | None = None

    def check(self) -> None:
        """Fetch the layer's metadata and check the mapped columns.

        If no layer is available, the circuit of each opens: half a minute of waiting for a layer
        is enough, and the queries that follow fail at once.

        Raises:
            SourceUnavailable, SourceMisconfigured: no layer is usable.
        """
        try:
            self._first(_checked)
        except SourceUnavailable:
            for layer in self._layers:
                layer.open_circuit()
            raise

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees, from the layer's metadata.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._first(lambda layer: layer.info.extent)

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """The rows with exactly these parcel ids; up to a thousand ids in a call."""
        return self._each(partial(with_ids, in_flight=self._in_flight), parcel_ids)

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points; a hundred in a call."""
        return self._each(lambda layer, some: self._points[layer.origin].at_points(some), points)

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points; a hundred in a call."""
        return self._each(
            lambda layer, some: self._points[layer.origin].near_points(some, distance_m), points
        )

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """Rows that may have these addresses, for the caller to compare; 25 in a call."""
        return self._each(partial(with_addresses, in_flight=self._in_flight), addresses)

    def layer_version(self) -> LayerVersion:
        """The layer's version, in at most three calls.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        if self._snapshot_layer is not self._layers[0]:
            self._snapshot_layer = None  # the primary layer may be back
        return layer_version(self._layer_to_snapshot)

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        """Every row of the layer once, in order of object id; resumes after `after_object_id`.

        Raises:
            SourceUnavailable: the server is down; pages yielded so far are valid.
            IncompleteResponse: the rows do not match the layer's own ids or count.
            SourceMisconfigured.
        """
        return harvest(self._layer_to_snapshot, after_object_id, self._in_flight)

    def row_count(self) -> int | None:
        """The number of rows in the layer; None if its server does not count.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return row_count(self._layer_to_snapshot)

    @property
    def snapshot_origin(self) -> str:
        """The URL of the layer that `layer_version` and `harvest` use.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._layer_to_snapshot.origin

    @property
    def _layer_to_snapshot(self) -> LayerQuery:
        if self._snapshot_layer is None:
            self._snapshot_layer = self._first(_checked)
        return self._snapshot_layer

    def _each(
        self,
        query: Callable[[LayerQuery, Sequence[_Key]], Sequence[QueryResult | ParcelsError]],
        keys: Sequence[_Key],
    ) -> list[QueryResult | ParcelsError]:
        """Query each layer for the keys that failed at the layers before it."""
        errors: dict[int, list[ParcelsError]] = {i: [] for i in range(len(keys))}
        results: dict[int, QueryResult | ParcelsError] = {}
        for layer in self._layers:
            open_keys = list(errors)
            found = query_all(partial(_query_checked, query, layer), [keys[i] for i in open_keys])
            for i, result in zip(open_keys, found, strict=True):
                if isinstance(result, QueryResult):
                    results[i] = result
                    del errors[i]
                else:
                    errors[i].append(result)
            if not errors:
                break
        results |= {i: _most_retryable(of_layers) for i, of_layers in errors.items()}
        return [results[i] for i in range(len(keys))]

    def _first(self, query: Callable[[LayerQuery], _Result]) -> _Result:
        """The result of the first layer that does not fail.

        Raises:
            SourceUnavailable: one of the layers may work later.
            SourceMisconfigured, GeometryError: the first layer's error, if none will.
        """
        errors: list[ParcelsError] = []
        for layer in self._layers:
            try:
                return query(layer)
            except ParcelsError as error:
                errors.append(error)
        raise _most_retryable(errors)


def _query_checked(
    query: Callable[[LayerQuery, Sequence[_Key]], Sequence[QueryResult | ParcelsError]],
    layer: LayerQuery,
    keys: Sequence[_Key],
) -> Sequence[QueryResult | ParcelsError]:
    return query(_checked(layer), keys)  # checked before there are threads, which all would


def _checked(layer: LayerQuery) -> LayerQuery:
    _ = layer.columns
    return layer


def _most_retryable(errors: Sequence[ParcelsError]) -> ParcelsError:
    """The first error that may pass later, else the first."""
    return next((error for error in errors if isinstance(error, SourceUnavailable)), errors[0])
