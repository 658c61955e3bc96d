"""Landcover's weights as detection loads them, judged on traced images that are not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from detection.errors import TrainingError
from detection.segmenters.interface import Segmenter
from detection.segmenters.landcover.network import LandcoverNet
from detection.segmenters.landcover.segmenter import Landcover
from detection.segmenters.landcover.weights import (
    LandcoverConfig,
    LandcoverWeights,
    load_landcover,
    save_landcover,
)
from detection.training.landcover.judge import fit_temperature, judge_windows, probe_of
from detection.training.landcover.traced_images import TracedImage
from detection.training.task import Judgement, Probe


class LandcoverExport:
    """How a `LandcoverNet` becomes weights.

    Args:
        judged: images that are not trained on.
        gsd_m: of the network's input.

    Raises:
        TrainingError: nothing to judge by.
    """

    def __init__(self, judged: Sequence[TracedImage], gsd_m: float, device: torch.device) -> None:
        if not judged:
            raise TrainingError(
                "no traced image is held out: checkpoints cannot be judged. Set held_out to the "
                "beginnings of the names of some"
            )
        self._judged, self._gsd_m, self._device = judged, gsd_m, device
        self.probe: Probe = probe_of(judged, gsd_m)

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the weights, with the temperature that fits the held-out images."""
        save_landcover(_landcover(network), self._config(network), folder)

    def load(self, folder: Path) -> Segmenter:
        """Load the weights as detection does."""
        return Landcover(load_landcover(folder), str(self._device))

    def wrap(self, network: nn.Module) -> Segmenter:
        """The segmenter around the network itself."""
        own = LandcoverWeights(_landcover(network), self._config(network), "")
        return Landcover(own, str(self._device))

    def judge(self, segmenter: Segmenter) -> Judgement:
        """The mean IoU of the labels, less a quarter of the error of their areas."""
        return judge_windows(segmenter, self._judged, self._gsd_m)

    def _config(self, network: nn.Module) -> LandcoverConfig:
        plain = LandcoverConfig(self._gsd_m, decoder_channels=_landcover(network).decoder_channels)
        segmenter = Landcover(LandcoverWeights(_landcover(network), plain, ""), str(self._device))
        temperature = fit_temperature(segmenter, self._judged, self._gsd_m)
        return dataclasses.replace(plain, temperature=temperature)


def _landcover(network: nn.Module) -> LandcoverNet:
    if not isinstance(network, LandcoverNet):
        raise TypeError(f"expected a LandcoverNet, not {type(network).__name__}")
    return network
