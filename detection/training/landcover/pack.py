"""Tiles for landcover's training in one small file: four bands, and what was traced by eye.

    python -m detection.training.landcover.pack ../shared/data pack.npz [more traced folders]

Imagery is packed as JPEG, a seventh of its size; what was traced, at a higher quality.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detection.errors import TrainingError
from detection.training.held_out import HELD_OUT_PREFIXES
from detection.training.landcover.other_years import carry_codes
from detection.training.sam3.labels import UNSURE

_FOLDERS = ("naip_train/naip", "real/naip")
_TRACED_QUALITY, _QUALITY, _NIR_QUALITY = 92, 78, 70


@dataclass(frozen=True, slots=True, eq=False)
class LandcoverTiles:
    """n square tiles of NAIP at 0.6 m.

    Attributes:
        pixels: (n, 4, side, side) uint8: red, green, blue, near infrared.
        traced: (n, side, side) uint8, codes of the classes; `UNSURE` where nothing is known.
    """

    names: tuple[str, ...]
    pixels: NDArray[np.uint8]
    traced: NDArray[np.uint8]

    def traced_or_carried(self, held_out: tuple[str, ...]) -> NDArray[np.uint8]:
        """As `traced`, with what holds in other years too (see `other_years`).

        Args:
            held_out: beginnings of the names of tiles that neither give nor get codes.
        """
        open_rows = [r for r, name in enumerate(self.names) if not name.startswith(held_out)]
        names = [self.names[row] for row in open_rows]
        pixels = {self.names[row]: self.pixels[row] for row in open_rows}
        codes = self.traced.copy()
        for name, carried in carry_codes(names, pixels, self.traced[open_rows]).items():
            codes[self.names.index(name)] = carried
        return codes


def read_pack(path: Path) -> LandcoverTiles:
    """The tiles of a pack.

    Raises:
        TrainingError: not such a file.
    """
    if not path.is_file():
        raise TrainingError(
            f"{path} does not exist: `python -m detection.training.landcover.pack` writes it"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            names = tuple(str(name) for name in file["names"])
            traced_rows, traced = file["traced_rows"], file["traced"]
            colours = _split(file["colours"], file["colour_ends"])
            infrared = _split(file["infrared"], file["infrared_ends"])
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise TrainingError(f"{path} cannot be read as tiles ({error}). Pack them again") from error
    pixels = np.stack(
        [
            np.concatenate([np.moveaxis(_decode(rgb), -1, 0), _decode(nir)[None]])
            for rgb, nir in zip(colours, infrared, strict=True)
        ]
    )
    codes = np.full((len(names), *pixels.shape[2:]), UNSURE, np.uint8)
    codes[traced_rows] = traced
    return LandcoverTiles(names, pixels, codes)


def write_pack(data: Path, path: Path, more_traced: Sequence[Path] = ()) -> int:
    """Pack the tiles of a data folder; returns how many.

    Args:
        data: with `naip_train/naip`, `real/naip` and `traced`.
        more_traced: further folders with windows.json and label maps.

    Raises:
        TrainingError: no tiles, or labels of a tile that is not there.
        TruthError: a folder of labels that cannot be read, or with unknown codes.
    """
    import rasterio

    found = (file for folder in _FOLDERS for file in sorted((data / folder).glob("*.tif")))
    files = {file.stem: file for file in found}
    if not files:
        raise TrainingError(f"{data} has no tiles in {' or '.join(_FOLDERS)}")
    traced: dict[str, NDArray[np.uint8]] = {}
    for folder in (data / "traced", *more_traced):
        for name, codes in _traced_codes(folder, files):
            known = traced.get(name, np.full_like(codes, UNSURE))
            traced[name] = np.where(codes == UNSURE, known, codes)
    # Of the test city, only what can be judged by.
    names = [n for n in sorted(files) if n in traced or not n.startswith(HELD_OUT_PREFIXES)]
    colours, infrared = [], []
    for name in names:
        with rasterio.open(files[name]) as source:
            pixels = source.read()
        quality = _TRACED_QUALITY if name in traced else _QUALITY
        colours.append(_encode(np.moveaxis(pixels[:3], 0, -1), quality))
        infrared.append(_encode(pixels[3], _NIR_QUALITY))
    np.savez(
        path,
        names=np.array(names),
        colours=np.frombuffer(b"".join(colours), np.uint8),
        colour_ends=np.cumsum([len(each) for each in colours]),
        infrared=np.frombuffer(b"".join(infrared), np.uint8),
        infrared_ends=np.cumsum([len(each) for each in infrared]),
        traced_rows=np.array([names.index(name) for name in traced], np.int64),
        traced=np.stack(list(traced.values())),
    )
    return len(names)


def _traced_codes(folder: Path, names: Container[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(tile, codes) of a folder: codes inside its windows, `UNSURE` elsewhere."""
    # Packing needs rasterio, training does not.
    from detection.evaluation.traced import read_traced

    for tile in read_traced(folder):
        if tile.name not in names:
            raise TrainingError(f"{folder} has labels of the tile {tile.name}, which is not there")
        codes = np.full_like(tile.codes, UNSURE)
        for window in tile.windows:
            rows = slice(window.row, window.row + window.height)
            columns = slice(window.column, window.column + window.width)
            codes[rows, columns] = tile.codes[rows, columns]
        yield tile.name, codes


def _encode(pixels: NDArray[np.uint8], quality: int) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=quality)
    return target.getvalue()


def _decode(jpeg: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image, np.uint8)


def _split(joined: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[bytes]:
    starts = [0, *ends[:-1].tolist()]
    return [joined[a:b].tobytes() for a, b in zip(starts, ends.tolist(), strict=True)]


if __name__ == "__main__":
    source, target, *others = map(Path, sys.argv[1:])
    sys.stdout.write(f"{write_pack(source, target, others)} tiles\n")
