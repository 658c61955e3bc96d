"""The tables of an export and the meaning of each column.

The schemas of the files and the data dictionary are both derived from this.
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
    """A column of a table. `name` may contain {stem}, and `meaning` {label}."""

    name: str
    kind: ColumnType
    unit: str
    meaning: str

    def for_label(self, label: str, stem: str) -> Column:
        """The column of a label, with the stem of its name."""
        # Not `format`, because a label may contain braces.
        name = self.name.replace("{stem}", stem)
        return replace(self, name=name, meaning=self.meaning.replace("{label}", label))


@dataclass(frozen=True, slots=True)
class Table:
    """The content of one file; `geometry`, if any, is its last column.

    Attributes:
        name: of the file, without the suffix of its format.
        what: its content, as text.
        caveats: of all rows, a sentence each; formats with metadata store them.
    """

    name: str
    what: str
    columns: tuple[Column, ...]
    caveats: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Column, ...]:
        """The columns without the geometry."""
        return tuple(column for column in self.columns if column.kind != "polygons")


METHOD = Column(
    "method",
    "text",
    "",
    "How the last lookup found the boundary: parcel_id, address (in the county's parcel layer), "
    "point, house_number (the point was in the street or in a lot without a number; this is the "
    "nearest lot with the address's number), no_lot (the county has no lot there), unavailable "
    "(the county server did not respond, and the run was set to use the circle then).",
)
CAPTURED_ON = Column(
    "captured_on",
    "text",
    "ISO 8601",
    "Capture date of the imagery in the boundary: a date, a year, or first/last of several files; "
    "empty if the date of any of them is unknown.",
)
GSD = Column(
    "gsd_m",
    "number",
    "m",
    "Ground sample distance: the pixel size of the imagery in the boundary, the coarsest of "
    "several files.",
)
CAVEATS = Column(
    "caveats",
    "text",
    "",
    "What to know of the row's numbers: what the segmenter is (a baseline, trained on synthetic "
    "images only), labels and prompts of your own that are untested; empty if there is nothing.",
)
SYNTHETIC = Column("synthetic", "flag", "", "True if the county is generated, not a real place.")

PARTLY_IMAGED = Column(
    "partly_imaged", "flag", "", "True if imagery covers less than 99.5 % of the boundary."
)

DETECTIONS = (
    Column("detection_id", "integer", "", "Id of the detection, for `lotline review`."),
    Column("property_id", "text", "", "The property's id in the properties CSV."),
    Column(
        "property_state",
        "text",
        "",
        "The property's state, as in the table of properties: done; another one where it waits for "
        "a further label. Other properties (a lot that vanished, one that waits to be reprocessed) "
        "have no rows here.",
    ),
    Column("label", "text", "", "What was detected, for example lawn."),
    Column("state", "text", "", "proposed (not reviewed), accepted (by a person)."),
    Column(
        "version",
        "integer",
        "",
        "Version of the detection, which grows with each change. `lotline review import` needs it: "
        "a correction of an earlier version is refused.",
    ),
    Column(
        "area_m2",
        "number",
        "m²",
        "Area of the row's geometry, which counts for the property. The rows of a property add up "
        "to its area of the label.",
    ),
    Column("area_sqft", "number", "sq ft", "The same in square feet (0.09290304 m²)."),
    Column("clipped_area_m2", "number", "m²", "Area of the part inside the boundary."),
    Column(
        "whole_area_m2",
        "number",
        "m²",
        "Area of the unclipped object, also of ground outside the boundary of today; of a "
        "continuous one only within 5 m around the boundary's window.",
    ),
    Column(
        "relation",
        "text",
        "",
        "belongs (the object is on this property), shared (a discrete object on two lots: only "
        "the part inside), trimmed (a continuous object cut at the boundary; each connected part "
        "inside has its own row).",
    ),
    Column("score", "number", "0..1", "The segmenter's mean confidence over the object."),
    Column("prompt", "text", "", "The text prompt of the segmenter."),
    Column(
        "segmenter",
        "text",
        "",
        "The segmenter and its version. landcover was trained on aerial images of California; "
        "spectral is a baseline without weights; sam3-tiny was trained on synthetic images only.",
    ),
    Column(
        "weights_sha256", "text", "", "SHA-256 of the segmenter's weights; empty if it has none."
    ),
    Column(
        "measured_by",
        "text",
        "",
        "The segmenter, with its version, that last measured the label on the property; person if "
        "only people drew it. It differs from segmenter where a person let stand what an earlier "
        "one found. Sums are by this, source and partly_imaged.",
    ),
    Column("measured_weights_sha256", "text", "", "SHA-256 of its weights; empty if it has none."),
    Column(
        "source",
        "text",
        "",
        "Source of the property's boundary of today: lot (the county's parcel) or buffer_30m (a "
        "circle of 30 m where no lot is known). Never add the two.",
    ),
    PARTLY_IMAGED,
    METHOD,
    Column("boundary_version", "text", "", "SHA-256 of the boundary's source and geometry."),
    Column("parcel_ids", "text", "", "The county's ids of the lot, separated by ;."),
    Column(
        "imagery_sha256",
        "text",
        "",
        "SHA-256 of the chip in which it was detected; of the lot's own part if only some of the "
        "chip's files lie in the lot.",
    ),
    CAPTURED_ON,
    GSD,
    Column(
        "chip_gsd_m",
        "number",
        "m",
        "The pixel size that the segmenter processed; it differs from gsd_m where imagery is "
        "resampled.",
    ),
    Column("run_id", "integer", "", "The run that found it; empty if a person added it."),
    CAVEATS,
    SYNTHETIC,
    Column(
        "geometry",
        "polygons",
        "EPSG:4326",
        "MultiPolygon, x = longitude; the part that counts for the property: inside its boundary "
        "of today, and without ground that another row of the label on the property has. Accepted "
        "rows have it before proposed ones, then the lower detection_id.",
    ),
)

PROPERTIES = (
    Column("property_id", "text", "", "The property's id in the properties CSV."),
    Column(
        "state",
        "text",
        "",
        "pending, leased (being processed), done, no_imagery, deferred (the next run retries) or "
        "failed.",
    ),
    Column(
        "reason",
        "text",
        "",
        "Why: measured or nothing_found if done; missing, corrupt or nodata if no_imagery.",
    ),
    Column("detail", "text", "", "The reason as text, where there is more to report."),
    Column(
        "source",
        "text",
        "",
        "Source of the boundary: lot or buffer_30m; empty if there is none. Never add the areas "
        "of the two.",
    ),
    METHOD,
    Column(
        "boundary_area_m2",
        "number",
        "m²",
        "Area of the boundary. Several properties may share one lot (the units of a house): each "
        "has all areas of the lot, so sums count them several times. They have the same "
        "`boundary_version`.",
    ),
    Column("boundary_version", "text", "", "SHA-256 of the boundary's source and geometry."),
    Column("boundary_area_sqft", "number", "sq ft", "The same in square feet."),
    Column(
        "segmenters",
        "text",
        "",
        "Segmenters that measured a label, and those of its detections, with versions, separated "
        "by ;. person: drawn by a person. Empty: not measured.",
    ),
    Column("parcel_ids", "text", "", "The county's ids of the lot, separated by ;."),
    Column("coverage_fraction", "number", "0..1", "Fraction of the boundary covered by imagery."),
    PARTLY_IMAGED,
    CAPTURED_ON,
    GSD,
    Column(
        "imagery_files",
        "text",
        "",
        "The files, or the service, whose pixels lie in the boundary, separated by ;.",
    ),
    Column(
        "longitude",
        "number",
        "degrees",
        "Of the property's point, given or geocoded, EPSG:4326; empty if a parcel id was enough.",
    ),
    Column("latitude", "number", "degrees", "As longitude."),
    Column(
        "located_by",
        "text",
        "",
        "Source of that point: given (the CSV), parcel_layer, geocode_server, census; empty if a "
        "parcel id was enough.",
    ),
    Column(
        "confidence",
        "number",
        "0..1",
        "Confidence in the point: 1 for given coordinates and the county's own address. Use it "
        "for sorting, not as a probability.",
    ),
    Column("parcel_id", "text", "", "As given in the properties CSV."),
    Column("address", "text", "", "As given in the properties CSV."),
    Column("matched_address", "text", "", "The address that matched the one in the CSV."),
    CAVEATS,
    SYNTHETIC,
    Column(
        "geometry",
        "polygons",
        "EPSG:4326",
        "The boundary as MultiPolygon, x = longitude; empty if there is none.",
    ),
)

# Ids of the properties table: text, because they may begin with zeros or have many digits.
ID_COLUMNS = ("property_id", "parcel_id", "parcel_ids")

# For each label of the runs; before the geometry.
MEASURED = (
    Column("{stem}_m2", "number", "m²", "Measured area of {label} on the property; "
           "overlapping polygons count once. Empty: not measured, or no longer counted: the lot "
           "vanished, or the property waits to be reprocessed (see state)."),
    Column("{stem}_sqft", "number", "sq ft", "The same in square feet (0.09290304 m²)."),
    Column("{stem}_count", "integer", "", "Number of polygons of {label}."),
)  # fmt: skip

UNFINISHED = (
    Column("property_id", "text", "", "The property's id in the properties CSV."),
    Column("state", "text", "", "pending, leased, no_imagery, deferred or failed."),
    Column("reason", "text", "", "Why, as a code: not_found, unavailable, missing, …"),
    Column("detail", "text", "", "Why, as text, and how to fix it."),
    Column("longitude", "number", "degrees", "As given in the properties CSV."),
    Column("latitude", "number", "degrees", "As given."),
    Column("parcel_id", "text", "", "As given."),
    Column("address", "text", "", "As given."),
)


BOX = Column(
    "bbox",
    "box",
    "EPSG:4326",
    "Bounding box of the geometry: xmin, ymin, xmax, ymax. Readers use it to skip rows outside a "
    "window.",
)


# File names are limited to 255 bytes.
_MAX_STEM_LENGTH = 160


def detections_tables(labels: Iterable[str]) -> dict[str, Table]:
    """The table of each label's polygons.

    A label may be any text; file names are percent-encoded and unique.
    """
    safe = {label: quote(label, safe="")[:_MAX_STEM_LENGTH] for label in labels}
    return {
        label: Table(f"detections_{stem}", f"one row per polygon of {label}", DETECTIONS)
        for label, stem in _unique_stems(safe, ("",), ()).items()
    }


def properties_table(stems: Mapping[str, str], own: Sequence[Column] = ()) -> Table:
    """One row per property: its state, its boundary, and the measured areas of each label.

    Args:
        stems: of the column names by label; see `column_stems`.
        own: the customer's own columns; see `pipeline.export.own_columns`.
    """
    columns = (*PROPERTIES[:-1], *measured_columns(stems), *own, PROPERTIES[-1])
    return Table("properties", "one row per property", columns)


def errors_table(own: Sequence[Column] = ()) -> Table:
    """One row per property that is not done, with the columns of its row in the CSV."""
    return Table("errors", "one row per property that is not done", (*UNFINISHED, *own))


def measured_columns(stems: Mapping[str, str]) -> list[Column]:
    """The columns of each label, by the stem of their names."""
    return [column.for_label(label, stem) for label, stem in stems.items() for column in MEASURED]


def column_stems(labels: Iterable[str]) -> dict[str, str]:
    """The stem of each label's column names: the label itself, numbered if that is taken."""
    suffixes = [column.name.removeprefix("{stem}") for column in MEASURED]
    return _unique_stems(
        {label: label for label in labels}, suffixes, [column.name for column in PROPERTIES]
    )


def _unique_stems(
    stems: Mapping[str, str], suffixes: Sequence[str], taken: Iterable[str]
) -> dict[str, str]:
    """The stems, numbered where a stem with one of the suffixes is taken.

    Compared without case, because some file systems and databases ignore it.
    """
    used = {name.casefold() for name in taken}
    unique = {}
    for label, stem in stems.items():
        for candidate in chain([stem], (f"{stem}_{number}" for number in count(2))):
            names = {f"{candidate}{suffix}".casefold() for suffix in suffixes}
            if used.isdisjoint(names):
                break
        used |= names
        unique[label] = candidate
    return unique
