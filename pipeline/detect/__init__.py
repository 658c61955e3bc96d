"""Labels on images of one's own: files in; masks, polygons and overlays out. No database.

chosen_labels  the labels of names and prompts
image_list     the images that files, folders and globs mean, and the names of their results
detect_images  one image after the other; what was done before is skipped
result_files   masks (GeoTIFF) and polygons (GeoJSON), written atomically
overlay        the picture of an image with what was found on it
"""

from pipeline.detect.run_images import DetectRequest, ImageOutcome, detect_images

__all__ = ["DetectRequest", "ImageOutcome", "detect_images"]
