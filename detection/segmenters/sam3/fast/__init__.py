"""SAM3's forward pass optimized for speed, from the weights of a transformers `Sam3Model`.

encoder      FastEncoder: the image encoder, of `vit` (the ViT) and `neck` (the pyramid)
heads        FastHeads: all after it, of `fusion` (DETR encoder), `decoder` and `masks`
prompts      attention between image tokens and the few prompt tokens
linear       linear layers in float32, bf16 or fp8
ops          operations that are fused on CUDA: `kernels` and `attention8` (Triton)
compilation  torch.compile and TF32
"""

from .encoder import FastEncoder
from .heads import FastHeads, HeadsOutput

__all__ = ["FastEncoder", "FastHeads", "HeadsOutput"]
