"""What imagery is to the detector: a grid for a place, and windows of pixels in it."""

from __future__ import annotations

from typing import Protocol

from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow


class ImagerySource(Protocol):
    """Aerial imagery that can be read by windows."""

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The pixel grid in which a geometry (EPSG:4326) is looked at.

        Raises:
            NoImagery: no imagery covers any of it.
        """
        ...

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The window's pixels; `valid` is False wherever there are none.

        Raises:
            NoImagery: not one valid pixel.
            ImageryUnavailable: a server that does not answer now.
            ImageryError: imagery that is configured wrongly.
        """
        ...
