"""A tiny, seeded, random SAM3, in transformers' layout and in Meta's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from sam3nets import tiny_config
from transformers import Sam3Config, Sam3Model


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def config() -> Sam3Config:
    return tiny_config()


@pytest.fixture(scope="session")
def model(config: Sam3Config) -> Sam3Model:
    """Random weights large enough that every part affects the output."""
    torch.manual_seed(0)
    made = Sam3Model(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made
