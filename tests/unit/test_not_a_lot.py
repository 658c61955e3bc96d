"""What is not a lot: placeholder ids, types, missing ids, and the shape of a street."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
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
00-0001|RD12|ROW-A12B|GAPP|BAY 3|HWY61-12-003A|PARCEL 1|CITY PARK|COUNTY|STATE
""".strip()
    .replace("\n", "|")
    .split("|")
)
TYPES_OF_LOTS = (
    "FEE|TAX|Lot|Parcel|TAX PARCEL|CONDO|Residential|Water Front|Waterfront|Vacant|Other"
    "|Unknown|N/A|NA|None|Undefined|Unassigned|RR"
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
     "Tidelands", "Water Feature"],
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
