"""Render the scene to pixels: materials, sun, shadows, texture, camera blur and noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray
from rasterio.features import rasterize

from detection.sample.materials import (
    SUN_TAN_ELEVATION,
    SUN_XY,
    Surface,
    foliage,
    surfaces,
)
from detection.sample.palette import Colour
from detection.sample.scene import GSD_M, SyntheticScene
from detection.sample.things import Crown

Plane = NDArray[np.float32]

_STRIPE_M = 1.1
_STRIPE_CONTRAST = 0.03
_SKYLIGHT = np.array(
    [0.36, 0.40, 0.50, 0.30], np.float32
)  # fraction of the sunlit value in the shade
_HAZE_DN = np.array([4, 5, 8, 1], np.float32)
_BLUR_SIGMA_PX = 0.75
_SENSOR_NOISE_DN = 1.8


@dataclass(slots=True)
class _Canvas:
    """The image being rendered: (4, H, W) colours, (H, W) relief in metres and grain."""

    colour: Plane
    relief_m: Plane
    grain: Plane
    transform: Affine


def paint(scene: SyntheticScene) -> NDArray[np.uint8]:
    """The image (4, height, width): red, green, blue, near infrared; 0.3 m per pixel."""
    rng = np.random.default_rng([scene.seed, 3])
    canvas = _ground(scene, rng)
    leaves = _crowns(canvas, scene)
    _shade_crowns(canvas, leaves, rng)
    shadow = _shadows(canvas.relief_m)
    light = 1 - shadow * (1 - _SKYLIGHT[:, None, None])
    canvas.colour *= light
    canvas.colour *= 1 + canvas.grain * _speckle(rng, scene.shape)
    return _expose(canvas.colour, rng)


def grid(scene: SyntheticScene) -> Affine:
    """Pixel (column, row) to EPSG:26916 (x, y)."""
    left, _, _, top = scene.bounds
    return Affine(GSD_M, 0, left, 0, -GSD_M, top)


def noise(rng: Generator, shape: tuple[int, int], cell_px: float) -> Plane:
    """Smooth noise (height, width) of at most unit variance, with cells of `cell_px`."""
    height, width = shape
    rows, columns = np.arange(height) / cell_px, np.arange(width) / cell_px
    coarse = rng.standard_normal((int(rows[-1]) + 2, int(columns[-1]) + 2), np.float32)
    row, column = rows.astype(int), columns.astype(int)
    down = (rows - row).astype(np.float32)[:, None]
    right = (columns - column).astype(np.float32)[None, :]
    across = coarse[:, column] * (1 - right) + coarse[:, column + 1] * right
    smooth: Plane = across[row] * (1 - down) + across[row + 1] * down
    return smooth


def _ground(scene: SyntheticScene, rng: Generator) -> _Canvas:
    """Everything except trees and shrubs, unlit."""
    transform = grid(scene)
    layers = [Surface(scene.plan.street_lines, scene.palette.meadow, 0.06), *surfaces(scene)]
    index = rasterize(
        ((layer.polygon, number) for number, layer in enumerate(layers) if number),
        out_shape=scene.shape,
        transform=transform,
        fill=0,
        dtype="int32",
    )
    table = np.array([layer.colour for layer in layers], np.float32).T
    colour = table[:, index]
    patches = 0.05 * noise(rng, scene.shape, 18) + 0.04 * noise(rng, scene.shape, 60)
    stripes = np.array([layer.stripes for layer in layers], np.float32)
    grassy = np.any(stripes != 0, axis=1)
    grassy[0] = True
    colour *= 1 + patches * np.where(grassy, 1.0, 0.35).astype(np.float32)[index]
    colour *= 1 + _STRIPE_CONTRAST * _stripes(stripes, index)
    return _Canvas(
        colour=colour,
        relief_m=np.array([layer.height_m for layer in layers], np.float32)[index],
        grain=np.array([layer.grain for layer in layers], np.float32)[index],
        transform=transform,
    )


def _stripes(across: NDArray[np.float32], index: NDArray[np.int32]) -> Plane:
    """Mowing stripes, -1..1, where a layer has a stripe direction."""
    rows, columns = np.indices(index.shape, dtype=np.float32)
    turn = 2 * np.pi * GSD_M / _STRIPE_M
    phase = turn * (across[index, 0] * columns - across[index, 1] * rows)
    wave: Plane = np.sin(phase)
    return wave


def _crowns(canvas: _Canvas, scene: SyntheticScene) -> NDArray[np.bool_]:
    """Add the domes of shrubs and trees to relief and colour; True where there are leaves."""
    leaves = np.zeros(scene.shape, bool)
    shrubs = (shrub for yard in scene.yards for shrub in yard.shrubs)
    for crown in _from_low_to_high([*shrubs, *scene.crowns]):
        _raise_crown(canvas, leaves, crown, foliage(crown, scene.palette))
    return leaves


def _from_low_to_high(crowns: Iterable[Crown]) -> list[Crown]:
    return sorted(crowns, key=lambda crown: crown.height_m)


def _raise_crown(canvas: _Canvas, leaves: NDArray[np.bool_], crown: Crown, colour: Colour) -> None:
    height, width = leaves.shape
    column = (crown.x_m - canvas.transform.c) / GSD_M
    row = (canvas.transform.f - crown.y_m) / GSD_M
    reach = int(1.4 * crown.radius_m / GSD_M) + 2
    top, bottom = max(0, int(row) - reach), min(height, int(row) + reach)
    left, right = max(0, int(column) - reach), min(width, int(column) + reach)
    if top >= bottom or left >= right:
        return
    rows, columns = np.mgrid[top:bottom, left:right]
    dx, dy = (columns + 0.5 - column) * GSD_M, -(rows + 0.5 - row) * GSD_M
    share = np.hypot(dx, dy) / crown.reach_m(np.arctan2(dy, dx))
    window = (slice(top, bottom), slice(left, right))
    # A crown hides lower surfaces; a shrub does not cover the eaves.
    inside = (share < 1) & (canvas.relief_m[window] < crown.height_m)
    dome = crown.height_m * (0.45 + 0.55 * np.sqrt(np.clip(1 - share**2, 0, 1)))
    canvas.relief_m[window][inside] = dome[inside]
    canvas.colour[(slice(None), *window)][:, inside] = np.array(colour)[:, None]
    canvas.grain[window][inside] = 0.07
    leaves[window] |= inside


def _shade_crowns(canvas: _Canvas, leaves: NDArray[np.bool_], rng: Generator) -> None:
    """Shade crowns by their relief: bright towards the sun, dark gaps between leaves."""
    lumps = 0.55 * noise(rng, leaves.shape, 4.5) + 0.30 * noise(rng, leaves.shape, 2.2)
    relief = canvas.relief_m + lumps * np.minimum(1, canvas.relief_m / 3)
    north, east = np.gradient(relief, GSD_M)
    towards_sun = -(east * SUN_XY[0] - north * SUN_XY[1])
    slope = np.clip(towards_sun, -1.6, 1.6)
    lit = (1 + slope / SUN_TAN_ELEVATION) / np.sqrt(1 + slope**2)
    shade = np.clip(lit, 0.38, 1.35).astype(np.float32)
    canvas.colour *= np.where(leaves, shade, np.float32(1))


def _shadows(relief_m: Plane) -> Plane:
    """1 where something higher blocks the line of sight to the sun, else 0."""
    shadow = np.zeros(relief_m.shape, bool)
    reach_px = int(float(relief_m.max()) / SUN_TAN_ELEVATION / GSD_M) + 1
    for step in range(1, reach_px + 1):
        down, right = round(-step * SUN_XY[1]), round(step * SUN_XY[0])
        higher = _shifted(relief_m, down, right) - step * GSD_M * SUN_TAN_ELEVATION
        shadow |= higher > relief_m + 0.3
    return shadow.astype(np.float32)


def _shifted(plane: Plane, down: int, right: int) -> Plane:
    """`plane` shifted: each pixel gets the value that many rows below and columns right."""
    height, width = plane.shape
    moved = np.zeros_like(plane)
    rows = (slice(max(0, -down), height - max(0, down)), slice(max(0, down), height + min(0, down)))
    columns = (
        slice(max(0, -right), width - max(0, right)),
        slice(max(0, right), width + min(0, right)),
    )
    moved[rows[0], columns[0]] = plane[rows[1], columns[1]]
    return moved


def _speckle(rng: Generator, shape: tuple[int, int]) -> Plane:
    fine = rng.standard_normal(shape, np.float32)
    return 0.7 * fine + noise(rng, shape, 2.0)


def _expose(colour: Plane, rng: Generator) -> NDArray[np.uint8]:
    """Apply optical blur, haze and sensor noise, and round to 8 bits."""
    image = np.empty(colour.shape, np.uint8)
    for band, plane in enumerate(colour):
        exposed = _blur(plane, _BLUR_SIGMA_PX) + _HAZE_DN[band]
        exposed += _SENSOR_NOISE_DN * rng.standard_normal(plane.shape, np.float32)
        image[band] = np.clip(np.rint(exposed), 1, 255)
    return image


def _blur(plane: Plane, sigma_px: float) -> Plane:
    """Separable Gaussian blur with edge padding."""
    offsets = np.arange(-3, 4)
    weights = np.exp(-(offsets**2) / (2 * sigma_px**2))
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(3, 3) if axis == a else (0, 0) for a in (0, 1)]
        padded = np.pad(plane, padding, mode="edge")
        length = plane.shape[axis]
        plane = np.zeros_like(plane)
        for start, weight in enumerate(weights):
            plane += weight * np.take(padded, range(start, start + length), axis=axis)
    return plane
