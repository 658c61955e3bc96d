"""The weights of a training, with what its folder says of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from detection.training.proof import Proof, read_proof
from pipeline.errors import ModelError
from pipeline.learning.model_package import ITEM_NAME, ModelPackage, facts_of, read_package
from pipeline.store.models.model_files import files_in, store_files
from pipeline.store.models.versions import ModelFacts
from pipeline.store.models.weights_source import build_with

ADDRESS: Final = "address.txt"
"""In the run's folder of corrections: the folder or bucket that they are from."""


def registered_facts(folder: Path, segmenter: str, address: str, note: str) -> ModelFacts:
    """Load weights as detection does, store their files, and say what they come from.

    Args:
        folder: of the weights (OUT/weights of a training), or OUT; or an exported model.
        address: the folder or the bucket that gets the files.

    Raises:
        ModelError: the folder has no weights, the segmenter has none, or the training did not
            prove them.
        SegmenterError: they cannot be loaded.
        ObjectStoreError: they cannot be stored.
    """
    if (package := read_package(folder)) is not None:
        return _imported(folder, package, segmenter, address, note)
    if not (folder / "config.json").exists() and (folder / "weights").is_dir():
        folder = folder / "weights"
    folder = folder.resolve()  # the weights of a run are a link to those of a checkpoint
    files = files_in(folder)
    weights_sha256 = build_with(segmenter, str(folder)).weights_sha256
    if weights_sha256 is None:
        raise ModelError(f"{segmenter} has no weights: choose the segmenter that was trained")
    run = _json(folder.parents[2] / "run.json") if len(folder.parents) > 2 else {}
    recipe = run.get("recipe_settings", {})
    proof = read_proof(folder.parent)
    if run:
        _check_proof(proof, weights_sha256, folder)
    manifest = folder.parents[2] / "corrections" / "manifest.json" if run else None
    if manifest is not None and (learned_from := _text(manifest.with_name(ADDRESS))):
        run = {**run, "corrections": learned_from}
    return ModelFacts(
        segmenter,
        weights_sha256,
        address,
        store_files(address, weights_sha256, files),
        tier=" ".join(str(each) for each in (run.get("task"), recipe.get("tier")) if each),
        base_sha256=recipe.get("base_sha256", recipe.get("start_sha256")),
        data_sha256=_sha256(manifest),
        settings=run,
        metrics={} if proof is None else asdict(proof),
        note=note,
    )


def _imported(
    folder: Path, package: ModelPackage, segmenter: str, address: str, note: str
) -> ModelFacts:
    if package.segmenter != segmenter:
        raise ModelError(
            f"{folder} has weights of {package.segmenter}: register them with --segmenter "
            f"{package.segmenter}"
        )
    files = files_in(folder, besides=(ITEM_NAME,))
    weights_sha256 = build_with(segmenter, str(folder)).weights_sha256
    if weights_sha256 != package.weights_sha256:
        raise ModelError(
            f"the weights of {folder} have the hash {(weights_sha256 or 'none')[:12]}, and its "
            f"item is of {package.weights_sha256[:12]}: export them again"
        )
    store_files(address, package.weights_sha256, files)
    return facts_of(package, address, note)


def _check_proof(proof: Proof | None, weights_sha256: str, folder: Path) -> None:
    if proof is None or not proof.proven:
        why = "was not proven" if proof is None or not proof.reason else proof.reason
        raise ModelError(
            f"the checkpoint of {folder} counts only when it is proven ({why}): run `lotline train "
            "… --measure-only`"
        )
    if proof.weights_sha256 != weights_sha256:
        raise ModelError(f"{folder} was changed after it was proven: copy it again")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sha256(path: Path | None) -> str | None:
    if path is None or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()
