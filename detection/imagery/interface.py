"""The protocol of every imagery source: files, ImageServers, tiles, and any new kind.

To add a kind of source:

1. Implement `ImagerySource` in a module here; `imageserver` is the model for a remote one,
   `geotiff_mosaic` for a local one.
2. Add its keys to `ImageryEntry` in `detection/registry/imagery_entry.py`.
3. Return it from `open_imagery` in `detection/imagery/__init__.py`, the only place that chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow


class ImagerySource(Protocol):
    """Aerial imagery that is read window by window. Engines call it from several threads."""

    @property
    def notes(self) -> Sequence[str]:
        """What was decided about the imagery that a person should know; a sentence each, no
        sentence twice. A server's are complete after the reads.
        """
        ...

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The pixel grid on which a geometry (EPSG:4326) is read.

        The CRS must be metric there, and nearby geometries should share one grid, so that they
        can share chips.

        Raises:
            NoImagery: no imagery covers any of it ("missing", "corrupt").
            ImageryUnavailable: the server is temporarily unavailable.
            ImageryError: the imagery is configured wrongly.
        """
        ...

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The pixels of a window of `grid_for`'s grid, or of one coarser by an integer factor.

        The chip has exactly the window's size; `valid` is False where there is no data.

        Raises:
            NoImagery: not one valid pixel ("nodata", "corrupt").
            ImageryUnavailable: the server is temporarily unavailable.
            ImageryError: the imagery is configured wrongly.
        """
        ...
