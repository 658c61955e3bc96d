"""CSVs of properties, as people and spreadsheets save them."""

from pipeline.properties_csv.problems import BadRow, BadRows, duplicate_problem
from pipeline.properties_csv.read import (
    PropertiesFile,
    PropertyRow,
    file_sha256,
    layout_of,
    read_properties,
    read_rows,
)

__all__ = [
    "BadRow",
    "BadRows",
    "PropertiesFile",
    "PropertyRow",
    "duplicate_problem",
    "file_sha256",
    "layout_of",
    "read_properties",
    "read_rows",
]
