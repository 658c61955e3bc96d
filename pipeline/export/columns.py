"""The columns of the exports, and what each means: the data dictionary is made from this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export. `meaning` may hold {label}."""

    name: str
    unit: str
    meaning: str


METHOD = Column(
    "method",
    "",
    "How the boundary was found, by the last lookup: parcel_id, address (the county's parcel layer "
    "has it), point, house_number (the point lay in the street, or in a lot without a number; this "
    "is the nearest one with the address's number), no_lot (the county has none there), "
    "unavailable (the county's server did not answer, and the run was to measure the circle then).",
)
SYNTHETIC = Column("synthetic", "", "True where the place is generated and not a real one.")

DETECTIONS = (
    Column("detection_id", "", "Number of the detection; `lotline review` takes it."),
    Column("property_id", "", "The property, as named in the properties CSV."),
    Column("label", "", "What it is, for example lawn."),
    Column("state", "", "proposed (nobody has looked), accepted (a person agreed)."),
    Column("area_m2", "m²", "Area of the geometry of this row: what counts for the property."),
    Column("clipped_area_m2", "m²", "Area of the part inside the boundary."),
    Column(
        "whole_area_m2",
        "m²",
        "Area of the whole object: of a discrete one all of it, of a continuous one what lies in "
        "the boundary's window and 5 m round it.",
    ),
    Column(
        "relation",
        "",
        "belongs (the object is the property's), shared (a discrete object that two lots share: "
        "only the part inside), trimmed (a continuous one that ends at the boundary; each "
        "connected part inside is a row of its own).",
    ),
    Column("score", "0..1", "The segmenter's mean confidence over the object."),
    Column("prompt", "", "The text that the segmenter was asked with."),
    Column(
        "segmenter",
        "",
        "Which segmenter found it, and its version. spectral is a baseline without weights; "
        "sam3-tiny was trained on synthetic pictures alone.",
    ),
    Column("weights_sha256", "", "Of the segmenter's weights; empty where it has none."),
    Column(
        "source",
        "",
        "Where the boundary came from: lot (the county's parcel) or buffer_30m (a circle of 30 m "
        "where no lot is known). Never add the two.",
    ),
    METHOD,
    Column("boundary_version", "", "SHA-256 of the boundary's source and geometry."),
    Column("parcel_ids", "", "The county's ids for that lot, with ; between them."),
    Column("imagery_sha256", "", "Hash of the chip that it was seen in."),
    Column("captured_on", "ISO 8601", "When the imagery was taken: a date, a year, first/last."),
    Column("gsd_m", "m", "Side of a pixel of that imagery."),
    Column("run_id", "", "The run that found it; empty for what a person added."),
    SYNTHETIC,
    Column("geometry", "EPSG:4326", "MultiPolygon, x = longitude. Not in CSV."),
)

PROPERTIES = (
    Column("property_id", "", "As named in the properties CSV."),
    Column(
        "state",
        "",
        "pending, leased (being worked on), done, no_imagery, deferred (asked again by the next "
        "run) or failed.",
    ),
    Column(
        "reason",
        "",
        "Why: measured or nothing_found when done; missing, corrupt or nodata for no_imagery.",
    ),
    Column("detail", "", "The reason in words, where there is more to say."),
    Column("source", "", "Of the boundary: lot or buffer_30m; empty where there is none."),
    METHOD,
    Column(
        "boundary_area_m2",
        "m²",
        "Area of the boundary. Several properties may lie on one lot (the units of a house): each "
        "has all of its lot and of what is on it, and a sum over them counts that several times; "
        "`parcel_ids` or the geometry say which share one.",
    ),
    Column("parcel_ids", "", "The county's ids for that lot, with ; between them."),
    Column("imaged_share", "0..1", "Share of the boundary that the imagery shows."),
    Column("partly_imaged", "", "True where less than 99.5 % of the boundary is imaged."),
    Column(
        "longitude",
        "degrees",
        "Of the property's point, given or located, EPSG:4326; empty where a parcel id was enough.",
    ),
    Column("latitude", "degrees", "As longitude."),
    Column(
        "located_by",
        "",
        "Who said where that point is: given (the CSV), parcel_layer, geocode_server, census; "
        "empty where a parcel id was enough.",
    ),
    Column(
        "confidence",
        "0..1",
        "How sure the point is: 1 for given coordinates and the county's own address. Use it to "
        "sort, not as a probability.",
    ),
    Column("address", "", "As given in the properties CSV."),
    Column("matched_address", "", "The address that was found for the one in the CSV."),
    SYNTHETIC,
    Column("geometry", "EPSG:4326", "The boundary, a MultiPolygon. Not in CSV."),
)

# One for each label that was asked for.
MEASURED = (
    Column("{label}_m2", "m²", "Measured area of {label} on the property; empty: not measured."),
)


def dictionary(title: str, notes: list[str], labels: list[str]) -> str:
    """The data dictionary as Markdown."""
    measured = [
        Column(c.name.format(label=label), c.unit, c.meaning.format(label=label))
        for label in labels
        for c in MEASURED
    ]
    parts = [f"# {title}: data dictionary", *notes]
    for name, columns in (
        ("detections: one row for each polygon", DETECTIONS),
        ("properties: one row for each property", (*PROPERTIES[:-1], *measured, PROPERTIES[-1])),
    ):
        rows = [f"| `{c.name}` | {c.unit} | {c.meaning} |" for c in columns]
        parts.append("\n".join([f"## {name}\n", "| column | unit | meaning |",
                                "| --- | --- | --- |", *rows]))  # fmt: skip
    return "\n\n".join(parts) + "\n"
