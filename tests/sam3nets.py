# ruff: noqa: E501
"""Small SAM3 networks for tests, and a checkpoint of Meta's layout with the same weights."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from transformers import Sam3Config


def tiny_config(
    side_px: int = 112, width: int = 32, depth: int = 2, vit_width: int = 48
) -> Sam3Config:
    """All kinds of layers of the real network; `depth` layers per part, one more in the ViT."""
    heads = 4
    tokens = side_px // 14
    return Sam3Config(
        vision_config={
            "fpn_hidden_size": width,
            "backbone_feature_sizes": [[tokens * 4] * 2, [tokens * 2] * 2, [tokens] * 2],
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": vit_width,
                "intermediate_size": 2 * vit_width,
                "num_hidden_layers": depth + 1,
                "num_attention_heads": heads,
                "image_size": side_px,
                "pretrain_image_size": side_px // 2,
                "window_size": tokens // 2,
                "global_attn_indexes": [depth],
            },
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 49408,
            "hidden_size": 16,
            "intermediate_size": 32,
            "projection_dim": 8,
            "num_hidden_layers": depth,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
        },
        geometry_encoder_config={
            "hidden_size": width,
            "num_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": 2 * width,
        },
        detr_encoder_config={
            "hidden_size": width,
            "num_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": 2 * width,
        },
        detr_decoder_config={
            "hidden_size": width,
            "num_layers": depth,
            "num_queries": 12,
            "num_attention_heads": heads,
            "intermediate_size": 2 * width,
        },
        mask_decoder_config={"hidden_size": width, "num_attention_heads": heads},
    )


_TO_META = (
    (r"vision_encoder\.backbone\.embeddings\.patch_embeddings\.projection", "TRUNK.patch_embed.proj"),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.layer_norm", r"TRUNK.blocks.\1.norm"),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.attention\.o_proj", r"TRUNK.blocks.\1.attn.proj"),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.mlp", r"TRUNK.blocks.\1.mlp"),
    (r"vision_encoder\.backbone\.layer_norm", "TRUNK.ln_pre"),
    (r"vision_encoder\.neck\.fpn_layers\.0\.scale_layers\.0", "CONVS.0.dconv_2x2_0"),
    (r"vision_encoder\.neck\.fpn_layers\.0\.scale_layers\.2", "CONVS.0.dconv_2x2_1"),
    (r"vision_encoder\.neck\.fpn_layers\.1\.scale_layers\.0", "CONVS.1.dconv_2x2"),
    (r"vision_encoder\.neck\.fpn_layers\.(\d)\.proj1", r"CONVS.\1.conv_1x1"),
    (r"vision_encoder\.neck\.fpn_layers\.(\d)\.proj2", r"CONVS.\1.conv_3x3"),
    (r"text_encoder\.text_model\.embeddings\.token_embedding", "TEXT.token_embedding"),
    (r"text_encoder\.text_model\.embeddings\.position_embedding\.weight", "TEXT.positional_embedding"),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.self_attn", r"TEXT.transformer.resblocks.\1.attn"),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.layer_norm(\d)", r"TEXT.transformer.resblocks.\1.ln_\2"),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.mlp\.fc1", r"TEXT.transformer.resblocks.\1.mlp.c_fc"),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.mlp\.fc2", r"TEXT.transformer.resblocks.\1.mlp.c_proj"),
    (r"text_encoder\.text_model\.final_layer_norm", "TEXT.ln_final"),
    (r"text_projection\.", "backbone.language_backbone.resizer."),
    (r"geometry_encoder\.vision_layer_norm", "geometry_encoder.img_pre_norm"),
    (r"geometry_encoder\.prompt_layer_norm", "geometry_encoder.norm"),
    (r"geometry_encoder\.output_layer_norm", "geometry_encoder.encode_norm"),
    (r"geometry_encoder\.layers", "geometry_encoder.encode"),
    (r"detr_encoder\.layers", "transformer.encoder.layers"),
    (r"detr_decoder\.layers\.(\d+)\.self_attn_layer_norm", r"transformer.decoder.layers.\1.norm2"),
    (r"detr_decoder\.layers\.(\d+)\.vision_cross_attn_layer_norm", r"transformer.decoder.layers.\1.norm1"),
    (r"detr_decoder\.layers\.(\d+)\.text_cross_attn_layer_norm", r"transformer.decoder.layers.\1.catext_norm"),
    (r"detr_decoder\.layers\.(\d+)\.mlp_layer_norm", r"transformer.decoder.layers.\1.norm3"),
    (r"detr_decoder\.layers\.(\d+)\.vision_cross_attn", r"transformer.decoder.layers.\1.cross_attn"),
    (r"detr_decoder\.layers\.(\d+)\.text_cross_attn", r"transformer.decoder.layers.\1.ca_text"),
    (r"detr_decoder\.layers", "transformer.decoder.layers"),
    (r"detr_decoder\.output_layer_norm", "transformer.decoder.norm"),
    (r"detr_decoder\.box_head\.layer", "transformer.decoder.bbox_embed.layers.LAYER"),
    (r"detr_decoder\.presence_head\.layer", "transformer.decoder.presence_token_head.layers.LAYER"),
    (r"detr_decoder\.ref_point_head\.layer", "transformer.decoder.ref_point_head.layers.LAYER"),
    (r"detr_decoder\.box_rpb_embed_(.)\.layer", r"transformer.decoder.boxRPB_embed_\1.layers.LAYER"),
    (r"detr_decoder\.presence_layer_norm", "transformer.decoder.presence_token_out_norm"),
    (r"detr_decoder\.", "transformer.decoder."),
    (r"dot_product_scoring\.text_mlp_out_norm", "dot_prod_scoring.prompt_mlp.out_norm"),
    (r"dot_product_scoring\.text_mlp\.layer", "dot_prod_scoring.prompt_mlp.layers.LAYER"),
    (r"dot_product_scoring\.text_proj", "dot_prod_scoring.prompt_proj"),
    (r"dot_product_scoring\.query_proj", "dot_prod_scoring.hs_proj"),
    (r"mask_decoder\.mask_embedder", "segmentation_head.mask_predictor.mask_embed"),
    (r"mask_decoder\.instance_projection", "segmentation_head.instance_seg_head"),
    (r"mask_decoder\.semantic_projection", "segmentation_head.semantic_seg_head"),
    (r"mask_decoder\.prompt_cross_attn_norm", "segmentation_head.cross_attn_norm"),
    (r"mask_decoder\.prompt_cross_attn", "segmentation_head.cross_attend_prompt"),
    (r"mask_decoder\.", "segmentation_head."),
    (r"(transformer|geometry_encoder)(.*)\.cross_attn\.", r"\1\2.cross_attn_image."),
    (r"transformer\.decoder(.*)\.cross_attn_image", r"transformer.decoder\1.cross_attn"),
    (r"(transformer|geometry_encoder)(.*)\.mlp\.fc", r"\1\2.linear"),
    (r"(transformer|geometry_encoder)(.*)\.layer_norm", r"\1\2.norm"),
    (r"(transformer|geometry_encoder|segmentation_head)(.*)\.o_proj", r"\1\2.out_proj"),
    ("TRUNK", "backbone.vision_backbone.trunk"),
    ("CONVS", "backbone.vision_backbone.convs"),
    ("TEXT", "backbone.language_backbone.encoder"),
)  # fmt: skip


def meta_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `Sam3Model` in Meta's layout: packed projections, with points."""
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for letter in "kv":
            if f".{letter}_proj." in name:
                break
        else:
            packed[_meta_name(name)] = _meta_tensor(name, tensor, state)
    width = state["geometry_encoder.cls_embed.weight"].shape[1]
    for name, inputs in (("direct", 2), ("pool", width), ("pos_enc", width)):
        packed[f"geometry_encoder.points_{name}_project.weight"] = torch.randn(width, inputs) * 0.1
        packed[f"geometry_encoder.points_{name}_project.bias"] = torch.randn(width) * 0.1
    return packed


def _meta_tensor(name: str, tensor: Tensor, state: dict[str, Tensor]) -> Tensor:
    if ".q_proj." in name:
        return torch.cat([state[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"])
    if name.endswith("position_embeddings"):
        return torch.cat([torch.zeros_like(tensor[:, :1]), tensor], 1)
    return tensor.T if name == "text_encoder.text_projection.weight" else tensor


def _meta_name(name: str) -> str:
    if name == "text_encoder.text_projection.weight":
        return "backbone.language_backbone.encoder.text_projection"
    if name.endswith("position_embeddings"):
        return "backbone.vision_backbone.trunk.pos_embed"
    if "vision_encoder" in name and ".q_proj." in name:
        name = re.sub(r"vision_encoder\.backbone\.layers\.(\d+)\.attention\.q_proj",
                      r"TRUNK.blocks.\1.attn.qkv", name)  # fmt: skip
    name = name.replace(".q_proj.", ".in_proj_")
    for pattern, replacement in _TO_META:
        name = re.sub(f"^{pattern}" if pattern[0] != "(" else pattern, replacement, name)
    return re.sub(r"LAYER(\d)", lambda found: str(int(found[1]) - 1), name)
