"""Detects labels on whole images: no lot, no county, no database.

    opened_image   a file as an image: georeferenced, or a photograph
    photograph     a picture without georeference as an imagery source
    picture_file   its format, whether it is complete, what of it is not used
    option_remedies  advice about a county's entry, said for an image
    detect         plans its chips block by block, runs the segmenter, gives polygons
    spilled        results of chips that wait on the disk for their neighbours
    joining        clips polygons to blocks, and joins the parts of one object again

Chips, stitching and outlines are those of lots. A block of chips is in memory;
results that the next block needs wait on the disk.
"""

from detection.image_detection.detect import ImageDetections, detect_image
from detection.image_detection.opened_image import OpenedImage, open_image

__all__ = ["ImageDetections", "OpenedImage", "detect_image", "open_image"]
