"""Cloud-optimized GeoTIFFs on servers and in buckets, of which only ranges are read.

stac            a STAC item, item collection or catalog -> the assets that are imagery
stac_imagery    StacImagery: those assets as one mosaic, opened at the first use
remote_files    opens a registered address as a raster
range_reader    a file of byte ranges, with one cache for all
object_store    s3:// as https, with or without a signature
"""
