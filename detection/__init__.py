"""A boundary and an image -> detections. No database, no web."""
