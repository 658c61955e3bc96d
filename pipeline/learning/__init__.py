"""Learning from people's corrections.

spatial_split         which ground teaches, and which judges
pair_images           a chip as a GeoTIFF, masks as PNG
pair                  a reviewed lot on a chip: what training reads
pair_builder          a reviewed property as pairs, from its imagery
corrections_manifest  the pairs of an export, and their split; written last
coco_file             the same as a COCO file with run lengths
judging               whether trained weights may be used
rounds                export, train, judge, promote: one round after another
export_corrections    exports what is fully reviewed into a folder or a bucket
"""
