"""Corrections that people made in other programs become review events.

correction          one object of a file, as it was read
geojson_file        GeoJSON, as `lotline export` writes it and QGIS saves it
coco_file           COCO, as CVAT, Label Studio and Roboflow write it
run_lengths         masks of COCO as polygons
image_places        where on Earth the images of a COCO file lie
label_names         the labels that a file means
same_outline        whether an outline was changed, but for rounding
plan                what a correction of a stored detection asks for
additions           the property of an object that no run found, and what is there already
import_corrections  all corrections of a file, in one transaction
refused_file        what was refused, as GeoJSON that can be corrected and imported again
"""
