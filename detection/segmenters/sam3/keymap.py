"""Names of tensors: Meta's checkpoint and the hub's -> those of transformers' `Sam3Model`.

Every name is either mapped or named here as one that is left out; any other is an error, so that
a file can never load a part of a network, or nothing at all, in silence.
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
# The tracker and its own neck are for video; rotations are computed, not learnt.
_META_TRACKER = re.compile(r"(tracker\.|(detector\.)?backbone\.vision_backbone\.sam2_convs\.)")
_META_COMPUTED = re.compile(r"backbone\.vision_backbone\.trunk\.blocks\.\d+\.attn\.freqs_cis")

_TRUNK = "backbone.vision_backbone.trunk."
_TEXT = "backbone.language_backbone.encoder."
_CONVS = "backbone.vision_backbone.convs.N."
_OUR_TEXT = "text_encoder.text_model."

# Meta's module -> transformers' module. Digits are written "N" and keep their value.
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
    """The detector of a file of facebook/sam3's layout, or of `Sam3Model.save_pretrained`.

    Raises:
        SegmenterError: two tensors for one place.
    """
    kept = {name: t for name, t in state.items() if not name.startswith(_HUB_TRACKER)}
    mapped: StateDict = {}
    for name, tensor in kept.items():
        place = name.removeprefix(_HUB_PREFIX)
        if place in mapped:
            raise SegmenterError(f"the file has two tensors for {place}: save it with one")
        mapped[place] = tensor
    return mapped


def map_meta_names(state: Mapping[str, Tensor]) -> StateDict:
    """The detector of Meta's own layout (`sam3.pt`), with or without its "detector." prefix.

    Raises:
        SegmenterError: a tensor whose place is not known, two for one place, or packed
            projections that do not part into three.
    """
    mapped: StateDict = {}
    unknown: list[str] = []
    for name, tensor in state.items():
        short = name.removeprefix(_META_PREFIX)
        if _META_TRACKER.match(name) or _META_COMPUTED.fullmatch(short):
            continue
        try:
            places = _places(short, tensor)
        except (RuntimeError, ValueError, IndexError) as error:
            raise SegmenterError(
                f"the file has {name} as {tuple(tensor.shape)}, which is not SAM3's: fetch it again"
            ) from error
        if not places:
            unknown.append(name)
        twice = [place for place in places if place in mapped]
        if twice:
            raise SegmenterError(f"the file has two tensors for {twice[0]}: one is {name}")
        mapped.update(places)
    if unknown:
        raise SegmenterError(
            f"the file has {len(unknown)} tensors that SAM3 has no place for: {_few(unknown)}"
        )
    return mapped


def is_meta_layout(names: Iterable[str]) -> bool:
    """Whether tensors of these names are in Meta's own layout."""
    return any(name.removeprefix(_META_PREFIX).startswith(_TRUNK) for name in names)


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Find what would be left unloaded, or loaded wrongly.

    Raises:
        SegmenterError: names or shapes that differ; it says which.
    """
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    shapes = [
        f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    wrong = [
        f"{len(names)} {what} ({_few(names)})"
        for what, names in (
            ("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)
        )
        if names
    ]  # fmt: skip
    if wrong:
        raise SegmenterError(
            f"{source} does not hold this network's weights: of {len(wanted)} tensors "
            f"{'; '.join(wrong)}. Nothing was loaded"
        )


def _places(name: str, tensor: Tensor) -> StateDict:
    """Where one of Meta's tensors goes; packed projections go to three places."""
    special = _special(name, tensor)
    if special:
        return special
    module, _, kind = name.rpartition(".")
    if kind.startswith("in_proj_"):
        kind, projection = kind.removeprefix("in_proj_"), "{qkv}_proj"
    elif module.endswith(".out_proj"):
        module = module.removesuffix(".out_proj")
        # transformers' CLIP kept Meta's name; its other attentions call it o_proj.
        projection = "out_proj" if module.startswith(_TEXT) else "o_proj"
    else:
        projection = ""
    place = _module(module)
    if place is None or kind not in ("weight", "bias"):
        return {}
    place = f"{place}.{projection}.{kind}" if projection else f"{place}.{kind}"
    if "{qkv}" not in place:
        return {place: tensor}
    parts = zip("qkv", tensor.chunk(3), strict=True)
    return {place.format(qkv=letter): part for letter, part in parts}


def _special(name: str, tensor: Tensor) -> StateDict:
    """The tensors that are not simply renamed."""
    if name == f"{_TRUNK}pos_embed":  # the first is of a class token that the network lacks
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
    place = _MODULES.get(re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name))
    return None if place is None else re.sub(r"(?<=\.)N(?=\.|$)", numbers[0], place)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
