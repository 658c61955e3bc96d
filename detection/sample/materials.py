"""The material of each part of the scene: colour in four bands, grain, mowing stripes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from shapely import LineString
from shapely.geometry.base import BaseGeometry

from detection.sample.layout import PAVEMENT_HALF_M
from detection.sample.palette import Colour, Palette
from detection.sample.scene import SyntheticScene
from detection.sample.things import Crown, Yard

BANDS = ("red", "green", "blue", "nir")

# The sun: unit vector (east, north) towards it, and the tangent of its elevation.
SUN_XY = (0.62, -0.785)
SUN_TAN_ELEVATION = math.tan(math.radians(52.0))
_ROOF_SLOPE = math.tan(math.radians(24.0))

# Digital numbers as in NAIP's 8 bit product; `palette` has what differs between styles. NDVI: roads
# -0.05 to -0.15, open water -0.5.
_ASPHALT: Colour = (98, 98, 96, 86)
_KERB: Colour = (150, 147, 138, 128)
_CONCRETE: Colour = (172, 168, 156, 150)
_OLD_CONCRETE: Colour = (140, 136, 126, 120)
_DRIVE_ASPHALT: Colour = (92, 92, 92, 84)
_PAVERS: Colour = (150, 122, 106, 124)
_WATER: Colour = (72, 160, 182, 44)
_SHED: Colour = (142, 142, 140, 128)
_CARS: tuple[Colour, ...] = (
    (206, 206, 204, 196),
    (40, 42, 46, 44),
    (150, 152, 156, 142),
    (150, 44, 40, 92),
    (58, 76, 120, 70),
)


@dataclass(frozen=True, slots=True)
class Surface:
    """A polygon (EPSG:26916) and its material; later ones cover earlier ones.

    Attributes:
        colour: digital numbers in `BANDS`, sunlit.
        grain: the relative standard deviation of its fine texture.
        height_m: above ground, for its shadow.
        stripes: unit vector across mowing stripes, or (0, 0).
    """

    polygon: BaseGeometry
    colour: Colour
    grain: float
    height_m: float = 0.0
    stripes: tuple[float, float] = (0.0, 0.0)


def surfaces(scene: SyntheticScene) -> list[Surface]:
    """Everything except trees and shrubs, from the ground up."""
    rng = np.random.default_rng([scene.seed, 2])
    plan, palette = scene.plan, scene.palette
    layers = [Surface(common, palette.meadow, 0.06) for common in plan.commons]
    layers.append(Surface(plan.pavement(7.2), _CONCRETE, 0.02))
    layers.append(Surface(plan.pavement(5.9), _turf(palette, 0.3), 0.04))
    for yard in scene.yards:
        layers += _ground(rng, yard, palette)
    layers.append(Surface(plan.pavement(PAVEMENT_HALF_M + 0.3), _KERB, 0.02))
    layers.append(Surface(plan.pavement(PAVEMENT_HALF_M), _ASPHALT, 0.03))
    layers += _tar_lines(rng, plan.street_lines)
    for car in scene.cars:
        paint = _CARS[rng.integers(len(_CARS))]
        layers.append(Surface(car, paint, 0.02, height_m=1.4))
        glass = car.buffer(-0.35)
        layers.append(Surface(glass, _mix(paint, (60, 64, 70, 60), 0.35), 0.02, height_m=1.5))
    for yard in scene.yards:
        layers += _buildings(rng, yard, palette)
    return [surface for surface in layers if not surface.polygon.is_empty]


def foliage(crown: Crown, palette: Palette) -> Colour:
    """The sunlit colour of a crown."""
    return _mix(palette.needles, palette.leaves, crown.tone)


def _turf(palette: Palette, dormancy: float) -> Colour:
    least = palette.least_dormancy
    return _mix(palette.turf, palette.straw, least + (1 - least) * dormancy)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """A blend with the fraction `share` of b."""
    red, green, blue, nir = ((1 - share) * x + share * y for x, y in zip(a, b, strict=True))
    return (red, green, blue, nir)


def _vary(rng: Generator, colour: Colour, spread: float) -> Colour:
    """A random variation of a material: brightness, and slightly each band."""
    light = rng.normal(1.0, spread)
    red, green, blue, nir = (
        float(np.clip(value * light * rng.normal(1.0, spread / 4), 15, 245)) for value in colour
    )
    return (red, green, blue, nir)


def _ground(rng: Generator, yard: Yard, palette: Palette) -> list[Surface]:
    turf = _vary(rng, _turf(palette, yard.dormancy), 0.06)
    drive = (_CONCRETE, _OLD_CONCRETE, _DRIVE_ASPHALT)[rng.choice(3, p=(0.5, 0.3, 0.2))]
    drive = _vary(rng, drive, 0.05)
    return [
        # Turf continues under everything on it, so that no seams are visible.
        Surface(yard.plan.polygon, turf, 0.035, stripes=yard.stripes),
        Surface(yard.bare, _vary(rng, palette.soil, 0.06), 0.06),
        Surface(yard.beds, _vary(rng, palette.mulch, 0.08), 0.08),
        Surface(yard.drive, drive, 0.025),
        Surface(yard.walk, _vary(rng, _CONCRETE, 0.05), 0.02),
        Surface(yard.patio, _vary(rng, _PAVERS if rng.random() < 0.4 else _CONCRETE, 0.06), 0.03),
        Surface(yard.pool, _vary(rng, _WATER, 0.05), 0.03),
    ]


def _buildings(rng: Generator, yard: Yard, palette: Palette) -> list[Surface]:
    layers = [Surface(yard.shed, _vary(rng, _SHED, 0.15), 0.03, height_m=2.6)]
    roof = _vary(rng, palette.roofs[rng.integers(len(palette.roofs))], 0.08)
    grain = rng.uniform(0.02, 0.05)
    for face in yard.roof_faces:
        # Lambert shading of the face, relative to level ground.
        to_sun = face.downhill[0] * SUN_XY[0] + face.downhill[1] * SUN_XY[1]
        lit = (1 + _ROOF_SLOPE * to_sun / SUN_TAN_ELEVATION) / math.hypot(1, _ROOF_SLOPE)
        red, green, blue, nir = (value * lit for value in roof)
        layers.append(Surface(face.polygon, (red, green, blue, nir), grain, height_m=4.6))
    return layers


def _tar_lines(rng: Generator, streets: BaseGeometry) -> list[Surface]:
    """Sealed cracks along the streets."""
    layers = []
    for line in streets.geoms:
        for _ in range(2):
            offset: NDArray[np.float64] = np.array(line.coords) + rng.normal(0, 1.6, 2)
            crack = LineString(offset).buffer(0.12)
            layers.append(Surface(crack, (76, 76, 76, 68), 0.03))
    return layers
