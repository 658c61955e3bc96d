"""Maps tensor names of Meta's and the hub's checkpoints to transformers' `Sam3Model`.

Every name is either mapped or explicitly ignored; any other is an error, so that a file never
silently loads only a part of a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from detection.errors import SegmenterError

StateDict = dict[str, Tensor]

_HUB_PREFIX = "detector_model."
_HUB_TRACKER = ("tracker_model.", "tracker_neck.")
_META_PREFIX = "detector."
# Ignored: the tracker and its neck are for video; rotations are computed, not learnt.
_META_TRACKER = re.compile(r"(tracker\.|(detector\.)?backbone\.vision_backbone\.sam2_convs\.)")
_META_COMPUTED = re.compile(r"backbone\.vision_backbone\.trunk\.blocks\.\d+\.attn\.freqs_cis")

_TRUNK = "backbone.vision_backbone.trunk."
_TEXT = "backbone.language_backbone.encoder."
_CONVS = "backbone.vision_backbone.convs.N."
_OUR_TEXT = "text_encoder.text_model."

# Meta's module -> transformers' module. "N" stands for a number, which is kept.
_MODULES = {
    f"{_TRUNK}patch_embed.proj": "vision_encoder.backbone.embeddings.patch_embeddings.projection",
    f"{_TRUNK}ln_pre": "vision_encoder.backbone.layer_norm",
    f"{_TRUNK}blocks.N.norm1": "vision_encoder.backbone.layers.N.layer_norm1",
    f"{_TRUNK}blocks.N.norm2": "vision_encoder.backbone.layers.N.layer_norm2",
    f"{_TRUNK}blocks.N.attn.qkv": "vision_encoder.backbone.layers.N.attention.{qkv}_proj",
    f"{_TRUNK}blocks.N.attn.proj": "vision_encoder.backbone.layers.N.attention.o_proj",
    f"{_TRUNK}blocks.N.mlp.fc1": "vision_encoder.backbone.layers.N.mlp.fc1",
    f"{_TRUNK}blocks.N.mlp.fc2": "vision_encoder.backbone.layers.N.mlp.fc2",
    f"{_CONVS}dconv_2x2_0": "vision_encoder.neck.fpn_layers.N.scale_layers.0",
    f"{_CONVS}dconv_2x2_1": "vision_encoder.neck.fpn_layers.N.scale_layers.2",
    f"{_CONVS}dconv_2x2": "vision_encoder.neck.fpn_layers.N.scale_layers.0",
    f"{_CONVS}conv_1x1": "vision_encoder.neck.fpn_layers.N.proj1",
    f"{_CONVS}conv_3x3": "vision_encoder.neck.fpn_layers.N.proj2",
    f"{_TEXT}token_embedding": f"{_OUR_TEXT}embeddings.token_embedding",
    f"{_TEXT}ln_final": f"{_OUR_TEXT}final_layer_norm",
    f"{_TEXT}transformer.resblocks.N.attn": f"{_OUR_TEXT}encoder.layers.N.self_attn",
    f"{_TEXT}transformer.resblocks.N.ln_1": f"{_OUR_TEXT}encoder.layers.N.layer_norm1",
    f"{_TEXT}transformer.resblocks.N.ln_2": f"{_OUR_TEXT}encoder.layers.N.layer_norm2",
    f"{_TEXT}transformer.resblocks.N.mlp.c_fc": f"{_OUR_TEXT}encoder.layers.N.mlp.fc1",
    f"{_TEXT}transformer.resblocks.N.mlp.c_proj": f"{_OUR_TEXT}encoder.layers.N.mlp.fc2",
    "backbone.language_backbone.resizer": "text_projection",
    **{
        f"geometry_encoder.{name}": f"geometry_encoder.{name}"
        for name in (
            "label_embed", "cls_embed", "final_proj",
            "points_direct_project", "points_pool_project", "points_pos_enc_project",
            "boxes_direct_project", "boxes_pool_project", "boxes_pos_enc_project",
        )
    },
    "geometry_encoder.img_pre_norm": "geometry_encoder.vision_layer_norm",
    "geometry_encoder.norm": "geometry_encoder.prompt_layer_norm",
    "geometry_encoder.encode_norm": "geometry_encoder.output_layer_norm",
    **{
        f"{meta}.{name}": f"{ours}.{other}"
        for meta, ours in (
            ("geometry_encoder.encode.N", "geometry_encoder.layers.N"),
            ("transformer.encoder.layers.N", "detr_encoder.layers.N"),
        )
        for name, other in (
            ("self_attn", "self_attn"), ("cross_attn_image", "cross_attn"),
            ("linear1", "mlp.fc1"), ("linear2", "mlp.fc2"),
            ("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("norm3", "layer_norm3"),
        )
    },
    **{
        f"transformer.decoder.layers.N.{name}": f"detr_decoder.layers.N.{other}"
        for name, other in (
            ("self_attn", "self_attn"), ("norm2", "self_attn_layer_norm"),
            ("ca_text", "text_cross_attn"), ("catext_norm", "text_cross_attn_layer_norm"),
            ("cross_attn", "vision_cross_attn"), ("norm1", "vision_cross_attn_layer_norm"),
            ("linear1", "mlp.fc1"), ("linear2", "mlp.fc2"), ("norm3", "mlp_layer_norm"),
        )
    },
    **{
        f"transformer.decoder.{name}": f"detr_decoder.{other}"
        for name, other in (
            ("norm", "output_layer_norm"), ("query_embed", "query_embed"),
            ("reference_points", "reference_points"), ("presence_token", "presence_token"),
            ("presence_token_out_norm", "presence_layer_norm"),
        )
    },
    **{
        f"{meta}.layers.{number}": f"{ours}.layer{number + 1}"
        for meta, ours, layers in (
            ("transformer.decoder.bbox_embed", "detr_decoder.box_head", 3),
            ("transformer.decoder.presence_token_head", "detr_decoder.presence_head", 3),
            ("transformer.decoder.ref_point_head", "detr_decoder.ref_point_head", 2),
            ("transformer.decoder.boxRPB_embed_x", "detr_decoder.box_rpb_embed_x", 2),
            ("transformer.decoder.boxRPB_embed_y", "detr_decoder.box_rpb_embed_y", 2),
            ("dot_prod_scoring.prompt_mlp", "dot_product_scoring.text_mlp", 2),
        )
        for number in range(layers)
    },
    "dot_prod_scoring.prompt_mlp.out_norm": "dot_product_scoring.text_mlp_out_norm",
    "dot_prod_scoring.prompt_proj": "dot_product_scoring.text_proj",
    "dot_prod_scoring.hs_proj": "dot_product_scoring.query_proj",
    "segmentation_head.pixel_decoder.conv_layers.N": "mask_decoder.pixel_decoder.conv_layers.N",
    "segmentation_head.pixel_decoder.norms.N": "mask_decoder.pixel_decoder.norms.N",
    "segmentation_head.mask_predictor.mask_embed.layers.N": "mask_decoder.mask_embedder.layers.N",
    "segmentation_head.instance_seg_head": "mask_decoder.instance_projection",
    "segmentation_head.semantic_seg_head": "mask_decoder.semantic_projection",
    "segmentation_head.cross_attend_prompt": "mask_decoder.prompt_cross_attn",
    "segmentation_head.cross_attn_norm": "mask_decoder.prompt_cross_attn_norm",
}  # fmt: skip


def map_hub_names(state: Mapping[str, Tensor]) -> StateDict:
    """The detector's tensors of facebook/sam3's layout, or of `Sam3Model.save_pretrained`.

    Raises:
        SegmenterError: two tensors with one target name.
    """
    detector = {name: t for name, t in state.items() if not name.startswith(_HUB_TRACKER)}
    mapped: StateDict = {}
    for name, tensor in detector.items():
        target = name.removeprefix(_HUB_PREFIX)
        if target in mapped:
            raise SegmenterError(f"the file has two tensors for {target}. Save it with only one")
        mapped[target] = tensor
    return mapped


def map_meta_names(state: Mapping[str, Tensor]) -> StateDict:
    """The detector's tensors of Meta's layout (`sam3.pt`), with or without "detector." prefix.

    Raises:
        SegmenterError: an unknown name, two tensors with one target, or packed projections that
            cannot be split into three.
    """
    mapped: StateDict = {}
    unknown: list[str] = []
    for name, tensor in state.items():
        short = name.removeprefix(_META_PREFIX)
        if _META_TRACKER.match(name) or _META_COMPUTED.fullmatch(short):
            continue
        try:
            targets = _targets(short, tensor)
        except (RuntimeError, ValueError, IndexError) as error:
            raise SegmenterError(
                f"the file has {name} with a wrong shape {tuple(tensor.shape)}. Download it again"
            ) from error
        if not targets:
            unknown.append(name)
        duplicates = [target for target in targets if target in mapped]
        if duplicates:
            raise SegmenterError(f"the file has two tensors for {duplicates[0]}: one is {name}")
        mapped.update(targets)
    if unknown:
        raise SegmenterError(
            f"the file has {len(unknown)} tensors that SAM3 does not have: {_first_names(unknown)}"
        )
    return mapped


def is_meta_layout(names: Iterable[str]) -> bool:
    """Whether these tensor names are in Meta's layout."""
    return any(name.removeprefix(_META_PREFIX).startswith(_TRUNK) for name in names)


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Check that tensors have exactly the wanted names and shapes.

    Raises:
        SegmenterError: missing, unexpected or differently shaped tensors; it names them.
    """
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    shapes = [
        f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    wrong = [
        f"{len(names)} {what} ({_first_names(names)})"
        for what, names in (
            ("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)
        )
        if names
    ]  # fmt: skip
    if wrong:
        raise SegmenterError(
            f"{source} does not have this network's weights: of {len(wanted)} tensors "
            f"{'; '.join(wrong)}. Nothing was loaded"
        )


def _targets(name: str, tensor: Tensor) -> StateDict:
    """The targets of one of Meta's tensors; packed projections have three. Empty if unknown."""
    transformed = _transformed(name, tensor)
    if transformed:
        return transformed
    module, _, kind = name.rpartition(".")
    if kind.startswith("in_proj_"):
        kind, projection = kind.removeprefix("in_proj_"), "{qkv}_proj"
    elif module.endswith(".out_proj"):
        module = module.removesuffix(".out_proj")
        # transformers' CLIP uses Meta's name; its other attentions call it o_proj.
        projection = "out_proj" if module.startswith(_TEXT) else "o_proj"
    else:
        projection = ""
    target = _module(module)
    if target is None or kind not in ("weight", "bias"):
        return {}
    target = f"{target}.{projection}.{kind}" if projection else f"{target}.{kind}"
    if "{qkv}" not in target:
        return {target: tensor}
    parts = zip("qkv", tensor.chunk(3), strict=True)
    return {target.format(qkv=letter): part for letter, part in parts}


def _transformed(name: str, tensor: Tensor) -> StateDict:
    """The tensors that are not only renamed."""
    if (
        name == f"{_TRUNK}pos_embed"
    ):  # the first is of a class token, which transformers' network lacks
        return {"vision_encoder.backbone.embeddings.position_embeddings": tensor[:, 1:]}
    if name == f"{_TEXT}positional_embedding":
        return {"text_encoder.text_model.embeddings.position_embedding.weight": tensor}
    if name == f"{_TEXT}text_projection":
        return {"text_encoder.text_projection.weight": tensor.transpose(0, 1)}
    return {}


def _module(name: str) -> str | None:
    if name in _MODULES:
        return _MODULES[name]
    numbers = re.findall(r"(?<=\.)\d+(?=\.|$)", name)
    if len(numbers) != 1:
        return None
    target = _MODULES.get(re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name))
    return None if target is None else re.sub(r"(?<=\.)N(?=\.|$)", numbers[0], target)


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
