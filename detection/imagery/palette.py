"""A file with a palette, read as the red, green and blue that its pixels stand for.

Indexes into a palette must never be averaged, compared with black, or searched for fill; so the
file is given to all its readers as one of three bands, and of an alpha band where it has one.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


class ExpandedPalette:
    """An open dataset whose first band has a palette; what is not here is the dataset's own.

    Attributes:
        nodata: None, because nodata is an index: the mask hides it.
    """

    nodata = None

    def __init__(self, dataset: DatasetReader) -> None:
        self._dataset = dataset
        colormap = dataset.colormap(1)
        # A value beyond the palette has no colour: it is transparent.
        self._colours = np.zeros((max(colormap) + 2, 4), np.uint8)
        for value, colour in colormap.items():
            self._colours[value] = colour
        if dataset.nodata is not None and 0 <= dataset.nodata < len(self._colours):
            self._colours[int(dataset.nodata), 3] = 0
        alpha = [i for i in dataset.indexes if dataset.colorinterp[i - 1] == ColorInterp.alpha]
        self._alpha = alpha[0] if alpha else None
        self.count = 4 if alpha else 3
        self.indexes = tuple(range(1, self.count + 1))
        self.dtypes = ("uint8",) * self.count
        self.descriptions = (None,) * self.count
        self.scales, self.offsets = (1.0,) * self.count, (0.0,) * self.count
        self.colorinterp = (*_COLOURS, ColorInterp.alpha)[: self.count]
        self.block_shapes = [dataset.block_shapes[0]] * self.count

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever rasterio's has
        return getattr(self._dataset, name)

    def __enter__(self) -> DatasetReader:
        self._dataset.__enter__()
        return cast("DatasetReader", self)

    def __exit__(self, *error: object) -> None:
        self._dataset.__exit__(*error)

    @property
    def mask_flag_enums(self) -> list[list[MaskFlags]]:
        """A mask of the whole file; of an alpha band, GDAL would say so itself."""
        if self._alpha is not None:
            return [[MaskFlags.per_dataset, MaskFlags.alpha]] * self.count
        is_opaque = bool((self._colours[:-1, 3] > 0).all()) and not self._has_own_mask()
        return [[MaskFlags.all_valid if is_opaque else MaskFlags.per_dataset]] * self.count

    def tags(self, _index: int = 0, ns: str | None = None) -> dict[str, str]:
        """The file's tags; a colour of the palette has none."""
        return {} if _index else dict(self._dataset.tags(ns=ns))

    def overviews(self, _index: int) -> list[int]:
        """None: those of a palette are often averages of indexes."""
        return []

    def read(
        self,
        indexes: int | list[int] | None = None,
        window: Window | None = None,
        **options: Any,  # noqa: ANN401 - rasterio's, such as out_shape
    ) -> NDArray[np.generic]:
        """Colours (bands, height, width), or (height, width) for one index."""
        shape = options.pop("out_shape", None)
        if shape is not None:
            options["out_shape"] = tuple(shape)[-2:]
        found = self._dataset.read(1, window=window, **options)
        colours = self._colours[np.minimum(found.astype(np.intp), len(self._colours) - 1)]
        bands = list(np.moveaxis(colours[..., :3], -1, 0))
        if self._alpha is not None:
            alpha = self._dataset.read(self._alpha, window=window, **options)
            bands.append(np.where(colours[..., 3] > 0, alpha, 0).astype(np.uint8))
        if isinstance(indexes, int):
            return np.asarray(bands[indexes - 1])
        return np.stack([bands[index - 1] for index in indexes or self.indexes])

    def read_masks(
        self,
        _index: int,
        window: Window | None = None,
        **options: Any,  # noqa: ANN401
    ) -> NDArray[np.uint8]:
        """(height, width): 0 where the palette, nodata or the file's own mask hides."""
        found = self._dataset.read(1, window=window, **options)
        shown = self._colours[np.minimum(found.astype(np.intp), len(self._colours) - 1), 3] > 0
        if self._has_own_mask():
            shown &= self._dataset.read_masks(1, window=window, **options) > 0
        return np.where(shown, 255, 0).astype(np.uint8)

    def _has_own_mask(self) -> bool:
        flags = self._dataset.mask_flag_enums[0]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def with_colours(dataset: DatasetReader) -> DatasetReader:
    """The dataset, with its palette expanded if it has one."""
    if dataset.colorinterp[0] != ColorInterp.palette:
        return dataset
    try:
        return cast("DatasetReader", ExpandedPalette(dataset))
    except ValueError:  # tagged as a palette, but without one
        return dataset
