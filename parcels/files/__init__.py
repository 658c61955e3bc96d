"""Parcels in a local file: any vector format that GDAL reads, or GeoParquet.

file_source     FileSource: a ParcelSource over a file, held in memory
parcel_file     the open file: its layer, columns and CRS; read completely or in batches
row_index       rows in memory with an R-tree, and indexes by id and address
self_contained  refuses files that would make GDAL open other data
"""

from parcels.files.file_source import FileSource

__all__ = ["FileSource"]
