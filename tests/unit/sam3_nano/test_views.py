"""Views of tiles: pixels and truth stay together, however a view is turned, scaled and placed."""

from __future__ import annotations

import math

import pytest
import torch
from sam3_nano_tiles import COLOURS
from torch import Tensor

from detection.training.sam3.augment import photometric
from detection.training.sam3.labels import LABELS, OBJECT_LABELS
from detection.training.sam3.network import GSD_M, NanoSize
from detection.training.sam3.tiles import Tiles
from detection.training.sam3.views import MAX_OBJECTS, Views, cut_views, random_poses

# The class whose colour is that of each label; vegetation has two.
CLASS_OF = {"lawn": 1, "tree": 2, "roof": 3, "driveway": 4, "pool": 5}


def random_views(tiles: Tiles, size: NanoSize, count: int, seed: int = 0) -> Views:
    generator = torch.Generator().manual_seed(seed)
    return cut_views(tiles, *random_poses(tiles, count, size, generator), size)


def colour_says(views: Views, label: str) -> Tensor:
    """(b, side, side): whether a pixel has nearly the colour of the label's class."""
    colour = torch.tensor(COLOURS[CLASS_OF[label]]).float()[:, None, None]
    return (views.pixels - colour).abs().amax(1) < 20


@pytest.mark.parametrize("label", list(CLASS_OF))
def test_targets_lie_where_the_pixels_are(tiles: Tiles, size: NanoSize, label: str) -> None:
    views = random_views(tiles, size, 24)
    seen = colour_says(views, label).float()[:, None]
    shares = torch.nn.functional.interpolate(seen, (size.cells,) * 2, mode="area")[:, 0]
    target = views.semantic[:, LABELS.index(label)]
    known = views.weight[:, LABELS.index(label)] > 0
    full, empty = (shares > 0.99) & known, (shares < 0.01) & known
    assert int(full.sum()) > 100
    assert float(target[full].mean()) > 0.98
    # A pixel at an edge is a mixture of colours, and has that of neither.
    assert float(target[empty].mean()) < 0.02
    moved = target.roll(2, -1)
    assert float(moved[full].mean()) < float(target[full].mean()) - 0.05


def test_vegetation_is_lawn_and_tree(tiles: Tiles, size: NanoSize) -> None:
    views = random_views(tiles, size, 8)
    lawn, tree, green = (
        views.semantic[:, LABELS.index(label)] for label in ("lawn", "tree", "vegetation")
    )
    assert torch.allclose(lawn + tree, green, atol=1e-5)


def test_views_are_as_large_as_they_say(tiles: Tiles, size: NanoSize) -> None:
    """A roof of 12 m in the middle of a tile, seen without a turn."""
    side = tiles.pixels.shape[-1]
    targets = torch.zeros_like(tiles.targets[:1])
    low, high = side // 2 - 10, side // 2 + 10  # 20 px of 0.6 m
    targets[:, LABELS.index("roof"), low:high, low:high] = 255
    objects = torch.zeros_like(tiles.objects[:1])
    objects[:, OBJECT_LABELS.index("roof"), low:high, low:high] = 7
    made = Tiles(0.6, tiles.pixels[:1], targets, tiles.weights[:1], objects)
    half = size.chip_px * GSD_M / made.side_m
    pose = torch.tensor([[[half, 0, 0], [0, half, 0]]])
    views = cut_views(made, torch.tensor([0]), pose, size)
    plane = OBJECT_LABELS.index("roof")
    assert views.counts[0].tolist() == [0, 1, 0, 0]
    share = 12 / (size.chip_px * GSD_M)
    assert views.boxes[0, plane, 0].tolist() == pytest.approx([0.5, 0.5, share, share], abs=0.02)
    cell_m2 = (size.chip_px * GSD_M / size.cells) ** 2
    # The edges are known to half a cell.
    assert float(views.masks[0, plane, 0].sum()) * cell_m2 == pytest.approx(144, rel=0.1)
    assert not views.masks[0, plane, 1:].any()


def test_boxes_are_the_extents_of_the_masks(tiles: Tiles, size: NanoSize) -> None:
    views = random_views(tiles, size, 12)
    assert views.masks.shape[2] == MAX_OBJECTS
    counted = 0
    for view, plane in ((v, p) for v in range(12) for p in range(len(OBJECT_LABELS))):
        for k in range(int(views.counts[view, plane])):
            counted += 1
            cells = torch.nonzero(views.masks[view, plane, k])
            low, high = cells.amin(0), cells.amax(0) + 1
            x, y, width, height = views.boxes[view, plane, k].tolist()
            ends = [y - height / 2, x - width / 2, y + height / 2, x + width / 2]
            wanted = (torch.cat([low, high]) / size.cells).tolist()
            # The extents are known to half a cell.
            assert ends == pytest.approx(wanted, abs=0.51 / size.cells)
    assert counted > 20


def test_outside_of_a_tile_nothing_is_known(tiles: Tiles, size: NanoSize) -> None:
    half = size.chip_px * GSD_M / tiles.side_m
    pose = torch.tensor([[[half, 0, 1], [0, half, 0]]])  # centred on the right edge
    views = cut_views(tiles, torch.tensor([0]), pose, size)
    right = slice(size.chip_px // 2 + 1, None)
    assert (views.pixels[..., right] == -1).all()
    assert (views.pixels[..., : size.chip_px // 2] >= 0).all()
    assert not views.weight[..., size.cells // 2 :].any()
    assert views.weight[..., : size.cells // 2 - 1].all()
    filled = photometric(views.pixels, GSD_M, torch.Generator().manual_seed(0))
    assert float(filled[..., right].abs().max()) < 1e-6  # the adapter's grey


def test_a_label_is_present_where_there_is_enough_of_it(tiles: Tiles, size: NanoSize) -> None:
    views = random_views(tiles, size, 40)
    cells = (views.semantic > 0.5).flatten(2).sum(2)
    present, known = views.present == 1, views.present_weight == 1
    assert (cells[present] >= 6).all()
    assert (cells[~present & known] <= 1).all()
    assert present.any()
    assert (~present & known).any()


def test_poses_stay_in_the_range_that_they_say(tiles: Tiles, size: NanoSize) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, poses = random_poses(tiles, 400, size, generator)
    assert rows.unique().tolist() == [0, 1, 2]
    areas = (poses[:, 0, 0] * poses[:, 1, 1] - poses[:, 0, 1] * poses[:, 1, 0]).abs()
    gsd_m = areas.sqrt() * tiles.side_m / size.chip_px
    assert 0.3 / 1.51 < float(gsd_m.min()) < 0.22
    assert 0.42 < float(gsd_m.max()) < 0.3 * 1.51
    assert math.isclose(float(gsd_m.median()), 0.3, rel_tol=0.02)


def test_photometric_changes_colours_only(tiles: Tiles, size: NanoSize) -> None:
    views = random_views(tiles, size, 8)
    made = photometric(views.pixels, GSD_M, torch.Generator().manual_seed(5))
    again = photometric(views.pixels, GSD_M, torch.Generator().manual_seed(5))
    other = photometric(views.pixels, GSD_M, torch.Generator().manual_seed(6))
    assert torch.equal(made, again)
    assert not torch.equal(made, other)
    assert made.abs().max() <= 1
    # Bright places stay brighter than dark ones.
    before = views.pixels.clamp(min=0).mean(1).flatten(1)
    after = made.mean(1).flatten(1)
    for row in range(8):
        assert float(torch.corrcoef(torch.stack([before[row], after[row]]))[0, 1]) > 0.8
