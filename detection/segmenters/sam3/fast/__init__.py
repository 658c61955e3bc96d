"""SAM3's forward pass rebuilt for speed, from the weights of a loaded transformers `Sam3Model`."""

from .encoder import FastEncoder
from .heads import FastHeads, HeadsOutput

__all__ = ["FastEncoder", "FastHeads", "HeadsOutput"]
