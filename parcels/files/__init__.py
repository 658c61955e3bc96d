"""Parcels of a file: any vector that GDAL reads, or GeoParquet.

source          a ParcelSource over the file
opened          the file itself: its layer, columns and CRS; read whole, or in parts
rows            rows of the file in memory, with an index by place, by id and by address
selfcontained   refuses files that would make GDAL open something else
"""

from parcels.files.file_source import FileSource

__all__ = ["FileSource"]
