"""A small network of sam3-nano's kind learns tiles; its weights answer in detection as it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from sam3_nano_tiles import TruthSegmenter, class_map, painted_tiles
from transformers import Sam3Model

from detection import caveats, segmenters
from detection.errors import TrainingError, WeightsMissing
from detection.labels import LABELS as KNOWN_LABELS
from detection.segmenters.sam3.phrases import HELD_OUT_PHRASES
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.taught import taught_phrases
from detection.segmenters.sam3.weights import load_weights
from detection.training.loop import train
from detection.training.proof import compare_answers
from detection.training.recipes import RecipeRequest, build_training
from detection.training.sam3 import prompts
from detection.training.sam3.export import save_nano
from detection.training.sam3.judge import judge, judged_chips, untaught_alarms
from detection.training.sam3.labels import LABELS, OBJECT_LABELS
from detection.training.sam3.nano_recipe import NanoExport, split_places
from detection.training.sam3.network import NanoSize, nano_network
from detection.training.sam3.task import NanoSettings, NanoTask, example_boxes
from detection.training.sam3.tiles import Tiles
from detection.training.settings import TrainingSettings
from pipeline.export.row_caveats import row_caveats
from pipeline.report.advice import untaught_notes


def small_task(tiles: Tiles, size: NanoSize, seed: int = 0, batch: int = 2) -> NanoTask:
    network = nano_network(seed, size)
    settings = NanoSettings(batch=batch, synthetic_share=0.5)
    return NanoTask(network, tiles, painted_tiles(class_map(9)[None], 0.3), settings, seed, size)


def random_network(size: NanoSize) -> Sam3Model:
    """One whose answers depend on every weight, and are neither empty nor full."""
    network = nano_network(3, size)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        network.detr_decoder.presence_head.layer3.bias.fill_(2)  # type: ignore[union-attr,operator]
    network.train(mode=False)
    return network


def test_a_batch_is_a_function_of_seed_and_step(tiles: Tiles, size: NanoSize) -> None:
    first, again = small_task(tiles, size), small_task(tiles, size)
    for task in (first, again):
        task.network.train(mode=False)
    late = first.loss(7)
    first.loss(3)
    assert {k: float(v.detach()) for k, v in again.loss(7).items()} == pytest.approx(
        {k: float(v.detach()) for k, v in late.items()}
    )
    other = small_task(tiles, size, seed=1).views(7)
    assert not torch.equal(first.views(7).pixels, other.pixels)
    assert not torch.equal(first.views(7).pixels, first.views(8).pixels)
    assert len(first.views(7).pixels) == 2


def test_every_weight_has_a_gradient_but_the_known_unused_ones(
    tiles: Tiles, size: NanoSize
) -> None:
    task = small_task(tiles, size, batch=4)
    sum(task.loss(1).values()).backward()  # type: ignore[union-attr]
    idle = {name for name, weight in task.network.named_parameters() if weight.grad is None}
    # The fourth pyramid level, a projection that SAM3 does not use, and the exemplars' encoder.
    known = ("vision_encoder.neck.fpn_layers.3.", "text_encoder.text_projection.", "geometry_")
    assert {name for name in idle if not name.startswith(known)} == set()


@pytest.mark.long
def test_it_learns_views_by_heart(size: NanoSize) -> None:
    """Four views, always the same: masks, presence and scores become right."""
    settings = NanoSettings(batch=4, augment=False, absent=1)
    tiles = painted_tiles(np.stack([class_map(seed) for seed in (1, 2)]))
    size = replace(size, width=64, vit_width=128, vit_layers=4)
    task = NanoTask(nano_network(0, size), tiles, None, settings, 0, size)
    network = task.network
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, betas=(0.9, 0.98))
    network.train()
    losses = []
    for step in range(300):
        terms = task.loss(0)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 20) * (1 - step / 330)
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < losses[0] / 10
    assert float(terms["presence"].detach()) < 0.1
    assert float(terms["semantic_dice"].detach()) < 30 * 0.02
    assert float(terms["mask_dice"].detach()) < 10 * 0.05


def test_exported_weights_answer_as_the_network_does(
    tmp_path: Path, tiles: Tiles, size: NanoSize
) -> None:
    network = random_network(size)
    judged = judged_chips(tiles, size)
    export = NanoExport(judged, torch.device("cpu"), size)
    export.export(network, tmp_path)
    loaded = export.load(tmp_path)
    different, confidence = compare_answers(export.wrap(network), loaded, export.probe)
    assert different < 0.005
    assert confidence < 0.01
    state = load_weights(str(tmp_path)).model.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    masks = loaded.segment(judged.chips, judged.labels)
    assert any((mask.field > 0).any() for of_chip in masks for mask in of_chip)


def test_a_damaged_export_is_refused(tmp_path: Path, size: NanoSize) -> None:
    save_nano(random_network(size), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(Exception, match="not a complete safetensors file"):
        load_weights(str(tmp_path))


def test_all_untaught_words_are_one_to_the_network(tmp_path: Path, size: NanoSize) -> None:
    """So a word that never occurred in training is like those that did, and not like a label."""
    save_nano(random_network(size), tmp_path)
    model = load_weights(str(tmp_path)).model
    table = model.text_encoder.text_model.embeddings.token_embedding.weight
    book = prompts.PhraseBook.of(["wind turbine", "mowed lawn"], torch.device("cpu"))
    plain_ids, valid = prompts.tokenize(["wind turbine", "mowed lawn"])
    assert torch.equal(table[plain_ids[valid]], table[book.ids[valid]])
    assert torch.equal(plain_ids[1], book.ids[1])
    assert len(book.ids[0, 1:3].unique()) == 1


def test_the_phrases_for_training_and_for_the_test_differ() -> None:
    held_out, taught = set(HELD_OUT_PHRASES), set(prompts.taught_phrases())
    trained = {prompts.untaught_phrase(Random(seed)) for seed in range(3000)}
    assert not held_out & (trained | taught)
    words = {word for phrase in trained | taught for word in phrase.split()}
    assert all(set(phrase.split()) - words for phrase in held_out)
    for label in LABELS:
        assert KNOWN_LABELS[label].prompt in taught


def test_an_untaught_phrase_is_a_caveat_of_the_results(
    tmp_path: Path, size: NanoSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_nano(random_network(size), tmp_path)
    weights = tmp_path / "model.safetensors"
    assert taught_phrases(weights) == frozenset(prompts.taught_phrases())
    monkeypatch.setattr(caveats, "_NANO_WEIGHTS", weights)
    lawn, pool = KNOWN_LABELS["lawn"], KNOWN_LABELS["pool"]
    words = [replace(lawn, prompt="Green  Lawn"), replace(pool, prompt="pool table")]
    said = caveats.result_caveats("sam3-nano-1", words)
    assert any("not taught 'pool table'" in text for text in said), said
    assert not any("lawn" in text for text in said if "not taught" in text)
    assert not any("not taught" in text for text in caveats.result_caveats("sam3-1", words))
    [note] = untaught_notes(["sam3-nano-1", "spectral-2"], {"pool": "pool table", "lawn": "grass"})
    assert note == "sam3-nano-1 was not taught 'pool table': it finds nothing, or guesses."
    row = row_caveats({"segmenter": ["sam3-nano-1"], "label": ["pool"], "prompt": ["cow"]}, [])
    assert row is not None
    assert "the segmenter was not taught this prompt" in str(row[0])
    taught = caveats.result_caveats("sam3-nano-1", [lawn, pool])
    assert not any("not taught" in text for text in taught)


def test_a_file_without_phrases_has_no_caveat(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert taught_phrases(path) is None
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    taught_phrases.cache_clear()
    assert taught_phrases(path) is None


def test_the_judge_knows_a_perfect_segmenter_from_an_empty_one(
    tiles: Tiles, size: NanoSize
) -> None:
    judged = judged_chips(tiles, size)
    perfect = judge(TruthSegmenter(judged), judged)
    empty = judge(TruthSegmenter(judged, blind=True), judged)
    assert perfect.score > 0.95
    assert perfect.figures["roof_f1"] > 0.9
    assert perfect.figures["lawn_area_error"] < 0.01
    assert perfect.figures["untaught_false_alarms"] == 0
    assert empty.score < 0
    assert empty.figures["roof_f1"] == 0
    assert untaught_alarms(TruthSegmenter(judged, guesses=True), judged.chips, ["cow"]) == 1


def test_a_place_is_trained_on_or_judged_by_in_all_years() -> None:
    names = [f"{city}_{year}_{n}" for city in "ab" for year in (2016, 2020) for n in range(60)]
    trained, judged = split_places(names)
    assert 0 < len(judged) < 24
    places = [
        {names[row][0] + names[row].split("_")[2] for row in rows} for rows in (trained, judged)
    ]
    assert not places[0] & places[1]
    more = split_places([*names, "c_2018_1"])
    assert {names[row] for row in judged} <= {[*names, "c_2018_1"][row] for row in more[1]}
    with pytest.raises(TrainingError, match="all of one place"):
        split_places(["a_2016_1", "a_2020_1"])


def test_without_the_teachers_answers_it_says_what_is_missing(tmp_path: Path) -> None:
    for data in (None, tmp_path):
        with pytest.raises(TrainingError, match=r"learns from teacher.npz.*--data"):
            build_training("sam3-nano", RecipeRequest(data, 0, "cpu"))


def test_the_trainer_trains_proves_and_judges_it(
    tmp_path: Path, tiles: Tiles, size: NanoSize
) -> None:
    export = NanoExport(judged_chips(tiles.select([0]), size), torch.device("cpu"), size)
    settings = TrainingSettings(steps=2, checkpoint_every=2, read_every=1)
    state = train(small_task(tiles, size), settings, tmp_path / "run", export=export)
    assert state.ended == "finished"
    assert state.best is not None
    loaded = Sam3(load_weights(str(state.best / "weights")), "sam3-nano", "cpu", chip_px=112)
    assert (loaded.chip_px, loaded.gsd_m) == (112, 0.3)


def test_examples_are_boxes_of_the_views_own_objects(tiles: Tiles, size: NanoSize) -> None:
    views = small_task(tiles, size, batch=12).views(0)
    rows = example_boxes(views, len(LABELS) + 1, size.chip_px * 0.3, Random(0))
    assert len(rows) == 12 * (len(LABELS) + 1)
    shown = [(number, boxes[0]) for number, boxes in enumerate(rows) if boxes]
    assert len(shown) > 6
    for number, box in shown:
        view, plane = divmod(number, len(LABELS) + 1)
        objects = OBJECT_LABELS.index(LABELS[plane])
        true = views.boxes[view, objects, : int(views.counts[view, objects])]
        middle = torch.tensor([box.left + box.right, box.top + box.bottom]) / 2
        nearest = ((true[:, :2] - middle).abs() / true[:, 2:]).amax(1).amin()
        assert float(nearest) < 0.11


def test_the_exemplars_encoder_is_trained(tiles: Tiles, size: NanoSize) -> None:
    task = small_task(tiles, size, batch=6)
    sum(task.loss(8).values()).backward()  # type: ignore[union-attr]
    encoder = task.network.get_submodule("geometry_encoder")
    moved = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert {
        "boxes_direct_project.weight",
        "boxes_pool_project.weight",
        "label_embed.weight",
    } <= moved


def test_without_its_weights_it_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenters, "_SHIPPED", {"sam3-nano": (str(tmp_path), 336)})
    with pytest.raises(WeightsMissing, match="weights of sam3-nano are not in this installation"):
        segmenters.check_segmenter("sam3-nano")
    save_nano(nano_network(0), tmp_path)
    built = segmenters.build_segmenter("sam3-nano")
    assert (built.name, built.chip_px, built.gsd_m) == ("sam3-nano-1", 336, 0.3)
    # With the shipped size: at most 25 MB, in half precision.
    assert (tmp_path / "model.safetensors").stat().st_size < 25e6
    assert segmenters.can_prompt(built.name)
