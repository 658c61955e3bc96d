"""The champion as a file: what a worker without the database reads at its start.

    {"format": 1, "segmenter": "landcover", "weights_sha256": "…", "files": {"…": "…"},
     "thresholds": {"pool": 0.4}}

The weights' files are beside it, as `model_files` stores them. Without files, the champion is the
package's own weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ModelError
from pipeline.store.models.model_files import store_files
from pipeline.store.models.versions import ModelFacts
from pipeline.store.objects.folder_or_bucket import open_objects

_FORMAT: Final = 1
_FOLDER: Final = "champions"


class _ChampionDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    segmenter: str
    weights_sha256: str | None
    files: dict[str, str]
    # Files that earlier versions wrote have none.
    thresholds: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)


def write_champion(
    address: str,
    segmenter: str,
    weights_sha256: str | None,
    files: dict[str, bytes],
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """Store the files of weights at an address, then the file that names them; its address.

    Args:
        files: by name; empty for the package's own weights.
        thresholds: of scores, by label, with which the weights were promoted.

    Raises:
        ObjectStoreError: they cannot be written.
    """
    stored = store_files(address, weights_sha256, files) if weights_sha256 and files else {}
    document = {
        "format": _FORMAT, "segmenter": segmenter, "weights_sha256": weights_sha256,
        "files": stored, "thresholds": dict(thresholds or {}),
    }  # fmt: skip
    objects = open_objects(address)
    key = f"{_FOLDER}/{segmenter}.json"
    objects.put(key, (json.dumps(document, indent=1) + "\n").encode())
    return f"{objects.address}/{key}"


def read_champion(address: str, segmenter: str) -> ModelFacts | None:
    """The champion that a file names; None for the package's own weights.

    Raises:
        ModelError: there is no such file, it is damaged, or it is another segmenter's.
        ObjectStoreError: it cannot be read.
    """
    root, _, name = address.rpartition(f"/{_FOLDER}/")
    publish = f"write it with `lotline models publish {segmenter} --to ADDRESS`"
    if not root:
        raise ModelError(f"{address} is not the address of a champion file: {publish}")
    data = open_objects(root).get(f"{_FOLDER}/{name}")
    if data is None:
        raise ModelError(f"{address} does not exist: {publish}")
    try:
        found = _ChampionDocument.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"{address} is damaged: {publish} again") from error
    if found.format != _FORMAT:
        raise ModelError(
            f"{address} has format {found.format}, and this Lotline reads format {_FORMAT}: "
            f"install the version that wrote it, or {publish} again"
        )
    if found.segmenter != segmenter:
        raise ModelError(
            f"{address} is the champion of {found.segmenter}, not of {segmenter}: set SEGMENTER"
        )
    if not found.files or found.weights_sha256 is None:
        return None
    return ModelFacts(
        segmenter, found.weights_sha256, root, found.files, thresholds=found.thresholds
    )
