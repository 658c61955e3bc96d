"""SAM3's decoder on corrections: what each tier changes, kept views, resume, deltas, judge."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelledchips import SMALL, painted_lot, write_labelled_chips, write_small_sam3
from safetensors.torch import save_file
from torch import Tensor

from detection.errors import SegmenterError, TrainingError
from detection.segmenters.sam3.forward import encode_image
from detection.segmenters.sam3.preprocess import preprocess
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.sources import DELTA_FILE
from detection.segmenters.sam3.weights import load_weights
from detection.training.loop import StepMetrics, train
from detection.training.proof import read_proof
from detection.training.recipes import RecipeRequest, Training, build_training
from detection.training.run_record import read_metrics, read_run
from detection.training.sam3_decoder import frozen_views
from detection.training.sam3_decoder import task as task_module
from detection.training.sam3_decoder.batches import batch_targets
from detection.training.sam3_decoder.chips import read_chips
from detection.training.sam3_decoder.delta import delta_metadata, delta_tensors
from detection.training.sam3_decoder.lot_judge import LotJudge
from detection.training.sam3_decoder.task import TierTask
from detection.training.sam3_decoder.tiers import TIERS

PARTS = {
    "mask": {"mask_decoder"},
    "heads": {"mask_decoder", "dot_product_scoring", "detr_decoder"},
    "deep": {
        "mask_decoder", "dot_product_scoring", "detr_decoder", "vision_encoder.neck",
        "detr_encoder", "geometry_encoder",
    },
}  # fmt: skip
PARTS["full"] = PARTS["deep"] | {
    "vision_encoder.backbone", "text_encoder.text_model", "text_projection.weight",
    "text_projection.bias", "text_encoder.text_projection",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_labelled_chips(folder, range(4), validation=(3,))
    write_labelled_chips(folder / "first", (8, 9))
    write_small_sam3(folder / "start")
    return folder


def decoder_training(
    data: Path, tier: str = "heads", *, judged: bool = False, **overrides: str
) -> Training:
    settings = SMALL | {"start": str(data / "start"), "tier": tier} | overrides
    return build_training("sam3-decoder", RecipeRequest(data, 1, "cpu", settings, judged))


def task_of(data: Path, tier: str = "heads", **overrides: str) -> TierTask:
    task = decoder_training(data, tier, **overrides).task
    assert isinstance(task, TierTask)
    return task


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_changes_its_parts_and_its_delta_makes_the_same_segmenter(
    data: Path, tmp_path: Path, tier: str
) -> None:
    training = decoder_training(data, tier, judged=True, judged_one_in="2")
    assert isinstance(training.resolved["start_score"], float)
    settings = dataclasses.replace(
        training.settings, steps=2, checkpoint_every=2, learning_rate=1e-2, ema_decay=0.5
    )
    state = train(training.task, settings, tmp_path / "run", export=training.export)
    assert state.best is not None
    proof = read_proof(state.best)
    assert proof is not None
    assert proof.proven, proof.reason
    delta = tmp_path / "run" / "weights" / DELTA_FILE
    base, after = (
        load_weights(source).model.state_dict()
        for source in (str(data / "start"), f"{data / 'start'}{os.pathsep}{delta}")
    )
    changed = {name for name in base if not torch.equal(base[name], after[name])}
    parts = {".".join(name.split(".")[:2]) for name in changed}
    wanted = PARTS[tier]
    assert {part for part in parts if part in wanted or part.split(".")[0] in wanted} == parts
    assert {part for part in wanted if part in parts or part in {p.split(".")[0] for p in parts}}
    for part in ("mask_decoder", *sorted(wanted & {"detr_decoder", "detr_encoder"})):
        assert any(name.startswith(f"{part}.") for name in changed)
    metadata = delta_metadata(delta)
    assert metadata["base_sha256"] == load_weights(str(data / "start")).sha256
    assert metadata["tier"] == tier
    assert json.loads(metadata["metrics"])["score"] == proof.score
    weights = load_weights(f"{data / 'start'}{os.pathsep}{delta.parent}", proof.weights_sha256)
    assert Sam3(weights, "sam3", "cpu", fast=False).weights_sha256 == proof.weights_sha256


def test_the_loss_falls(data: Path, tmp_path: Path) -> None:
    training = decoder_training(data)
    settings = dataclasses.replace(
        training.settings, steps=16, learning_rate=3e-3, clip_norm=10.0, ema_decay=0.0
    )
    train(training.task, settings, tmp_path)
    rows = read_metrics(tmp_path)
    assert rows[-1]["terms"].keys() == {
        "presence", "class", "box_l1", "box_giou", "mask_focal", "mask_dice", "semantic",
        "semantic_dice",
    }  # fmt: skip
    losses = [row["loss"] for row in rows]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])


def test_kept_views_are_what_the_network_makes_of_them(data: Path) -> None:
    """The first view is the chip as detection sees it; mask losses are the same either way."""
    task = task_of(data)
    views = task.views(3)
    [first] = [v for v in task._sources[0] if v.chip.name == "chip-0" and not v.pose.colours]
    judge = LotJudge([first.chip], task._rules.view_m, ())
    pixels = preprocess(judge.probed, task._rules.side_px)
    assert torch.equal(first.pixels(task._rules), pixels[0])
    with torch.no_grad():
        tokens = encode_image(task._model, pixels)
    assert torch.allclose(task._frozen.tokens([first]), tokens, rtol=0.01, atol=0.02)
    everything = {name: term.item() for name, term in task.loss(3).items()}
    for pyramid in ("true", "false"):
        masks = task_of(data, "mask", keep_pyramid=pyramid)
        assert [v.key for v in masks.views(3)] == [v.key for v in views]
        terms = {name: term.item() for name, term in masks.loss(3).items()}
        assert terms.keys() == {"mask_focal", "mask_dice", "semantic", "semantic_dice"}
        assert terms == pytest.approx({name: everything[name] for name in terms}, rel=0.02)


def test_views_are_computed_once_and_by_chip(data: Path, tmp_path: Path) -> None:
    write_labelled_chips(tmp_path / "more", range(4), validation=(3,))
    cache = str(tmp_path / "cache")
    first = task_of(data, cache=cache)._frozen._kept
    assert (first.computed, first.found) == (6, 0)
    again = task_of(data, cache=cache)._frozen._kept
    assert (again.computed, again.found) == (0, 6)
    write_labelled_chips(tmp_path / "more", range(5), validation=(3,))
    more = task_of(tmp_path / "more", cache=cache, start=str(data / "start"))._frozen._kept
    assert (more.computed, more.found) == (2, 6)
    other = write_small_sam3(tmp_path / "other", seed=5)
    changed = task_of(data, cache=cache, start=str(other))._frozen._kept
    assert (changed.computed, changed.found) == (6, 0)


def test_views_that_do_not_fit_say_what_to_set(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"views=1.*larger cache_gib, or cache"):
        decoder_training(data, cache=str(tmp_path / "c"), cache_gib="0.0001")
    with pytest.raises(TrainingError, match="keep_pyramid=false"):
        decoder_training(data, "mask", cache=str(tmp_path / "c"), cache_gib="0.0001")
    assert not (tmp_path / "c").exists()


def test_the_least_recently_used_views_make_room(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    write_labelled_chips(tmp_path / "other", range(10, 14), validation=(13,))
    task_of(data, cache=str(cache))
    old = set(cache.iterdir())
    size = sum(path.stat().st_size for path in old)
    assert len(old) == 6
    # The size of a view is estimated with room for its header.
    cap_gib = (size + 6 * (1 << 16) + size / 2) / (1 << 30)
    task_of(tmp_path / "other", start=str(data / "start"), cache=str(cache), cache_gib=str(cap_gib))
    left = set(cache.iterdir())
    assert len(left - old) == 6
    assert 0 < len(left & old) < 6


def test_a_resumed_run_has_the_same_losses(data: Path, tmp_path: Path) -> None:
    """Ended by Ctrl-C, then by the time limit, then resumed: as if never ended."""

    def run(folder: str, stop_at: int = 100, limit_at: int = 100) -> str:
        training = decoder_training(data, "deep")  # with dropout
        seen: list[int] = []

        def on_step(metrics: StepMetrics) -> None:
            seen.append(metrics.step)
            if len(seen) == stop_at:
                os.kill(os.getpid(), signal.SIGINT)

        settings = dataclasses.replace(
            training.settings, steps=4, checkpoint_every=100, read_every=1, time_limit_s=1.0
        )
        return train(
            training.task, settings, tmp_path / folder, resume=True, on_step=on_step,
            clock=lambda: 1.0 if len(seen) >= limit_at else 0.0,
        ).ended  # fmt: skip

    assert run("whole") == "finished"
    assert run("parts", stop_at=1) == "interrupted"
    assert run("parts", limit_at=1) == "time limit"
    assert run("parts") == "finished"
    whole, parts = ([row["loss"] for row in read_metrics(tmp_path / n)] for n in ("whole", "parts"))
    assert len(whole) == 4
    assert parts == pytest.approx(whole, abs=1e-6)


def test_a_step_that_is_not_finite_changes_nothing_and_names_its_chips(
    data: Path, tmp_path: Path
) -> None:
    training = decoder_training(data, "mask")
    task = training.task
    assert isinstance(task, TierTask)
    before = {name: each.clone() for name, each in task.network.state_dict().items()}
    for view in task.views(0):
        path = task._frozen._kept.path_of(task._frozen._before_name(view, pyramid=True))
        kept = task._frozen._kept.read(path.stem)
        save_file(kept | {"memory": kept["memory"] * torch.nan}, path)
    messages: list[str] = []
    settings = dataclasses.replace(training.settings, steps=1, ema_decay=0.0)
    state = train(task, settings, tmp_path, on_message=messages.append)
    assert state.skipped == 1
    assert any(f"Batch: {task.batch_name(0)}. Skipped" in text for text in messages)
    assert all(torch.equal(each, before[n]) for n, each in task.network.state_dict().items())
    for view in task.views(0):
        task._frozen._kept.path_of(task._frozen._before_name(view, pyramid=True)).unlink()


def test_half_of_a_batch_is_rehearsal(data: Path) -> None:
    task = task_of(data, batch="4", rehearsal=str(data / "first"))
    for step in range(5):
        names = [view.chip.name for view in task.views(step)]
        assert set(names[:2]) <= {"chip-0", "chip-1", "chip-2"}
        assert set(names[2:]) <= {"chip-8", "chip-9"}
    alone = task_of(data, batch="4")
    assert all(len(alone.views(step)) == 4 for step in range(3))
    task.resize({"batch": 2})
    assert [view.chip.name in {"chip-8", "chip-9"} for view in task.views(0)] == [False, True]
    assert alone.data_sha256 != task.data_sha256


@pytest.mark.parametrize("tier", ["heads", "deep"])
def test_a_step_can_have_fewer_prompts(data: Path, tier: str) -> None:
    task = task_of(data, tier, batch="1")
    assert task.sizes == {"batch": 1, "prompts": 3}
    full = {step: task.views(step) for step in range(6)}
    asked = task.data_sha256
    for prompts in (2, 1):
        task.resize({"batch": 1, "prompts": prompts})
        seen = set()
        for step, [whole] in full.items():
            [view] = task.views(step)
            truth, all_of = view.truth, whole.truth
            assert len(truth.phrases) == prompts
            at = [all_of.phrases.index(phrase) for phrase in truth.phrases]
            assert at == sorted(at)
            assert torch.equal(truth.semantic, all_of.semantic[at])
            assert (
                truth.masks.shape[0]
                == len(truth.rows)
                == sum(int(row) in at for row in all_of.rows)
            )
            for row, mask in zip(truth.rows.tolist(), truth.masks, strict=True):
                assert (mask <= truth.semantic[row].int() + 1).all()
            seen.update(truth.phrases)
            assert all(bool(term.isfinite()) for term in task.loss(step).values())
        assert len(seen) >= 3  # all take their turn
    assert task.data_sha256 == asked
    assert task_of(data, "mask").sizes == {"batch": 2}  # what is kept has all prompts


def test_prompts_are_halved_where_one_view_does_not_fit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = task_module.token_losses

    def short(model: Any, tokens: Tensor, text: Any, *rest: Any) -> Any:
        if len(text.tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, tokens, text, *rest)

    monkeypatch.setattr(task_module, "token_losses", short)
    training = decoder_training(data, "heads")
    settings = dataclasses.replace(training.settings, steps=2)
    train(training.task, settings, tmp_path)
    assert read_run(tmp_path)["memory"] == {
        "asked": {"batch": 2, "prompts": 3}, "used": {"batch": 1, "prompts": 2},
    }  # fmt: skip


def test_the_encoder_gets_fewer_views_at_once_where_memory_is_short(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = frozen_views.encode_image, []

    def short(most: int) -> Callable[..., Tensor]:
        def encode(model: Any, pixels: Tensor) -> Tensor:
            tried.append(len(pixels))
            if len(pixels) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(model, pixels)

        return encode

    monkeypatch.setattr(frozen_views, "_AT_ONCE", {"cpu": 8})
    monkeypatch.setattr(frozen_views, "encode_image", short(2))
    task_of(data, cache=str(tmp_path / "some"))
    assert tried[:3] == [6, 3, 2]
    assert sum(tried[2:]) == 6
    monkeypatch.setattr(frozen_views, "encode_image", short(0))
    with pytest.raises(TrainingError, match="the encoder of one view does not fit") as caught:
        task_of(data, cache=str(tmp_path / "none"))
    assert "`lotline doctor`" in str(caught.value)


def test_what_a_chip_teaches(data: Path) -> None:
    """Presence is trained where all of the view is known; outside of the lot nothing is."""
    task = task_of(data, prompts="4", views="2")
    views = {(v.chip.name, v.pose.alone): v.truth for v in task._sources[0]}
    context = views["chip-1", False]  # without a roof
    assert context.phrases == ("lawn", *context.phrases[1:3], "dog")
    assert set(context.phrases[1:3]) == {"roof", "pool"}
    assert context.present.tolist() == [1, 0, 0, 0]
    assert context.present_weight.tolist() == [1, 0, 0, 1]  # the lot is a part of the view
    assert context.scored.tolist() == [1, 1, 1, 0]
    assert context.rows.tolist() == [0, 0]
    edge = round(context.ground.shape[0] * 16 / 128)
    assert not context.ground[: edge - 1].any()
    assert not context.weight[0, : edge - 1].any()
    assert context.weight[3].all()
    alone = views["chip-1", True]
    assert alone.present_weight.tolist() == [1, 1, 1, 1]
    assert alone.scored.tolist() == [1, 0, 0, 0]
    assert alone.weight[:3].all()
    lawns = painted_lot(1)[1]["lawn"]
    shares = sorted(float(mask.sum()) / 255 for mask in context.masks)
    cells = (context.ground.shape[0] / 128) ** 2
    assert shares == pytest.approx(sorted(each.sum() * cells for each in lawns), rel=0.02)
    truth = batch_targets([context, alone], torch.device("cpu"))
    assert truth.object_rows.tolist() == [0, 4]
    assert truth.counts.tolist() == [2, 2]
    assert truth.known is not None
    assert not truth.known.negatives[3].any()
    assert truth.known.negatives[1].any()


def test_of_a_label_that_is_not_exhaustive_only_its_mask_says_something(tmp_path: Path) -> None:
    write_labelled_chips(tmp_path, (0, 1, 2), validation=(2,), exhaustive=False)
    write_small_sam3(tmp_path / "start")
    task = task_of(tmp_path, prompts="4", views="1")
    truth = next(v.truth for v in task._sources[0] if v.chip.name == "chip-1")
    assert truth.phrases == ("lawn", "dog", "nothing", "nothing")
    assert not truth.negatives.any()
    assert (truth.semantic[0][truth.weight[0] > 0] == 255).all()
    assert truth.ground.any()
    assert not truth.weight[2:].any()


def test_going_on_from_a_delta_keeps_what_it_changed(data: Path, tmp_path: Path) -> None:
    def trained(tier: str, start: str, folder: str) -> Path:
        training = decoder_training(data, tier, start=start, judged=True)
        settings = dataclasses.replace(training.settings, steps=1, learning_rate=1e-2)
        train(training.task, settings, tmp_path / folder, export=training.export)
        return tmp_path / folder / "weights" / DELTA_FILE

    base = str(data / "start")
    heads = trained("heads", base, "heads")
    both = trained("mask", f"{base}{os.pathsep}{heads}", "both")
    first, second = delta_tensors(heads), delta_tensors(both)
    assert first.keys() == second.keys()
    assert delta_metadata(both)["base_sha256"] == delta_metadata(heads)["base_sha256"]
    decoder = [name for name in first if name.startswith("detr_decoder.")]
    assert all(torch.equal(first[name], second[name]) for name in decoder)
    masks = [name for name in first if name.startswith("mask_decoder.")]
    assert any(not torch.equal(first[name], second[name]) for name in masks)


def test_a_delta_that_was_cut_is_refused(data: Path, tmp_path: Path) -> None:
    training = decoder_training(data, "mask", judged=True)
    assert training.export is not None
    training.export.export(training.task.network, tmp_path)
    path = tmp_path / DELTA_FILE
    tensors, metadata = delta_tensors(path), delta_metadata(path)
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, path, metadata)
    with pytest.raises(SegmenterError, match="27 of 28 tensors"):
        load_weights(f"{data / 'start'}{os.pathsep}{tmp_path}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tier": "all"}, "must be mask, heads, deep, full"),
        ({"start": ""}, "name them with --weights"),
        ({"rehearsal": "/nowhere"}, "chips.json does not exist"),
        ({"prompts": "1"}, "0 or at least 2"),
        ({"views": "0"}, "at least 1"),
    ],
)
def test_wrong_settings_say_what_to_do(data: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        decoder_training(data, overrides.pop("tier", "heads"), **overrides)


def test_damaged_chips_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--from ADDRESS"):
        build_training("sam3-decoder", RecipeRequest(None, 0, "cpu"))
    write_labelled_chips(tmp_path, (1,))
    content = json.loads((tmp_path / "chips.json").read_text())
    with pytest.raises(TrainingError, match="1 chips are too few"):
        decoder_training(tmp_path)
    content["chips"][0]["labels"]["lawn"]["objects"] = [[5, 5]]
    (tmp_path / "chips.json").write_text(json.dumps(content))
    [chip] = read_chips(tmp_path)
    with pytest.raises(TrainingError, match="10 pixels on a chip of 128 x 128"):
        chip.read()
    (tmp_path / "images" / "1.tif").write_bytes(b"no image")
    with pytest.raises(TrainingError, match="cannot be read"):
        chip.read()
    for damage in ("{", '{"format": 9, "chips": []}', '{"format": 1, "chips": [{}]}'):
        (tmp_path / "chips.json").write_text(damage)
        with pytest.raises(TrainingError, match="export the corrections again"):
            read_chips(tmp_path)
