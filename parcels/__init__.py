"""A lot and how big it is. Knows nothing of images, models or databases."""
