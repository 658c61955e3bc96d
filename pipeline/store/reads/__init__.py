"""Reading results.

row_cursors    detections and properties, streamed through a server-side cursor
county_status  counts and areas of a county
"""
