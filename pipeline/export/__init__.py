"""Export a county's results as files, with a README and a data dictionary."""

from pipeline.export.county_export import export_county

__all__ = ["export_county"]
