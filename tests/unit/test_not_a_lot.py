"""What is not a lot: placeholder ids, types, missing ids, and the shape of a street."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
import shapely.affinity
from shapely import Polygon

from parcels import Boundary, County, NoBoundary, ParcelBoundaryService, Property
from parcels.placeholders import is_placeholder, is_type_of_no_lot

PLACEHOLDERS = (
    """
ROW|R/W|R.O.W.|RW|R-O-W|r/o/w|(ROW)|ROWS|ROW1|ROW-0012|ROW 12 34|Right of Way|RIGHT-OF-WAY
RIGHTS OF WAY|rights_of_way|RIGHTOFWAY|PRIV_ROW|PRIVATE ROW|PUBLIC RIGHT OF WAY|STREET R/W
ROAD ROW|RAIL_ROW|RAILROAD|RR|RAIL ROAD|RAILWAY|WATER|HYDRO|Lake|RIVER|RIVERS AND LAKES
OPEN WATER|WATER BODY|CANAL|SUBMERGED LANDS|STREETS|ALLEY|ALLEYS|HIGHWAY 61|STATE HIGHWAY|HWY
ROAD|Public Road|ROADWAY|CITY STREET|COUNTY ROAD 12|RIGHTS-OF-WAY STREETS, ROADS|EASEMENT|MEDIAN
UNKNOWN|Unk|U/K|NONE|none|NULL|<Null>|N/A|NA|#N/A|nan|NO ID|NOPIN|NO PARCEL|NO_PARCEL|NO DATA
GAP|gap 12|OVERLAP|VOID|TBD|UNASSIGNED|NOT ASSIGNED|NOT A PARCEL
0|000|0.0|00-00-000|-1|-9999|-99|99999999|999-99-999|9999999999
NO PARCEL ID|NO PARCEL NUMBER|NON-PARCEL|NONPARCEL|RT OF WAY|RIGHT OF WY|ST ROW|ROW-A
ROW-12-34-56-78|NO VALUE|12-ROW-3|12-ROW|2-R/W-9|DRAINAGE DITCH|R/R
RR ROW|RAILROAD R/W|BNSF ROW|TDOT ROW|I-40 ROW|SR 9 ROW|US HWY 64 ROW|0000000ROW|00ROW|R of W
UPRR|CSX|NORFOLK SOUTHERN RAILROAD|Union Pacific Railroad Co.|RD|PVT RD|COUNTY RD 5|ROUTE 9|HIATUS
BAYOU|RIVERBED|TRAFFIC ISLAND
|XXX|XX-XX|?|--|.
""".strip()
    .replace("\n", "|")
    .split("|")
)
IDS = (
    """
123|0123|042035  00007|LAKE-12|RR-0012|1-0|10|99|999|9999|99999|999999
NA-0001|NA1|UNK-0012|999-99|-12345|X12|x|ROWE-12|ROWAN 1|ST-123|A|N
S12|ROADRUNNER 3|CREEKSIDE|C|TR 1|TRACT A|LOT 12|OUTLOT A|WATERFRONT LOT 3|RIVERSIDE 1|LAKEVIEW
RW1234567|ROW1234567|LOT ROW|BURR|ARR-1|CSX-12|HARBORVIEW 3|GULFSTREAM|GORE-12A|RD-1
00-0001|RD12|ROW-A12B|GAPP|BAY 3|HWY61-12-003A|PARCEL 1|CITY PARK|COUNTY|STATE
""".strip()
    .replace("\n", "|")
    .split("|")
)
TYPES_OF_LOTS = (
    "FEE|TAX|Lot|Parcel|TAX PARCEL|CONDO|Residential|Water Front|Waterfront|Vacant|Other"
    "|Unknown|N/A|NA|None|Undefined|Unassigned|RR|IRR|Lot with ROW|Row House|No ROW|Waterfront Lot"
)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_placeholders_in_their_spellings(text: str) -> None:
    assert is_placeholder(text)
    assert is_placeholder(f" {text.lower()} ")


@pytest.mark.parametrize("text", IDS)
def test_real_ids_are_not_placeholders(text: str) -> None:
    assert not is_placeholder(text)


@pytest.mark.parametrize("text", TYPES_OF_LOTS.split("|"))
def test_types_of_lots(text: str) -> None:
    assert not is_type_of_no_lot(text)


# MassGIS, FGDL (land use), Guam's style, and a parcel fabric.
@pytest.mark.parametrize(
    "text",
    ["ROW", "PRIV_ROW", "RAIL_ROW", "WATER", "Right of Way", "RIGHTS-OF-WAY, STREETS, ROADS",
     "RIVERS AND LAKES, SUBMERGED LANDS", "R/W", "Easement", "Road", "Hydro", "Gap",
     "Water/River", "Lake/Pond", "ROW/Easement", "Creek/Drainage", "Rd", "DOT ROW", "Non-Parcel",
     "Tidelands", "Water Feature", "Railroad ROW", "TDOT ROW", "I-40 ROW", "BNSF Railway"],
)  # fmt: skip
def test_types_that_are_not_lots(text: str) -> None:
    assert is_type_of_no_lot(text)


def county(folder: Path, rows: list[tuple[Any, Polygon]], fields: dict[str, str]) -> County:
    frame = gpd.GeoDataFrame(
        {"PIN": [value for value, _ in rows]},
        geometry=[shape for _, shape in rows],
        crs="EPSG:4326",
    )
    frame.to_file(folder / "lots.gpkg")
    return County.model_validate(
        {"key": "test", "path": str(folder / "lots.gpkg"), "fields": fields}
    )


LOT, WAY = shapely.box(-90.001, 35.0, -90.0, 35.001), shapely.box(-90.0, 35.0, -89.999, 35.001)


@pytest.mark.parametrize("fields", [{}, {"parcel_id": "PIN"}], ids=["guessed", "mapped"])
@pytest.mark.parametrize("value", ["ROW", "0", "", None, "UNKNOWN"])
def test_a_right_of_way_is_no_lot_however_the_id_column_is_known(
    tmp_path: Path, value: str | None, fields: dict[str, str]
) -> None:
    service = ParcelBoundaryService(county(tmp_path, [("A1", LOT), (value, WAY)], fields))
    lot, way = service.boundaries(
        [Property("a", -90.0005, 35.0005), Property("b", -89.9995, 35.0005)]
    )
    assert isinstance(lot, Boundary)
    assert lot.parcel_ids == ("A1",)
    assert isinstance(way, Boundary)
    assert (way.source, way.method) == ("buffer_30m", "no_lot")
    assert way.note.startswith("the parcel there was not taken, as it")
    if value:
        [by_id] = service.boundaries([Property("c", parcel_id=value)])
        assert isinstance(by_id, NoBoundary)
        assert by_id.reason == "not_found"
        assert f"its parcel id is {value!r}" in by_id.detail


M = 1 / 111_000  # degrees of latitude for a metre; near the equator, of longitude too


def street_rows(lots_a_side: int, width_m: float = 14.0) -> list[tuple[str, Polygon]]:
    """Lots of 20 x 40 m on both sides of a street that has an id like theirs."""
    length_m = lots_a_side * 20
    street = shapely.box(0, 0, length_m * M, width_m * M)
    rows = [("07-100", street)]
    for i in range(lots_a_side):
        x = i * 20 * M
        rows.append((f"07-{i:03d}N", shapely.box(x, width_m * M, x + 20 * M, (width_m + 40) * M)))
        rows.append((f"07-{i:03d}S", shapely.box(x, -40 * M, x + 20 * M, 0)))
    return rows


def boundary_in_street(tmp_path: Path, rows: list[tuple[str, Polygon]]) -> Boundary:
    service = ParcelBoundaryService(county(tmp_path, rows, {}))
    [found] = service.boundaries([Property("a", 31 * M, 7 * M)])
    assert isinstance(found, Boundary)
    return found


def test_a_street_with_an_id_like_a_lot_is_told_by_its_shape_and_neighbours(
    tmp_path: Path,
) -> None:
    found = boundary_in_street(tmp_path, street_rows(15))
    assert found.source == "buffer_30m"
    assert "long and thin (13 m wide on average) and touches" in found.note
    by_id = ParcelBoundaryService(county(tmp_path, street_rows(15), {})).boundaries(
        [Property("b", parcel_id="07-100")]
    )[0]
    assert isinstance(by_id, Boundary)
    assert by_id.source == "lot", "who gives the id means it"


def test_a_long_lot_with_few_neighbours_is_a_lot(tmp_path: Path) -> None:
    [strip, *lots] = street_rows(15)
    assert boundary_in_street(tmp_path, [strip, *lots[:6]]).source == "lot"


def test_a_wide_or_compact_lot_with_many_neighbours_is_a_lot(tmp_path: Path) -> None:
    assert boundary_in_street(tmp_path, street_rows(15, width_m=80)).source == "lot"


W = 0.0003  # a lot of about 30 m


def found_at(tmp_path: Path, rows: list[tuple[Any, Any]], x: float, y: float) -> Boundary:
    service = ParcelBoundaryService(county(tmp_path, rows, {}))
    [found] = service.boundaries([Property("a", x, y)])
    assert isinstance(found, Boundary)
    return found


def test_a_lot_of_several_parts_is_judged_by_the_part_at_the_point(tmp_path: Path) -> None:
    grid = {
        (i, j): shapely.box(i * W, j * W, (i + 1) * W, (j + 1) * W)
        for i in range(9)
        for j in range(9)
    }
    parts = shapely.MultiPolygon([grid.pop((i, j)) for i in (1, 3) for j in (1, 3)])
    rows = [(f"{i}-{j}", lot) for (i, j), lot in grid.items()]
    assert found_at(tmp_path, [*rows, ("PARTS", parts)], 1.5 * W, 1.5 * W).parcel_ids == ("PARTS",)


def test_a_flag_lot_is_a_lot(tmp_path: Path) -> None:
    pole = shapely.box(0, 0, 4 * M, 140 * M)
    flag = pole.union(shapely.box(-15 * M, 140 * M, 20 * M, 179 * M))
    beside = [
        (f"{side}{i}", shapely.box(x * M, i * 20 * M, (x + 30) * M, (i + 1) * 20 * M))
        for side, x in (("W", -30), ("E", 4))
        for i in range(7)
    ]
    found = found_at(tmp_path, [*beside, ("FLAG", flag)], 2 * M, 160 * M)
    assert found.parcel_ids == ("FLAG",)


def test_land_around_the_buildings_of_a_condominium_is_a_lot(tmp_path: Path) -> None:
    pads = [
        shapely.box(x * M, y * M, (x + 14) * M, (y + 22) * M)
        for x in range(4, 160, 18)
        for y in (4, 30)
    ]
    land = shapely.box(0, 0, 164 * M, 56 * M) - shapely.union_all(pads)
    rows = [("LAND", land), *((f"UNIT-{i}", pad) for i, pad in enumerate(pads))]
    assert found_at(tmp_path, rows, 2 * M, 2 * M).parcel_ids == ("LAND",)


def test_streets_around_blocks_of_lots_are_streets(tmp_path: Path) -> None:
    blocks = [shapely.box(x * M, 12 * M, (x + 80) * M, 72 * M) for x in (12, 104)]
    streets = shapely.box(0, 0, 196 * M, 84 * M) - shapely.union_all(blocks)
    lots = [
        (f"{b}-{i}", shapely.box(x * M, y * M, (x + 20) * M, (y + 30) * M))
        for b, left in enumerate((12, 104))
        for i, (x, y) in enumerate((left + dx, y) for dx in range(0, 80, 20) for y in (12, 42))
    ]
    found = found_at(tmp_path, [("07-100", streets), *lots], 98 * M, 40 * M)
    assert found.source == "buffer_30m"
    assert "long and thin" in found.note


def test_the_lot_below_a_street_is_found(tmp_path: Path) -> None:
    [strip, *lots] = street_rows(15)
    big = ("BIG", shapely.box(-500 * M, -500 * M, 900 * M, 900 * M))
    assert boundary_in_street(tmp_path, [strip, *lots, big]).parcel_ids == ("BIG",)


def test_pieces_that_are_no_lots_are_not_part_of_the_lot(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"PIN": ["A1", "A1"], "POLY_TYPE": ["FEE", "PRIV_ROW"]}, geometry=[LOT, WAY], crs=4326
    )
    frame.to_file(tmp_path / "lots.gpkg")
    entry = County.model_validate({"key": "test", "path": str(tmp_path / "lots.gpkg")})
    by_id, by_point = ParcelBoundaryService(entry).boundaries(
        [Property("a", parcel_id="A1"), Property("b", -90.0005, 35.0005)]
    )
    for found in (by_id, by_point):
        assert isinstance(found, Boundary)
        assert found.geometry.equals(LOT)


def test_a_lot_whose_piece_has_no_geometry_is_noted(tmp_path: Path) -> None:
    service = ParcelBoundaryService(county(tmp_path, [("A1", LOT), ("A1", None)], {}))
    props = [Property("a", parcel_id="A1"), Property("b", -90.0005, 35.0005)]
    for found in service.boundaries(props):
        assert isinstance(found, Boundary)
        assert found.note.startswith("1 of 2 rows of the lot have no usable geometry")


def test_an_id_of_too_many_polygons_says_so(tmp_path: Path) -> None:
    far = shapely.affinity.translate(LOT, 0.5, 0)
    service = ParcelBoundaryService(county(tmp_path, [("A1", LOT), ("A1", far)], {}))
    [found] = service.boundaries([Property("a", parcel_id="A1")])
    assert isinstance(found, NoBoundary)
    assert "2 polygons have this id, too many or too far apart for one lot" in found.detail
