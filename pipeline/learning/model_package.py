"""Weights in a folder that another installation can register: the files, and a STAC item.

The item has the fields of the Machine Learning Model extension (MLM), so that catalogues can find
the weights and say what they take and give. What only Lotline needs has the prefix `lotline:`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from detection.training.atomic import new_folder
from pipeline.errors import ModelError
from pipeline.learning.model_signatures import signature
from pipeline.store.models.model_files import fetch_files
from pipeline.store.models.versions import ModelFacts, ModelVersion

ITEM_NAME: Final = "item.json"

_MLM: Final = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_MLM_START: Final = "https://stac-extensions.github.io/mlm/v1."
_FILE: Final = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_SHA256_MULTIHASH: Final = "1220"


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """What the item of a folder says of its weights.

    Attributes:
        files: the SHA-256 of each, by name.
    """

    segmenter: str
    weights_sha256: str
    files: dict[str, str]
    tier: str
    base_sha256: str | None
    data_sha256: str | None
    settings: dict[str, Any]
    metrics: dict[str, Any]
    note: str


def write_package(
    version: ModelVersion, state: str, cache: Path, folder: Path, licence: str
) -> None:
    """Write registered weights into a new folder.

    Args:
        cache: of fetched files.
        licence: of the weights: an SPDX identifier, or "other".

    Raises:
        ModelError: the folder exists, or the stored files are missing or damaged.
        ObjectStoreError: they cannot be read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} is not empty: choose a new folder")
    stored = fetch_files(version.facts, cache)
    files = {name: (stored / name).read_bytes() for name in version.facts.files}
    item = stac_item(version, state, {name: len(data) for name, data in files.items()}, licence)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as draft:
            for name, data in files.items():
                (draft / name).write_bytes(data)
            text = json.dumps(item, indent=2, allow_nan=False)
            (draft / ITEM_NAME).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{folder} cannot be written ({error.strerror})") from error


def stac_item(
    version: ModelVersion, state: str, sizes: dict[str, int], licence: str
) -> dict[str, Any]:
    """The item of registered weights.

    Args:
        sizes: bytes, by file name.
    """
    facts = version.facts
    sha256 = facts.weights_sha256
    given = signature(facts)
    made_from = {"base weights": facts.base_sha256, "manifest of corrections": facts.data_sha256}
    created = version.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _FILE],
        "id": f"{facts.segmenter}-{sha256[:12]}",
        "geometry": None,
        "properties": {
            "title": f"{facts.segmenter} {sha256[:12]}",
            "description": given.description,
            "datetime": created,
            "created": created,
            "license": licence,
            "gsd": given.gsd_m,
            "bands": [{"name": name} for name in given.bands],
            **given.fields,
            "lotline:segmenter": facts.segmenter,
            "lotline:weights_sha256": sha256,
            "lotline:state": state,
            "lotline:tier": facts.tier,
            "lotline:gsd_range_m": list(given.gsd_range_m),
            "lotline:base_sha256": facts.base_sha256,
            "lotline:data_sha256": facts.data_sha256,
            "lotline:settings": dict(facts.settings or {}),
            "lotline:metrics": dict(facts.metrics or {}),
            "lotline:note": facts.note,
        },
        "links": [
            {"rel": "derived_from", "href": f"urn:sha256:{digest}", "title": title}
            for title, digest in made_from.items()
            if digest is not None
        ],
        "assets": {
            name: _asset(name, digest, sizes[name]) for name, digest in sorted(facts.files.items())
        },
    }


def read_package(folder: Path) -> ModelPackage | None:
    """What the item of a folder says; None for a folder without one.

    The files must be those that the item was written for.

    Raises:
        ModelError: the item cannot be read, or it is not of these files.
    """
    path = folder / ITEM_NAME
    if not path.exists():
        return None
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
        properties = item["properties"]
        if not any(each.startswith(_MLM_START) for each in item["stac_extensions"]):
            raise ModelError(f"{path} has no fields of the STAC extension MLM, version 1")
        package = ModelPackage(
            str(properties["lotline:segmenter"]),
            str(properties["lotline:weights_sha256"]),
            {str(name): _digest(asset) for name, asset in item["assets"].items()},
            str(properties["lotline:tier"]),
            _text(properties["lotline:base_sha256"]),
            _text(properties["lotline:data_sha256"]),
            dict(properties["lotline:settings"]),
            dict(properties["lotline:metrics"]),
            str(properties["lotline:note"]),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is not the item of an exported model ({type(error).__name__}: {error}): "
            "export it again"
        ) from error
    _check_files(folder, package)
    return package


def facts_of(package: ModelPackage, address: str, note: str) -> ModelFacts:
    """What is registered of an exported model whose files are stored at an address."""
    return ModelFacts(
        package.segmenter, package.weights_sha256, address, package.files, package.tier,
        package.base_sha256, package.data_sha256, package.settings, package.metrics,
        note or package.note,
    )  # fmt: skip


def _check_files(folder: Path, package: ModelPackage) -> None:
    found = {path.name for path in folder.iterdir() if path.is_file()} - {ITEM_NAME}
    for name in sorted(found ^ package.files.keys()):
        problem = "is missing" if name not in found else "is not in the item"
        raise ModelError(f"{folder / name} {problem}: copy the whole folder again")
    for name, digest in package.files.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ModelError(
                f"{folder / name} was changed after it was exported: copy the folder again"
            )


def _asset(name: str, digest: str, size_bytes: int) -> dict[str, Any]:
    checked = {
        "href": f"./{name}",
        "file:checksum": f"{_SHA256_MULTIHASH}{digest}",
        "file:size": size_bytes,
    }
    if name.endswith(".safetensors"):
        return {
            **checked,
            "title": "Weights",
            "type": "application/octet-stream; application=safetensors",
            "roles": ["mlm:model", "mlm:weights", "data"],
            "mlm:artifact_type": "safetensors.torch.save_file",
        }
    kind = "application/json" if name.endswith(".json") else "text/plain"
    return {**checked, "type": kind, "roles": ["metadata"]}


def _digest(asset: dict[str, Any]) -> str:
    checksum = str(asset["file:checksum"])
    digest = checksum.removeprefix(_SHA256_MULTIHASH)
    if digest == checksum or len(digest) != hashlib.sha256().digest_size * 2:
        raise ValueError(f"file:checksum {checksum[:16]!r} is not a SHA-256")
    return digest


def _text(value: object) -> str | None:
    return None if value is None else str(value)
