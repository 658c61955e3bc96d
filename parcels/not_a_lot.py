"""Which rows of a parcel layer are not lots: rights of way, railways, water, gaps, placeholders.

Counties fill the gaps between lots with polygons, so that the layer covers the ground. Their id is
a word ("ROW", "UNKNOWN"), a number that stands for none ("0", "-9999") or blank; some layers have
a column for the type instead, such as MassGIS's `POLY_TYPE` beside an id of its own.
"""

from __future__ import annotations

from parcels.addresses.matching import has_house_number
from parcels.parcel_source import ParcelRow
from parcels.placeholders import (
    is_placeholder,
    is_right_of_way,
    is_type_of_no_lot,
    is_way_or_water,
)
from parcels.untrusted import sanitize_text


def not_a_lot_reason(row: ParcelRow) -> str:
    """Why the row is not a lot, as the end of "… was not taken, as …"; empty if it may be one.

    A house number makes a lot of a row without an id, as some counties number lots only by
    address, and of one whose type is water or a road, which may say what lies beside it.
    """
    parcel_id, parcel_type = row.parcel_id, row.parcel_type
    # The house number comes last each time, because parsing the address takes longest.
    if (
        parcel_type is not None
        and is_type_of_no_lot(parcel_type)
        and (is_right_of_way(parcel_type) or not has_house_number(row.site))
    ):
        return f"its type is {sanitize_text(parcel_type)!r}"
    if parcel_id is not None and is_way_or_water(parcel_id):
        return f"its parcel id is {sanitize_text(parcel_id)!r}"
    if row.lacks_id:
        return "" if has_house_number(row.site) else "it has no parcel id"
    if parcel_id is not None and is_placeholder(parcel_id) and not has_house_number(row.site):
        return f"its parcel id is {sanitize_text(parcel_id)!r}"
    return ""
