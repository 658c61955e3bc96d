"""Imagery that servers cut into tiles: XYZ, WMTS and WMS.

tiled_imagery   TiledImagery: the tiles of a chip, joined and warped to the local UTM zone
tile_grid       TileGrid: where the tiles of one zoom level are, in the server's CRS
xyz             URLs with {z}, {x}, {y}, {q}
wmts            capabilities, and templates with {TileMatrix}
wms             GetMap
tile_image      a response -> pixels and valid mask, or a typed error
"""
