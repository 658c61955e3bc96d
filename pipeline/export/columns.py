"""The tables of an export: their columns, and what each means.

The files' schemas and the data dictionary are both made from this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Literal
from urllib.parse import quote

ColumnType = Literal["text", "integer", "number", "flag", "polygons", "box"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `name` may begin with {stem}, and `meaning` hold {label}."""

    name: str
    kind: ColumnType
    unit: str
    meaning: str

    def of(self, label: str, stem: str) -> Column:
        """The column of this label, called by this stem."""
        # Not `format`: a label may hold braces of its own.
        name = self.name.replace("{stem}", stem)
        return replace(self, name=name, meaning=self.meaning.replace("{label}", label))


@dataclass(frozen=True, slots=True)
class Table:
    """What one file holds; `geometry`, where it has one, is its last column.

    Attributes:
        name: of the file, without what its format adds.
    """

    name: str
    what: str
    columns: tuple[Column, ...]

    @property
    def cells(self) -> tuple[Column, ...]:
        """The columns but the geometry."""
        return tuple(column for column in self.columns if column.kind != "polygons")


METHOD = Column(
    "method",
    "text",
    "",
    "How the boundary was found, by the last lookup: parcel_id, address (the county's parcel layer "
    "has it), point, house_number (the point lay in the street, or in a lot without a number; this "
    "is the nearest one with the address's number), no_lot (the county has none there), "
    "unavailable (the county's server did not answer, and the run was to measure the circle then).",
)
SYNTHETIC = Column("synthetic", "flag", "", "True where the place is generated and not a real one.")

DETECTIONS = (
    Column("detection_id", "integer", "", "Number of the detection; `lotline review` takes it."),
    Column("property_id", "text", "", "The property, as named in the properties CSV."),
    Column("label", "text", "", "What it is, for example lawn."),
    Column("state", "text", "", "proposed (nobody has looked), accepted (a person agreed)."),
    Column("area_m2", "number", "m²", "Area of the row's geometry: what counts for the property."),
    Column("area_sqft", "number", "sq ft", "The same in square feet (of 0.09290304 m²)."),
    Column("clipped_area_m2", "number", "m²", "Area of the part inside the boundary."),
    Column(
        "whole_area_m2",
        "number",
        "m²",
        "Area of the whole object: of a discrete one all of it, of a continuous one what lies in "
        "the boundary's window and 5 m round it.",
    ),
    Column(
        "relation",
        "text",
        "",
        "belongs (the object is the property's), shared (a discrete object that two lots share: "
        "only the part inside), trimmed (a continuous one that ends at the boundary; each "
        "connected part inside is a row of its own).",
    ),
    Column("score", "number", "0..1", "The segmenter's mean confidence over the object."),
    Column("prompt", "text", "", "The text that the segmenter was asked with."),
    Column(
        "segmenter",
        "text",
        "",
        "Which segmenter found it, and its version. spectral is a baseline without weights; "
        "sam3-tiny was trained on synthetic pictures alone.",
    ),
    Column("weights_sha256", "text", "", "Of the segmenter's weights; empty where it has none."),
    Column(
        "source",
        "text",
        "",
        "Where the boundary came from: lot (the county's parcel) or buffer_30m (a circle of 30 m "
        "where no lot is known). Never add the two.",
    ),
    METHOD,
    Column("boundary_version", "text", "", "SHA-256 of the boundary's source and geometry."),
    Column("parcel_ids", "text", "", "The county's ids for that lot, with ; between them."),
    Column("imagery_sha256", "text", "", "Hash of the chip that it was seen in."),
    Column(
        "captured_on", "text", "ISO 8601", "When the imagery was taken: a date, a year, first/last."
    ),
    Column("gsd_m", "number", "m", "Side of a pixel of that imagery."),
    Column("run_id", "integer", "", "The run that found it; empty for what a person added."),
    SYNTHETIC,
    Column(
        "geometry",
        "polygons",
        "EPSG:4326",
        "MultiPolygon, x = longitude: the part that counts for the property.",
    ),
)

PROPERTIES = (
    Column("property_id", "text", "", "As named in the properties CSV."),
    Column(
        "state",
        "text",
        "",
        "pending, leased (being worked on), done, no_imagery, deferred (asked again by the next "
        "run) or failed.",
    ),
    Column(
        "reason",
        "text",
        "",
        "Why: measured or nothing_found when done; missing, corrupt or nodata for no_imagery.",
    ),
    Column("detail", "text", "", "The reason in words, where there is more to say."),
    Column(
        "source",
        "text",
        "",
        "Of the boundary: lot or buffer_30m; empty where there is none. Never add the areas of the "
        "two.",
    ),
    METHOD,
    Column(
        "boundary_area_m2",
        "number",
        "m²",
        "Area of the boundary. Several properties may lie on one lot (the units of a house): each "
        "has all of its lot and of what is on it, and a sum over them counts that several times; "
        "`parcel_ids` or the geometry say which share one.",
    ),
    Column("boundary_area_sqft", "number", "sq ft", "The same in square feet."),
    Column(
        "segmenters",
        "text",
        "",
        "Which segmenters looked at it last and found what is measured on it, with their versions "
        "and ; between them; person: drawn by a person. Empty: not measured.",
    ),
    Column("parcel_ids", "text", "", "The county's ids for that lot, with ; between them."),
    Column("coverage_fraction", "number", "0..1", "Share of the boundary that the imagery shows."),
    Column("partly_imaged", "flag", "", "True where less than 99.5 % of the boundary is imaged."),
    Column(
        "longitude",
        "number",
        "degrees",
        "Of the property's point, given or located, EPSG:4326; empty where a parcel id was enough.",
    ),
    Column("latitude", "number", "degrees", "As longitude."),
    Column(
        "located_by",
        "text",
        "",
        "Who said where that point is: given (the CSV), parcel_layer, geocode_server, census; "
        "empty where a parcel id was enough.",
    ),
    Column(
        "confidence",
        "number",
        "0..1",
        "How sure the point is: 1 for given coordinates and the county's own address. Use it to "
        "sort, not as a probability.",
    ),
    Column("address", "text", "", "As given in the properties CSV."),
    Column("matched_address", "text", "", "The address that was found for the one in the CSV."),
    SYNTHETIC,
    Column(
        "geometry",
        "polygons",
        "EPSG:4326",
        "The boundary, a MultiPolygon, x = longitude; empty where there is none.",
    ),
)

# These for each label that was asked for; before the geometry.
MEASURED = (
    Column("{stem}_m2", "number", "m²", "Measured area of {label} on the property, where "
           "polygons overlap once; empty: not measured."),
    Column("{stem}_sqft", "number", "sq ft", "The same in square feet (of 0.09290304 m²)."),
    Column("{stem}_count", "integer", "", "How many polygons of {label} that is."),
)  # fmt: skip

UNFINISHED = (
    Column("property_id", "text", "", "As named in the properties CSV."),
    Column("state", "text", "", "pending, leased, no_imagery, deferred or failed."),
    Column("reason", "text", "", "Why, in a word: not_found, unavailable, missing, …"),
    Column("detail", "text", "", "Why, in words, and how to mend it."),
    Column("longitude", "number", "degrees", "As given in the properties CSV, like the next ones."),
    Column("latitude", "number", "degrees", "As given."),
    Column("parcel_id", "text", "", "As given."),
    Column("address", "text", "", "As given."),
)


BOX = Column(
    "bbox",
    "box",
    "EPSG:4326",
    "The box round the geometry: xmin, ymin, xmax, ymax. Readers use it to leave out what lies "
    "elsewhere.",
)

ERRORS = Table("errors", "one row for each property that is not done", UNFINISHED)

# A file's name may have 255 bytes.
_LONGEST_STEM = 160


def detections_tables(labels: Iterable[str]) -> dict[str, Table]:
    """The table of each label's polygons.

    A label may be any text that a person wrote, and a file's name may not.
    """
    safe = {label: quote(label, safe="")[:_LONGEST_STEM] for label in labels}
    return {
        label: Table(f"detections_{stem}", f"one row for each polygon of {label}", DETECTIONS)
        for label, stem in _apart(safe, ("",), ()).items()
    }


def properties_table(stems: Mapping[str, str]) -> Table:
    """The roll-up: what each property is, and what was measured on it of each label.

    Args:
        stems: of the labels' columns; see `column_stems`.
    """
    measured = [column.of(*each) for each in stems.items() for column in MEASURED]
    columns = (*PROPERTIES[:-1], *measured, PROPERTIES[-1])
    return Table("properties", "one row for each property", columns)


def column_stems(labels: Iterable[str]) -> dict[str, str]:
    """What each label's columns are called by: its name, where no other column is called so."""
    ends = [column.name.removeprefix("{stem}") for column in MEASURED]
    return _apart({label: label for label in labels}, ends, [column.name for column in PROPERTIES])


def _apart(stems: Mapping[str, str], ends: Sequence[str], taken: Iterable[str]) -> dict[str, str]:
    """The stems, numbered where one of them with one of the ends is taken.

    Some file systems, and some databases, take capitals for the same.
    """
    used = {name.casefold() for name in taken}
    found = {}
    for label, stem in stems.items():
        for free in chain([stem], (f"{stem}_{number}" for number in count(2))):
            names = {f"{free}{end}".casefold() for end in ends}
            if used.isdisjoint(names):
                break
        used |= names
        found[label] = free
    return found
