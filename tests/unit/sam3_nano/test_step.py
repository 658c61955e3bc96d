"""A step of sam3-nano: the masks of the matched queries, and nothing that waits for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sam3_nano_tiles import class_map, painted_tiles
from torch.utils._python_dispatch import TorchDispatchMode

from detection.segmenters.sam3.forward import (
    decode_queries,
    encode_image,
    feature_pyramid,
    fuse_prompt,
    predict_masks,
)
from detection.segmenters.sam3.prompts import TextTokens, prompt_tokens
from detection.training.profiling import profile_steps
from detection.training.recipes import Training
from detection.training.sam3.mask_heads import embed_pixels, object_masks, semantic_map
from detection.training.sam3.matcher import MatchedObjects
from detection.training.sam3.network import NanoSize, nano_network
from detection.training.sam3.task import NanoSettings, NanoTask
from detection.training.sam3.tiles import Tiles
from detection.training.settings import TrainingSettings

PROMPTS = 3


class ReadsBack(TorchDispatchMode):
    """Counts operators, and reads of a tensor's value on the host, which wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.operators = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.operators += 1
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_masks_of_matched_queries_are_those_of_the_whole_model(size: NanoSize) -> None:
    model = nano_network(3, size)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        pixels = torch.rand(2, 3, size.chip_px, size.chip_px) * 2 - 1
        width = model.detr_decoder.query_embed.weight.shape[1]
        valid = torch.ones(PROMPTS, 6, dtype=torch.bool)
        valid[1, 4:] = False
        text = TextTokens(torch.randn(PROMPTS, 6, int(width)), valid)
        features = feature_pyramid(model, encode_image(model, pixels))
        prompt, attend = prompt_tokens(model, text, features.levels[-1], features.position)
        rows = features.repeat_rows(PROMPTS)
        memory = fuse_prompt(model, rows, prompt, attend)
        queries = decode_queries(model, memory, features.position, prompt, attend).queries[-1]
        masks, semantic = predict_masks(model, rows, queries, memory, prompt, attend)
        embedded = embed_pixels(model, features, memory, prompt, attend)
        matched = MatchedObjects(
            torch.tensor([[[2, 5, 0], [7, 0, 0]]]), torch.tensor([0, 0, 1]),
            torch.tensor([0, 1, 0]), 2,
        )  # fmt: skip
        of_rows = torch.tensor([1, 4])
        found = object_masks(model, embedded[of_rows], queries[of_rows], matched)
        none = MatchedObjects(matched.queries, *(torch.zeros(0, dtype=torch.long),) * 2, 0)
        assert object_masks(model, embedded[of_rows], queries[of_rows], none).shape[0] == 0
    wanted = torch.stack([masks[1, 2], masks[1, 5], masks[4, 7]])
    assert float(wanted.std()) > 0.1
    assert torch.allclose(found, wanted, atol=1e-3)
    assert torch.allclose(semantic_map(model, embedded), semantic, atol=1e-4)


def test_a_step_reads_nothing_back(tiles: Tiles, size: NanoSize) -> None:
    synthetic = painted_tiles(class_map(9)[None], 0.3)
    settings = NanoSettings(batch=4, synthetic_share=0.5)
    task = NanoTask(nano_network(0, size), tiles, synthetic, settings, 0, size)
    with ReadsBack() as reads:
        total = torch.stack(list(task.loss(1).values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
    assert reads.count == 0
    with ReadsBack() as reads:
        float(total.detach())
    assert reads.count == 1  # it does count


def test_examples_of_a_batch_are_encoded_at_once(tiles: Tiles, size: NanoSize) -> None:
    task = NanoTask(nano_network(0, size), tiles, None, NanoSettings(batch=16), 0, size)
    operators = []
    for step in (1, 8):  # each eighth step shows examples
        with ReadsBack() as counted:
            torch.stack(list(task.loss(step).values())).sum().backward()  # type: ignore[no-untyped-call]
        operators.append(counted.operators)
    plain, with_examples = operators
    assert plain + 50 < with_examples < 1.1 * plain


def test_a_profile_names_the_parts_of_a_step(tiles: Tiles, size: NanoSize) -> None:
    task = NanoTask(nano_network(0, size), tiles, None, NanoSettings(batch=2), 0, size)
    ticks = iter(range(1000))
    text = profile_steps(
        Training(task, TrainingSettings(), None), TrainingSettings(), 2, lambda: float(next(ticks))
    )
    lines = text.splitlines()
    assert lines[0].startswith("sam3-nano on CPU, float32, 1 host threads")
    assert "over 2 steps" in lines[1]
    assert "forward 1.0000 s, backward 1.0000 s, update 1.0000 s" in lines[2]
    for name in (
        "views and colours", "image encoder", "fusion", "decoder", "pixel embedding",
        "matching: assignment on the host", "masks of objects", "losses",
    ):  # fmt: skip
        [line] = [line for line in lines if line.startswith(name + " ")]
        assert float(line.split()[-2]) > 0
    assert "aten::" in text  # which of them are slowest differs from run to run
