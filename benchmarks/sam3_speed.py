"""Chips per second of SAM3 at full size on one GPU, and the accuracy cost of each step.

    python -m benchmarks.sam3_speed

It needs a CUDA GPU. The weights are random, since speed does not depend on them.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import Sam3Config, Sam3Model
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3ImageSegmentationOutput

from benchmarks.replayed import Replayed
from benchmarks.results import Result, save
from benchmarks.sam3_segment import FOUND, Way, short_of_memory, timed
from detection.segmenters.sam3.fast import FastEncoder, FastHeads, HeadsOutput

SIZE_PX = 1008
BATCH = 32
COMPARED = 2  # chips whose outputs are compared
WORDS = 32
REPLAYED = ((1, BATCH), (1, 2 * BATCH), (4, BATCH // 2))  # prompts, chips a call
SEGMENTED = (("bf16", 1, 16), ("bf16", 1, 32), ("bf16", 4, 16), ("fp8", 1, 16), ("fp8", 4, 16))
FAMILIES = {
    "products": ("nvjet", "gemm", "cutlass::Kernel2"),
    "attention": ("_attention", "fmha", "sdpa"),
    "convolutions": ("fprop",),
    "norms, with sum and fp8": ("norm",),
    "GELU to fp8": ("_gelu_quantise",),
    "rotary angles": ("_apply_rope",),
}

# ruff: noqa: E501
STEPS = """Optimization steps, expected and measured (ms per chip in batches of 8 to 32, on several H200s
that differ by a few per cent, all at their power limit; a step with … builds on the one above it).

| step | expected | outcome |
| --- | --- | --- |
| image encoder, default compilation: the starting point | | 13.3 |
| tokens in window order, q, k, v packed, patches as a product, cuDNN attention, compiled | 10.5 | 12.0: GELU takes 1.3, since `erf` is limited by arithmetic |
| … max-autotune | | 12.1: the library's products are faster than generated ones |
| … GELU inside the product's last step (tanh form, as Meta's own code) | 11.3 | 11.0 |
| … rotary angles in place in one kernel | | 11.0 |
| … attention as a plain Triton kernel, 64 x 64 tiles, instead of cuDNN | 10.7 | 10.8 |
| fp8 products, quantised by compiled code | 8.0 | 11.3: its GELU pass takes 3.8 |
| … GELU and quantisation in one kernel | 8.4 | 9.0 |
| … tanh as one instruction, the attention kernel | 8.2 | 8.4 |
| … attention writes fp8 for the next product; sum, norm and quantisation in one kernel | 8.0 | 8.1 |
| heads with prompt attention folded into two products, compiled | 1.6 | 2.3: float32 products and box bias 0.5, group norm 0.2 |
| … box bias, group sums and prompt softmax as kernels, attention kernel, TF32 decoder | 1.4 | 1.6 |
| … group sums and box bias rewritten: limited by reductions and three-part TF32 | 1.4 | 1.4 |
| … only the best 64 queries' masks | -0.02 | no change |
| encoder and heads on two streams | -0.1 | -0.1, rejected: twice the memory |
| attention: rescale only when the maximum grows by 2^8 | -0.25 | +0.4, rejected |
| attention in windows: tensor-map loads; exponentials of two bf16 at once | less | +0.04; +0.1, rejected |
| attention: tiles of 32 to 128, 2 to 8 warps, 2 to 4 stages, in global, window and DETR layers | -0.2 | none is faster than 64 x 64, 4 warps, 3 stages: 477 and 375 TFLOP/s in the ViT's two kinds of layers (cuDNN 426 and 305) |
| 64 chips per call instead of 32 | -0.1 | -0.04 in bf16, -0.07 in fp8 |
| up product with GELU in one Triton kernel: fp8; bf16 | -0.3; -0.2 | -0.1, and needs a calibrated scale; +0.2, rejected |
| the ViT's attention with fp8 products; queries and keys rotated, cast and values laid out by channel in one kernel | -0.6 | -0.5 |
| … the bits of its fp8 weights from the scores, without exponentials | -0.3 | -0.2, same errors |
| … these weights' sum in float32 outside the matrix unit | 0 | no change; with 5,184 random tokens its error is 6.7 % instead of 10.7 % |"""


@dataclass(frozen=True)
class Timed:
    """One way, measured."""

    way: str
    precision: str
    prompts: int
    batch: int
    ms: float
    error: str = ""

    def row(self) -> list[str]:
        """As the table shows it."""
        per_chip = self.ms / self.batch
        return [
            self.way,
            self.precision,
            str(self.prompts),
            str(self.batch),
            f"{per_chip:.2f}",
            f"{1000 / per_chip:.1f}",
            *(self.error.split("|") if self.error else [""] * 4),
        ]


def run() -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks.sam3_speed needs a CUDA GPU")
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = Sam3Model(Sam3Config()).eval()
    chips = _chips(2 * BATCH)
    text = torch.randn(4, WORDS, 256, device="cuda")
    lengths = torch.tensor([3, 4, 5, 3], device="cuda")
    valid = torch.arange(WORDS, device="cuda") < lengths[:, None]

    limits = _limits()
    flops = _flops(model, chips, text, valid)
    rows = _plain(model, chips, text, valid)
    references = {prompts: _reference(model, chips, text, valid, prompts) for prompts in (1, 4)}
    notes = []
    for precision in ("bf16", "fp8"):
        rows += _fast(model, precision, chips, text, valid, references, notes)
    rows.insert(0, _roof(flops, limits))

    torch.compiler.reset()
    _spread(model)
    ways = [timed(model, precision, prompts, batch) for precision, prompts, batch in SEGMENTED]
    rows += [_segmented(way) for way in ways]
    notes += _of_ways(ways)
    notes.append(
        "With memory limited by `set_per_process_memory_fraction`: "
        + "; ".join(short_of_memory(model))
        + "."
    )
    wide = _reference(model, chips, text, valid, 1)
    for precision in ("bf16", "fp8"):
        encoder, heads = FastEncoder(model, precision), FastHeads(model, precision)
        found = heads(encoder.pyramid(chips[:COMPARED]), text[:1], valid[:1])
        mask, overlap, box, score = _error(found, wide).split("|")
        notes.append(
            f"{precision} with weights that preserve each layer's variance, so that boxes and masks "
            f"spread over the chip and errors accumulate: masks {mask}, IoU {overlap}, "
            f"boxes {box} px, scores {score}."
        )
    save(
        Result(
            name="sam3_speed",
            order=70,
            title="SAM3 at full size on one GPU",
            command="python -m benchmarks.sam3_speed",
            columns=[
                "setup",
                "precision",
                "prompts",
                "chips per call",
                "ms per chip",
                "chips/s",
                "masks",
                "IoU at 0, mean (min)",
                "boxes px, mean (max)",
                "score, max",
            ],
            rows=[row.row() for row in rows],
            notes=[*_meaning(flops, limits), *notes, STEPS],
            machine=_machine(),
        )
    )


def _machine() -> str:
    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def _chips(count: int) -> Tensor:
    """Smooth random images with grain, in -1…1: (count, 3, size, size)."""
    coarse = torch.rand(count, 3, 24, 24, device="cuda")
    smooth = functional.interpolate(coarse, size=(SIZE_PX, SIZE_PX), mode="bicubic")
    return (2 * smooth - 1 + 0.1 * torch.randn_like(smooth)).clamp(-1, 1)


def _spread(model: nn.Module) -> None:
    """Weights of 1 / sqrt(inputs) instead of 0.02."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


def _time_ms(function: Callable[[], object], repeats: int = 20) -> float:
    """The median of `repeats` calls, on the GPU's clock."""
    for _ in range(3):
        function()
    spans = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        spans.append((begin, end))
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in spans)


def _limits() -> dict[str, float]:
    """What the GPU does at most: products in TFLOP/s, a copy in TB/s; on random data."""
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    one = torch.ones((), device="cuda")
    a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()

    def product8() -> Tensor:
        kind = torch.bfloat16
        return torch._scaled_mm(a8, b8, one, one, out_dtype=kind, use_fast_accum=True)

    big = torch.empty(2**31, device="cuda", dtype=torch.uint8)
    other = torch.empty_like(big)
    work = 2 * n**3 / 1e9
    return {
        "bf16": work / _time_ms(lambda: a @ b, 300),
        "fp8": work / _time_ms(product8, 300),
        "copy": 2 * big.numel() / 1e9 / _time_ms(lambda: other.copy_(big), 50),
    }


def _flops(model: nn.Module, chips: Tensor, text: Tensor, valid: Tensor) -> dict[str, float]:
    """TFLOP of transformers' forward for one chip: image encoder, and all after it a prompt."""
    with torch.inference_mode():
        with FlopCounterMode(display=False) as encoder:
            vision = model.vision_encoder(chips[:1])
        with FlopCounterMode(display=False) as heads:
            _forward(model, text[:1], valid[:1], vision_embeds=vision)
    return {
        "encoder": encoder.get_total_flops() / 1e12,
        "heads": heads.get_total_flops() / 1e12,
    }


def _forward(
    model: nn.Module, text: Tensor, valid: Tensor, **image: object
) -> Sam3ImageSegmentationOutput:
    """Transformers' own forward; the text is encoded already."""
    embedded = BaseModelOutputWithPooling(pooler_output=text)
    return model(text_embeds=embedded, attention_mask=valid.long(), **image)


def _roof(flops: dict[str, float], limits: dict[str, float]) -> Timed:
    ms = 1000 * (flops["encoder"] + flops["heads"]) / limits["bf16"]
    return Timed("bound: its FLOP at the rate of a large matrix product", "bf16", 1, 1, ms)


def _plain(model: nn.Module, chips: Tensor, text: Tensor, valid: Tensor) -> list[Timed]:
    """Transformers' own forward, image by image; for more prompts it is called for each."""
    rows = []

    def forward(batch: int, words: Tensor, real: Tensor) -> HeadsOutput:
        words, real = words.expand(batch, -1, -1), real.expand(batch, -1)
        return _found(_forward(model, words, real, pixel_values=chips[:batch]))

    def each(batch: int, prompts: int) -> None:
        for number in range(prompts):
            forward(batch, text[number : number + 1], valid[number : number + 1])

    with torch.inference_mode():
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            reference = forward(COMPARED, text[:1], valid[:1])
        for prompts in (1, 4):
            ms = _time_ms(lambda prompts=prompts: each(1, prompts), 6)
            rows.append(Timed("transformers, one image per call", "float32", prompts, 1, ms))
        with torch.autocast("cuda", torch.bfloat16):
            error = _error(forward(COMPARED, text[:1], valid[:1]), reference)
            for prompts in (1, 4):
                ms = _time_ms(lambda prompts=prompts: each(1, prompts), 10)
                way = "transformers, one image per call"
                rows.append(Timed(way, "bf16 autocast", prompts, 1, ms, error))
            batch = 8
            ms = _time_ms(lambda: each(batch, 1), 8)
            rows.append(Timed("transformers, in batches", "bf16 autocast", 1, batch, ms, error))
    return rows


def _found(output: Sam3ImageSegmentationOutput) -> HeadsOutput:
    return HeadsOutput(
        output.pred_masks,
        output.pred_boxes,
        output.pred_logits,
        output.presence_logits,
        output.semantic_seg,
    )


def _reference(
    model: nn.Module, chips: Tensor, text: Tensor, valid: Tensor, prompts: int
) -> HeadsOutput:
    """float32 throughout, no TF32: transformers' encoder, and heads that equal its own.

    The heads are ours because transformers leaves out a token that Meta's model has.
    """
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        maps = model.vision_encoder(chips[:COMPARED]).fpn_hidden_states
        return FastHeads(model, "float32")(maps, text[:prompts], valid[:prompts])


def _error(found: HeadsOutput, reference: HeadsOutput) -> str:
    """Masks' relative error, their IoU at logit 0, boxes in px, scores, with bars between."""
    n = len(reference.boxes)
    masks, true = found.masks[:n].float(), reference.masks.float()
    relative = float((masks - true).norm() / true.norm())
    ours, theirs = masks > 0, true > 0
    union = (ours | theirs).flatten(2).sum(-1)
    overlap = ((ours & theirs).flatten(2).sum(-1) / union.clamp(min=1))[union > 50]
    boxes = (found.boxes[:n].float() - reference.boxes.float()).abs() * SIZE_PX
    score = (_score(found)[:n] - _score(reference)).abs().max()
    return (
        f"{relative:.1%}|{float(overlap.mean()):.3f} ({float(overlap.min()):.3f})|"
        f"{float(boxes.mean()):.2f} ({float(boxes.max()):.2f})|{float(score):.0e}"
    )


def _score(found: HeadsOutput) -> Tensor:
    return found.logits.float().sigmoid() * found.presence.float().sigmoid()


def _fast(
    model: nn.Module,
    precision: str,
    chips: Tensor,
    text: Tensor,
    valid: Tensor,
    references: dict[int, HeadsOutput],
    notes: list[str],
) -> list[Timed]:
    """Ours: eager, compiled and replayed; the last with its profile as a note."""
    rows = []
    if precision == "bf16":
        encoder, heads = FastEncoder(model, precision), FastHeads(model, precision)
        batch = 8

        def eager() -> HeadsOutput:
            return heads(encoder.pyramid(chips[:batch]), text[:1], valid[:1])

        error = _error(eager(), references[1])
        rows.append(Timed("ours, not compiled", precision, 1, batch, _time_ms(eager), error))
    torch._dynamo.reset()
    encoder = FastEncoder(model, precision, compiled=True)
    heads = FastHeads(model, precision, compiled=True)
    alone = Replayed(encoder.pyramid, chips[:BATCH])
    way = "ours: image encoder only"
    rows.append(Timed(way, precision, 0, BATCH, _time_ms(alone.graph.replay)))
    del alone
    for prompts, batch in REPLAYED:

        def whole(x: Tensor, prompts: int = prompts) -> HeadsOutput:
            return heads(encoder.pyramid(x), text[:prompts], valid[:prompts])

        if batch == BATCH:
            called = _time_ms(lambda whole=whole: whole(chips[:BATCH]))
            rows.append(Timed("ours, compiled", precision, prompts, batch, called))
        replayed = Replayed(whole, chips[:batch])
        error = _error(replayed(chips[:batch]), references[prompts])
        ms = _time_ms(replayed.graph.replay)
        rows.append(Timed("ours, compiled, CUDA graph", precision, prompts, batch, ms, error))
        if batch == BATCH:
            shares = _shares(replayed.graph.replay, batch)
            notes.append(f"Time per chip with {precision} and one prompt, ms: {shares}.")
        del replayed
    return rows


def _segmented(way: Way) -> Timed:
    said = "ours: `Sam3.segment`, 8-bit chips to masks"
    return Timed(said, way.precision, way.prompts, way.batch, way.ms_a_chip * way.batch)


def _of_ways(ways: list[Way]) -> list[str]:
    parts = [
        f"{way.precision}, {way.prompts} prompt{'s' if way.prompts > 1 else ''}, {way.batch} chips: compiled in "
        f"{way.prepared_s:.0f} s, {way.masks:.0f} masks per chip, peak {way.memory_gib:.1f} GiB"
        for way in ways
    ]
    return [
        "`Sam3.segment` in wall-clock time, one batch of chips per call; of 200 queries per "
        f"prompt, {FOUND} are above the score threshold. {'; '.join(parts)}."
    ]


def _shares(function: Callable[[], object], batch: int) -> str:
    """GPU time by kind of kernel, ms a chip."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        function()
        torch.cuda.synchronize()
    spent: dict[str, float] = dict.fromkeys([*FAMILIES, "other"], 0.0)
    for event in profile.key_averages():
        spent[_family(event.key)] += event.self_device_time_total / 1000 / batch
    return ", ".join(f"{name} {ms:.2f}" for name, ms in spent.items())


def _family(kernel: str) -> str:
    # A convolution's kernel is also called gemm, and a quantising GELU's is not a norm.
    for name in ("convolutions", "GELU to fp8", "attention", "rotary angles", "products"):
        if any(part in kernel for part in FAMILIES[name]):
            return name
    norms = "norms, with sum and fp8"
    return norms if any(part in kernel for part in FAMILIES[norms]) else "other"


def _meaning(flops: dict[str, float], limits: dict[str, float]) -> Sequence[str]:
    return [
        f"The full architecture (840 M parameters) with random weights, chips of {SIZE_PX} px. "
        f"transformers' forward is {flops['encoder']:.2f} TFLOP for the image encoder and "
        f"{flops['heads']:.2f} per prompt. This GPU multiplied 8192² matrices at "
        f"{limits['bf16']:,.0f} TFLOP/s in bf16 and {limits['fp8']:,.0f} in fp8 and copied "
        f"{limits['copy']:.1f} TB/s. Text encoding is excluded in every row. `ours` runs the image "
        "encoder once per chip; transformers' own forward runs once per prompt.",
        "Errors are against float32 on the same weights and chips: relative error of the mask "
        "logits of all 200 queries, IoU of the masks at logit 0, box corners in px of the chip, "
        "score = sigmoid(logit) sigmoid(presence). Random weights show the rounding error, not "
        "its cost in accuracy.",
        "In float32: the DETR decoder's residual stream, norms, boxes and scores; its products "
        "take TF32 inputs. In bf16: everything else of the heads, and with fp8 the neck "
        "and the residual stream. In fp8 (e4m3): the ViT's four products per layer and those of its "
        "attention, scaled by row, or by a bound from the weights.",
    ]


if __name__ == "__main__":
    run()
