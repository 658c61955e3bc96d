"""Parcels in a local file, zip or folder: one reader for small and large ones, through Arrow.

file_source          FileSource: a ParcelSource over a file, held in memory
parcel_file          the open file: its layer, columns and CRS; read in batches
row_index            rows in memory with an R-tree, and indexes by id and address

What is in a path:
dataset              finds the datasets in a file, zip or folder
zip_archive          checks what a zip contains
zip_headers          refuses zips that programs may read differently
layer_choice         chooses the layer, and the reader for it
unsupported_formats  what to do about formats that are not supported
shapefile_check      refuses shapefiles that are damaged or mixed
self_contained       refuses files that would make GDAL open other data
foreign_links        refuses links out of the folder that the entry names
sqlite_schema        refuses databases whose tables are other files
sql_calls            the functions that a view may call
missing_polygons     rows without a usable polygon
off_earth            coordinates that are not in the CRS that the file names

One reader for each kind of format, each a TableReader:
table_reader         what they have in common
gdal_table           shapefile, GeoPackage, file geodatabase, FlatGeobuf, KML, …
gdal_format          the drivers for the format of a file
contained_gdal       GDAL with these drivers only, and without its network
gdal_source          what GDAL opens, checked
private_folder       a file without the files beside it
xml_content          XML with text that XML forbids
dbf_numbers          wide numbers and leading blanks of a shapefile
sqlite_texts         texts among the numbers of a GeoPackage
parquet_table        GeoParquet and Parquet
csv_table            CSV with WKT
spreadsheet_changes  values of a CSV that Excel has changed or cut
json_table           what the two kinds of JSON have in common
json_stream          features one at a time
geojson_table        GeoJSON, also newline-delimited
esri_json_table      saved answers of an ArcGIS server
json_filter          `where` on the two kinds of JSON

Values:
text_values          a column of any type -> exact texts
text_encoding        bytes -> text
ring_arrays          rings -> polygons; shapefile rings by the even-odd rule
curved_wkb           WKB with curves -> polygons
curved_wkt           the same of WKT
wkt_values           WKT, EWKT and hexadecimal WKB -> polygons
geoarrow             GeoArrow -> polygons
"""

from parcels.files.file_source import FileSource

__all__ = ["FileSource"]
