"""Datum transformations: intentionally null, applied, or refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Proj, Transformer
from shapely import Point

from parcels.crs import CoarseDatumWarning, from_wgs84, horizontal, to_wgs84
from parcels.errors import GeometryError

GEOD = Geod(ellps="WGS84")
MEMPHIS, CHICAGO, MALIBU = (-90.0490, 35.1495), (-87.6298, 41.8781), (-118.68, 34.03)

UNKNOWN_DATUM = (
    'PROJCS["Old map",GEOGCS["g",DATUM["D_Unknown",SPHEROID["Clarke_1866",6378206.4,294.9786982]],'
    'PRIMEM["Greenwich",0],UNIT["Degree",0.0174532925199433]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000],'
    'PARAMETER["False_Northing",0],PARAMETER["Central_Meridian",-93],'
    'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0],UNIT["Meter",1]]'
)


def points(*lon_lat: tuple[float, float]) -> Any:
    return np.asarray([Point(xy) for xy in lon_lat], dtype=object)


def there(crs: str, lon_lat: tuple[float, float]) -> tuple[float, float]:
    [point] = from_wgs84(points(lon_lat), horizontal(CRS.from_user_input(crs)))
    return (point.x, point.y)


def back(crs: str, xy: tuple[float, float]) -> tuple[float, float]:
    [point] = to_wgs84(points(xy), horizontal(CRS.from_user_input(crs)))
    return (point.x, point.y)


def apart_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(GEOD.inv(*a, *b)[2])


# The zones' published parameters on an ellipsoid without a datum: any datum shift would show.
@pytest.mark.parametrize(
    ("crs", "zone", "place"),
    [
        ("EPSG:2274", "+proj=lcc +lat_0=34.3333333333333 +lon_0=-86 +lat_1=35.25 +lat_2=36.4166666666667 +x_0=600000 +y_0=0 +ellps=GRS80 +units=us-ft", MEMPHIS),  # noqa: E501
        ("ESRI:102736", "+proj=lcc +lat_0=34.3333333333333 +lon_0=-86 +lat_1=35.25 +lat_2=36.4166666666667 +x_0=600000 +y_0=0 +ellps=GRS80 +units=us-ft", MEMPHIS),  # noqa: E501
        ("EPSG:3435", "+proj=tmerc +lat_0=36.6666666666667 +lon_0=-88.3333333333333 +k=0.999975 +x_0=300000 +y_0=0 +ellps=GRS80 +units=us-ft", CHICAGO),  # noqa: E501
        ("EPSG:2229", "+proj=lcc +lat_0=33.5 +lon_0=-118 +lat_1=35.4666666666667 +lat_2=34.0333333333333 +x_0=2000000.0001016 +y_0=500000.0001016 +ellps=GRS80 +units=us-ft", MALIBU),  # noqa: E501
        ("EPSG:26915", "+proj=utm +zone=15 +ellps=GRS80", MEMPHIS),
        ("ESRI:102100", "+proj=merc +a=6378137 +b=6378137", MEMPHIS),
        ("EPSG:3785", "+proj=merc +a=6378137 +b=6378137", MEMPHIS),
        ("ESRI:102113", "+proj=merc +a=6378137 +b=6378137", MEMPHIS),
        ("EPSG:900913", "+proj=merc +a=6378137 +b=6378137", MEMPHIS),
    ],
)  # fmt: skip
def test_nad83_and_wgs84_maps_have_no_datum_shift(
    crs: str, zone: str, place: tuple[float, float]
) -> None:
    assert there(crs, place) == pytest.approx(Proj(zone)(*place), abs=2e-3)
    assert apart_m(back(crs, there(crs, place)), place) < 1e-6


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4269",  # NAD83
        "EPSG:4152",  # HARN: PROJ alone shifts by 1.2 m
        "EPSG:8545",  # HARN, corrected (Puerto Rico)
        "EPSG:8860",  # FBN
        "EPSG:6783",  # CORS96
        "EPSG:4759",  # NSRS2007
        "EPSG:6318",  # 2011
        "EPSG:6319",  # 2011, with heights
        "EPSG:6322",  # PA11
        "EPSG:6325",  # MA11
        "EPSG:4617",  # CSRS
        "EPSG:8252",  # CSRS version 7
        "ESRI:104223",  # CORS96, as Esri names it
        "ESRI:104700",  # Minnesota's Aitkin County: HARN on a raised ellipsoid
        "EPSG:9057",  # WGS 84 (G1762)
    ],
)
@pytest.mark.parametrize("place", [MEMPHIS, MALIBU, (-157.86, 21.31), (144.79, 13.47)])
def test_every_realisation_of_nad83_is_used_unchanged(crs: str, place: tuple[float, float]) -> None:
    assert back(crs, place) == place
    assert there(crs, place) == place


def test_maps_of_two_realisations_align() -> None:
    """California zone 5 in NAD83, HARN, 2007 and 2011, and the UTM zone of the imagery."""
    feet = there("EPSG:2229", MALIBU)
    for crs in ("EPSG:2874", "EPSG:3497", "EPSG:6423"):
        factor = CRS(crs).axis_info[0].unit_conversion_factor / (1200 / 3937)
        x, y = there(crs, MALIBU)
        assert (x * factor, y * factor) == pytest.approx(feet, abs=2e-3)
    assert back("EPSG:26911", there("EPSG:3741", MALIBU)) == pytest.approx(MALIBU, abs=1e-11)


def test_nad27_is_shifted_with_a_warning_about_its_accuracy() -> None:
    with pytest.warns(CoarseDatumWarning, match="NAD27 / Tennessee: lots may be 7 m off"):
        feet = there("EPSG:2204", (-90.05, 35.15))
    with pytest.warns(CoarseDatumWarning):
        again = back("EPSG:2204", feet)
    assert apart_m(again, (-90.05, 35.15)) < 0.01
    # EPSG's NAD27 to WGS 84 (6), 7 m: three translations between the ellipsoids' centres.
    geocentric = Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
        "+step +proj=cart +ellps=clrk66 +step +proj=helmert +x=-8 +y=159 +z=175 "
        "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    with pytest.warns(CoarseDatumWarning):
        shifted = back("EPSG:4267", (-90.05, 35.15))
    assert shifted == pytest.approx(geocentric.transform(-90.05, 35.15, 0)[:2], abs=1e-9)
    assert apart_m(shifted, (-90.05, 35.15)) > 5


def test_a_lots_coordinates_do_not_depend_on_the_batch() -> None:
    """Each geometry uses the operation of its own place, not of the batch's centre."""
    crs = CRS("EPSG:4267")
    lots = points(MEMPHIS, (-80.2, 25.8), (-104.9, 39.7), (-79.4, 43.7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoarseDatumWarning)
        together = to_wgs84(lots, crs)
        alone = [to_wgs84(lots[i : i + 1], crs)[0] for i in range(len(lots))]
    assert list(together) == alone


def test_a_datum_that_needs_a_missing_grid_is_an_error() -> None:
    # All operations without a grid are 14 to 44 m off.
    with pytest.raises(GeometryError, match=r"Old Hawaiian.*pyproj sync --file us_noaa_hawaii"):
        to_wgs84(points((-157.86, 21.31)), CRS("EPSG:4135"))


def test_an_unknown_datum_is_an_error() -> None:
    with pytest.raises(GeometryError, match=r"Old map.*set the CRS by its EPSG code"):
        to_wgs84(points((500_000, 4_000_000)), CRS.from_wkt(UNKNOWN_DATUM))


def test_coordinates_outside_of_all_operations_are_infinite() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CoarseDatumWarning)
        [point] = to_wgs84(points((20, -30)), CRS("EPSG:4267"))
    assert not np.isfinite([point.x, point.y]).any()


def test_a_crs_with_its_own_datum_shift() -> None:
    """Three metres of translation in a TOWGS84 mean a datum that is not NAD83."""
    crs = CRS("+proj=longlat +ellps=clrk66 +towgs84=-8,160,176 +no_defs")
    [point] = to_wgs84(points(MEMPHIS), crs)
    assert 5 < apart_m((point.x, point.y), MEMPHIS) < 30
    nad83 = CRS("+proj=longlat +datum=NAD83 +towgs84=-0.991,1.907,0.513 +no_defs")
    assert to_wgs84(points(MEMPHIS), nad83)[0] == Point(MEMPHIS)


def test_heights_are_dropped_and_missing_geometries_stay() -> None:
    given = np.asarray([Point(1, 2, 3), None], dtype=object)
    for crs in (CRS("EPSG:4326"), CRS("EPSG:4269"), CRS("EPSG:26915")):
        point, missing = to_wgs84(given, crs)
        assert missing is None
        assert not shapely.has_z(point)
    assert len(to_wgs84(given[:0], CRS("EPSG:2274"))) == 0


def test_a_crs_that_is_not_on_earth_is_an_error() -> None:
    site = CRS('ENGCRS["Site",EDATUM["Peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
               'LENGTHUNIT["metre",1]]')  # fmt: skip
    with pytest.raises(GeometryError, match="Site is not a CRS on Earth"):
        to_wgs84(points((1, 2)), site)
