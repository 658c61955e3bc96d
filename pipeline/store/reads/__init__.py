"""Reads stored results.

row_cursors    detections and properties, streamed through a server-side cursor
county_status  queue counts, measured areas and last run of a county
"""
