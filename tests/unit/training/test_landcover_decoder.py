"""landcover's decoder on corrections: frozen encoder, kept views, exact resume, proven weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tracedwindows import write_traced_windows

from detection.errors import CheckpointError, TrainingError
from detection.segmenters import build_segmenter
from detection.segmenters.landcover.network import LandcoverNet
from detection.segmenters.landcover.weights import LandcoverConfig, load_landcover, save_landcover
from detection.training.landcover import fixed_views as fixed
from detection.training.landcover.pack import write_pack
from detection.training.landcover.traced_images import read_traced_images, split_judged
from detection.training.loop import train
from detection.training.proof import read_proof
from detection.training.recipes import RecipeRequest, Training, build_training
from detection.training.run_record import read_metrics

NAMES = ("a_2020_1", "a_2020_2", "b_2020_3", "b_2020_4", "c_2020_5")
SMALL = {
    "rehearsal_share": "0", "judged_one_in": "0", "held_out": "c_2020", "views_per_part": "2",
    "side_px": "64", "gsd_m": "0.6", "batch": "4",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Painted windows, and weights of a network with a narrow decoder to start from."""
    folder = tmp_path_factory.mktemp("data")
    write_traced_windows(folder, NAMES)
    torch.manual_seed(5)
    (folder / "start").mkdir()
    network = LandcoverNet((16, 12, 8, 8)).eval()
    config = LandcoverConfig(0.6, decoder_channels=network.decoder_channels)
    save_landcover(network, config, folder / "start")
    return folder


def decoder_training(data: Path, seed: int = 1, **overrides: str) -> Training:
    settings = SMALL | {"start": str(data / "start")} | overrides
    return build_training("landcover-decoder", RecipeRequest(data, seed, "cpu", settings))


def test_only_the_decoder_learns_and_the_weights_are_loaded_by_a_path(
    data: Path, tmp_path: Path
) -> None:
    training = decoder_training(data)
    assert isinstance(training.resolved["start_score"], float)
    settings = dataclasses.replace(
        training.settings, steps=30, checkpoint_every=30, learning_rate=2e-2, ema_decay=0.5
    )
    state = train(training.task, settings, tmp_path / "run", export=training.export)
    assert state.best is not None
    proof = read_proof(state.best)
    assert proof is not None
    assert proof.proven, proof.reason
    losses = [row["loss"] for row in read_metrics(tmp_path / "run")]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    before = load_landcover(data / "start").network.state_dict()
    after = load_landcover(state.best / "weights").network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not {name for name in changed if name.startswith("encoder.")}
    assert not {name for name in changed if "running_" in name}
    assert {"head.weight", "context.here.weight"} <= changed
    segmenter = build_segmenter("landcover", str(tmp_path / "run" / "weights"))
    assert segmenter.weights_sha256 == proof.weights_sha256


def test_features_of_the_kept_views_are_those_of_the_encoder(data: Path) -> None:
    training = decoder_training(data)
    network = training.task.network
    assert isinstance(network, LandcoverNet)
    image = read_traced_images(data)[0]
    drawn = fixed.FixedViewSettings(2, 1, fixed.LabelledViewSettings(64, 0.6, 1.35, 0.25))
    [centre] = fixed._part_centres(image)
    cut = fixed._cut(image, centre, drawn, 0, torch.device("cpu"))
    with torch.inference_mode():
        logits = network.eval()(cut.pixels)
    views = fixed.fixed_views([image], network.encoder, "-", drawn, data, 1.0, lambda _: None)
    features, labelled = views.batch(np.array([0, 1]), torch.device("cpu"))
    with torch.inference_mode():
        kept = network.decode(features)
    assert torch.allclose(kept, logits, atol=0.02 * float(logits.abs().max()))
    assert torch.equal(labelled.codes, cut.codes)
    assert {-1, 0, 1, 2, 3} <= set(labelled.codes.unique().tolist())


def test_views_are_computed_once(data: Path) -> None:
    first = decoder_training(data, seed=7)
    messages: list[str] = []
    request = RecipeRequest(
        data, 7, "cpu", SMALL | {"start": str(data / "start")}, on_message=messages.append
    )
    again = build_training("landcover-decoder", request)
    assert [text for text in messages if "score" not in text] == []
    assert any("to start from have the score" in text for text in messages)
    assert again.task.data_sha256 == first.task.data_sha256
    other = build_training("landcover-decoder", dataclasses.replace(request, seed=8))
    [computed] = [text for text in messages if "features" in text]
    assert "8 views" in computed
    assert other.task.data_sha256 != first.task.data_sha256


def test_a_resumed_run_has_the_same_losses(data: Path, tmp_path: Path) -> None:
    def run(folder: str, steps_of_process: list[int]) -> list[float]:
        for limit in steps_of_process:
            training = decoder_training(data)
            settings = dataclasses.replace(
                training.settings, steps=8, checkpoint_every=100, read_every=1
            )
            seen: list[int] = []
            times = {"limit": limit}

            def clock(seen: list[int] = seen, times: dict[str, int] = times) -> float:
                return 1.0 if len(seen) >= times["limit"] else 0.0

            settings = dataclasses.replace(settings, time_limit_s=1.0)
            train(
                training.task, settings, tmp_path / folder, resume=True, clock=clock,
                on_step=lambda metrics, seen=seen: seen.append(metrics.step),
            )  # fmt: skip
        return [row["loss"] for row in read_metrics(tmp_path / folder)]

    whole, parts = run("whole", [100]), run("parts", [3, 100])
    assert len(whole) == 8
    assert parts == pytest.approx(whole, abs=1e-6)


def test_a_resume_from_other_weights_is_refused(data: Path, tmp_path: Path) -> None:
    training = decoder_training(data)
    settings = dataclasses.replace(training.settings, steps=1)
    train(training.task, settings, tmp_path / "run")
    torch.manual_seed(6)
    (tmp_path / "other").mkdir()
    other = LandcoverNet((16, 12, 8, 8)).eval()
    config = LandcoverConfig(0.6, decoder_channels=other.decoder_channels)
    save_landcover(other, config, tmp_path / "other")
    changed = decoder_training(data, start=str(tmp_path / "other"), cache=str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="trained on other data"):
        train(changed.task, settings, tmp_path / "run", resume=True)


def test_rehearsal_has_the_first_windows_but_none_to_judge_by(data: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    write_traced_windows(first, ["a_2020_1", "c_2020_5", "d_2020_1", "riverside_2020_1"])
    (first / "naip_train").mkdir()
    (first / "imagery").rename(first / "naip_train" / "naip")
    for name in ("traced", "imagery"):
        (tmp_path / name).symlink_to(data / name)
    write_pack(first, tmp_path / "pack.npz")
    overrides = {
        "start": str(data / "start"), "rehearsal_share": "0.5", "judged_one_in": "2", "batch": "6",
    }  # fmt: skip
    request = RecipeRequest(tmp_path, 1, "cpu", SMALL | overrides)
    task = build_training("landcover-decoder", request).task
    names = [task.batch_name(step).split(", ") for step in range(20)]
    _, judged = split_judged(read_traced_images(data), 2, ("c_2020",))
    apart = {image.name for image in judged}
    assert "c_2020_5" in apart
    trained = {name for each in names for name in each}
    assert trained.isdisjoint(apart | {"riverside_2020_1"})
    assert {"a_2020_1", "d_2020_1"} - apart <= {name for each in names for name in each[3:]}


def test_landcover_trains_on_from_weights_with_fixed_norms(data: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    write_traced_windows(first, ["a_2020_1", "c_2020_5"])
    (first / "naip_train").mkdir()
    (first / "imagery").rename(first / "naip_train" / "naip")
    write_pack(first, tmp_path / "pack.npz")
    settings = {
        "start": str(data / "start"), "fixed_norms": "true", "held_out": "c_2020", "side_px": "64",
        "gsd_m": "0.6", "traced_views": "2", "other_views": "1",
    }  # fmt: skip
    request = RecipeRequest(tmp_path, 1, "cpu", settings, judged=False)
    training = build_training("landcover", request)
    before = load_landcover(data / "start").network.state_dict()
    assert all(
        torch.equal(each, before[n]) for n, each in training.task.network.state_dict().items()
    )
    train(
        training.task, dataclasses.replace(training.settings, steps=2, learning_rate=1e-2),
        tmp_path / "run",
    )  # fmt: skip
    after = training.task.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"encoder.stem.weight", "head.weight"} <= changed
    assert not {name for name in changed if "running_" in name}
    other = RecipeRequest(tmp_path, 1, "cpu", settings | {"start": "shipped"}, judged=False)
    assert build_training("landcover", other).task.data_sha256 != training.task.data_sha256


def test_views_that_are_too_large_say_what_to_set(data: Path) -> None:
    with pytest.raises(TrainingError, match=r"8 views of 64 px take .* Set views_per_part=1 "):
        decoder_training(data, seed=20, cache_gib="0.0002")
    assert not [each for each in data.iterdir() if each.name.startswith(".draft-")]


def test_imagery_without_infrared_of_another_pixel_size(tmp_path: Path) -> None:
    write_traced_windows(tmp_path, NAMES[:1], gsd_m=0.3, bands=3, side=200, window=(4, 4, 196, 196))
    [image] = read_traced_images(tmp_path)
    assert image.gsd_m == pytest.approx(0.3, rel=1e-3)
    assert not image.has_infrared
    assert not image.pixels[3].any()
    drawn = fixed.FixedViewSettings(2, 1, fixed.LabelledViewSettings(64, 0.6, 1.35, 1.0))
    network = LandcoverNet((8, 8, 8, 8)).eval()
    views = fixed.fixed_views([image], network.encoder, "-", drawn, tmp_path, 1.0, lambda _: None)
    _, labelled = views.batch(np.array([0, 1]), torch.device("cpu"))
    assert labelled.ndvi.isnan().all()
    cut = fixed._cut(image, fixed._part_centres(image)[0], drawn, 0, torch.device("cpu"))
    assert not cut.pixels[:, 3].any()


def test_the_test_city_is_never_trained_on(tmp_path: Path) -> None:
    write_traced_windows(tmp_path, ["riverside_2020_9", "a_2020_1"])
    assert [image.name for image in read_traced_images(tmp_path)] == ["a_2020_1"]
    (tmp_path / "only").mkdir()
    write_traced_windows(tmp_path / "only", ["riverside_2020_9"])
    with pytest.raises(TrainingError, match="which no training uses"):
        read_traced_images(tmp_path / "only")


def test_images_are_judged_by_their_name(data: Path) -> None:
    images = read_traced_images(data)
    trained, judged = split_judged(images, 2, ("c_",))
    names = {image.name for image in judged}
    assert "c_2020_5" in names
    assert 1 < len(names) < len(NAMES)
    assert names.isdisjoint(image.name for image in trained)
    fewer, _ = split_judged(images[1:], 2, ("c_",))
    assert {image.name for image in fewer} <= {image.name for image in trained}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rehearsal_share": "0.5"}, r"pack.npz does not exist.*rehearsal_share=0"),
        ({"rehearsal_share": "1"}, "from 0 to less than 1"),
        ({"side_px": "65"}, "multiple of 32"),
        ({"held_out": "z"}, "Set held_out"),
        ({"held_out": "a,b,c"}, "fewer may be held out"),
    ],
)
def test_wrong_settings_say_what_to_do(data: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        decoder_training(data, **overrides)
    with pytest.raises(TrainingError, match="give --data"):
        build_training("landcover-decoder", RecipeRequest(None, 0, "cpu"))
