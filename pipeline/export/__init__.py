"""A county's results as files, with a dictionary of their columns."""

from pipeline.export.export_county import export_county

__all__ = ["export_county"]
