"""The imagery under the panels of a report's map: read again, coarser, and embedded as JPEG.

Only imagery whose terms allow copies is embedded: the county's own files, and USGS NAIP, which is
in the public domain. A report is mailed; what tile and map services allow is not known here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import shapely

from detection.clip import LotLines
from detection.errors import DetectionError, ImageryUnavailable, NoImagery
from detection.imagery import open_imagery
from detection.imagery.interface import ImagerySource
from detection.registry.imagery_entry import ImageryEntry
from pipeline.redaction import redactor
from pipeline.report.aerial_image import jpeg
from pipeline.report.projections import GridProjection
from pipeline.store.runs.map_data import MapBounds

# Catalogs of many collections, of which this one is NAIP.
_NAIP_COLLECTION = re.compile(
    r"https://(planetarycomputer\.microsoft\.com|earth-search\.aws\.element84\.com)/"
    r"([\w./-]+/)?collections/naip/"
)
# All pictures of a page together; base64 adds a third.
MAX_BYTES = 2_000_000
_LARGE_PX, _SMALL_PX = 1_100, 600
# Of NAIP: the USGS's own server, and the copies in public buckets.
_PUBLIC_DOMAIN = re.compile(
    r"([\w.-]+\.)?(nationalmap|usgs)\.gov"
    r"|naip-[\w-]+(\.s3[\w.-]*\.amazonaws\.com)?|naipeuwest\.blob\.core\.windows\.net"
)


@dataclass(frozen=True, slots=True)
class PanelImage:
    """The picture of a panel as a data URI, and how geometries lie on it."""

    data_uri: str
    projection: GridProjection


class MapImagery:
    """Reads the pictures of a map's panels."""

    def __init__(
        self, imagery: ImagerySource | None, lines: LotLines | None = None, credit: str = ""
    ) -> None:
        """`credit` is said below the map."""
        self._imagery = imagery
        self._lines = lines or LotLines()
        self.credit = credit
        self.problem = ""

    @classmethod
    def unavailable(cls, why: str) -> MapImagery:
        """No imagery, with the reason for below the map."""
        nothing = cls(None)
        nothing.problem = why
        return nothing

    def panel(self, bounds: MapBounds, panels: int, *, is_large: bool) -> PanelImage | None:
        """The picture of a window; None where there is no imagery.

        After the first failure of a server or a file nothing more is read, and `problem` says why.

        Args:
            bounds: west, south, east, north in degrees, beyond 180 across that longitude.
            panels: how many panels share the page.
            is_large: whether it is shown as wide as the page.
        """
        if self.problem or self._imagery is None:
            return None
        try:
            max_bytes = MAX_BYTES // max(panels, 1)
            side_px = _LARGE_PX if is_large else _SMALL_PX
            return self._read(self._imagery, bounds, side_px, max_bytes)
        except NoImagery:
            return None
        except ImageryUnavailable as error:
            self.problem = f"The imagery server did not respond: {redactor.text(str(error))}"
        except (DetectionError, OSError) as error:
            self.problem = f"The imagery cannot be read: {redactor.text(str(error))}"
        return None

    def _read(
        self, imagery: ImagerySource, bounds: MapBounds, side_px: int, max_bytes: int
    ) -> PanelImage:
        west, south, east, north = bounds
        x, y = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
        window_box = shapely.box(x - (east - west) / 2, south, x + (east - west) / 2, north)
        grid = imagery.grid_for(window_box)
        centre = grid.from_lonlat(shapely.Point(x, y))
        corners = [shapely.Point(x, south), shapely.Point(x, north)]
        height = float(abs(np.diff([grid.from_lonlat(corner).y for corner in corners])[0]))
        width = height * _aspect(bounds)
        coarse = grid.zoom_out(max(1, -(-int(max(width, height) / grid.pixel_size) // side_px)))
        window = coarse.window_from_bounds(
            (centre.x - width / 2, centre.y - height / 2,
             centre.x + width / 2, centre.y + height / 2)
        )  # fmt: skip
        chip = imagery.read(coarse, window)
        encoded = jpeg(chip, max_bytes)
        uri = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
        return PanelImage(uri, GridProjection(coarse, window, self._lines))


def _aspect(bounds: MapBounds) -> float:
    west, south, east, north = bounds
    return float((east - west) * np.cos(np.radians((south + north) / 2)) / (north - south))


def map_imagery(
    entry: Mapping[str, Any], imagery: ImagerySource, lines: LotLines | None = None
) -> MapImagery:
    """The imagery of a county for a page, if its terms allow that."""
    allowed, note = terms_of(entry)
    return MapImagery(imagery, lines, note) if allowed else MapImagery.unavailable(note)


def imagery_of_run(settings: Mapping[str, Any]) -> MapImagery:
    """The imagery of an earlier run: its local files, if they are still there.

    Nothing is requested from a server, because showing a run works offline.
    """
    entry = settings.get("imagery") or {}
    if not entry.get("path") or "://" in str(entry["path"]):
        allowed, note = terms_of(entry)
        return MapImagery.unavailable(
            "The imagery of a server is embedded when the batch ends only." if allowed else note
        )
    east_m, north_m = settings.get("lot_offset_m") or (0.0, 0.0)
    try:
        source = open_imagery(ImageryEntry.model_validate(entry))
    except (DetectionError, ValueError, OSError) as error:
        return MapImagery.unavailable(f"The imagery cannot be read here: {error}")
    return MapImagery(source, LotLines((float(east_m), float(north_m))))


def terms_of(entry: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a county's imagery may be embedded, and a sentence for below the map.

    Args:
        entry: the `imagery` of a registry entry, or of a run's settings.
    """
    location = str(entry.get("url") or entry.get("stac") or entry.get("path") or "")
    if entry.get("path") == location and "://" not in location:
        return True, ""
    host = urlsplit(location).hostname or ("STAC items" if entry.get("stac") else "the server")
    if _PUBLIC_DOMAIN.fullmatch(host) or _NAIP_COLLECTION.match(location):
        return True, "Imagery: USDA NAIP, in the public domain."
    licence = f" Its licence: {entry['licence']}." if entry.get("licence") else ""
    return False, f"The imagery of {host} is not embedded: its terms may forbid copies.{licence}"
