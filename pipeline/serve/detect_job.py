"""A detect job: images of addresses in; masks, polygons and overlays in the object store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.caveats import result_caveats
from detection.segmenters import supported_labels
from parcels.errors import AddressRefused, SourceMisconfigured
from pipeline.detect import DetectRequest, ImageOutcome, detect_images
from pipeline.detect.chosen_labels import labels_of
from pipeline.errors import JobError
from pipeline.redaction import redactor
from pipeline.serve.image_download import download
from pipeline.serve.job_context import JobContext
from pipeline.serve.job_input import DetectJobInput, public_address

if TYPE_CHECKING:
    from detection.labels import Label


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of a job: by their place on this disk, and those that cannot be had."""

    addresses: dict[Path, str]
    failed: dict[str, str]


def run_detect_job(asked: DetectJobInput, context: JobContext) -> dict[str, Any]:
    """Detect on the images, store what was found, and write the manifest last.

    An image that cannot be used does not stop the others; one whose server is down does, because
    a repetition may have it.

    Raises:
        JobError: not one image is usable, or the job must end.
        AddressRefused, SourceUnavailable: an image's address is internal, or its server is down.
        LabelError: a label that the segmenter does not detect.
        ObjectStoreError: something cannot be stored.
    """
    finished = context.store.finished()
    if finished is not None:
        return _answer(finished, context, repeated=True)
    worker = context.worker
    labels = labels_of(
        asked.labels, asked.prompts, worker.chosen_segmenter,
        supported_labels(worker.chosen_segmenter),
    )  # fmt: skip
    images = _download(asked, context)
    out = context.folder / "results"
    request = DetectRequest(
        tuple(images.addresses), out, labels, asked.gsd_m, asked.bands, asked.crs
    )
    with worker.turn:
        outcomes = _detect(request, context)
    failed = images.failed | {
        images.addresses[each.image]: each.error for each in outcomes if each.status == "failed"
    }
    done = [each for each in outcomes if each.status == "done"]
    if not done:
        address, why = next(iter(failed.items()))
        named = why if address in why else f"{address}: {_without(context.folder, why)}"
        raise JobError(
            "no_usable_image", f"not one of {len(failed)} images can be used: {named}",
            "correct the addresses or the images",
        )  # fmt: skip
    context.report("storing results", images=len(done))
    content = _content(labels, images, done, failed, context)
    return _answer(context.store.finish(content), context, repeated=False)


def _download(asked: DetectJobInput, context: JobContext) -> _Images:
    images = _Images({}, {})
    for number, address in enumerate(dict.fromkeys(asked.images)):
        context.check_stopped()
        context.report("downloading images", done=number, total=len(asked.images))
        folder = context.folder / "images" / f"{number:03}"
        try:
            path = download(
                address, folder, allow_private=context.worker.allow_private,
                check_stopped=context.check_stopped,
            )  # fmt: skip
            images.addresses[path] = public_address(address)
        except AddressRefused:  # of the same kind, but no mistake that the other images survive
            raise
        except SourceMisconfigured as error:
            images.failed[public_address(address)] = redactor.text(str(error))
    return images


def _detect(request: DetectRequest, context: JobContext) -> list[ImageOutcome]:
    total = len(request.images)
    outcomes: list[ImageOutcome] = []

    def on_chips(_image: Path, done: int, chips: int) -> None:
        context.check_stopped()
        context.report("detecting", image=len(outcomes) + 1, images=total, chips=done, of=chips)

    context.check_stopped()
    for outcome in detect_images(request, context.worker.segmenter, on_chips):
        outcomes.append(outcome)
        context.check_stopped()
    return outcomes


def _content(
    labels: Sequence[Label],
    images: _Images,
    done: Sequence[ImageOutcome],
    failed: Mapping[str, str],
    context: JobContext,
) -> dict[str, Any]:
    worker = context.worker
    entries = [_entry(outcome, images.addresses[outcome.image], context) for outcome in done]
    entries += [
        {"image": address, "status": "failed", "error": _without(context.folder, why)}
        for address, why in failed.items()
    ]
    return {
        "type": "detect",
        "segmenter": worker.segmenter.name,
        "weights_sha256": worker.weights_sha256,
        "labels": {label.name: label.prompt for label in labels},
        "caveats": list(result_caveats(worker.segmenter.name, labels)),
        "objects": dict(_sums([outcome.objects for outcome in done])),
        "areas_m2": _areas([outcome.areas_m2 for outcome in done]),
        "images": entries,
    }


def _entry(outcome: ImageOutcome, address: str, context: JobContext) -> dict[str, Any]:
    """An image's entry in the manifest, after its files are stored."""
    out = context.folder / "results"
    files = {name: context.store.put_file(name, out / name) for name in outcome.files}
    return outcome.as_json() | {"image": address, "files": files}


def _without(folder: Path, text: str) -> str:
    """A message without the worker's folder."""
    return text.replace(f"{folder}/", "")


def _sums(counts: Sequence[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _areas(areas_m2: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The area of each label in all images; None if it is unknown in one of them."""
    names = dict.fromkeys(name for each in areas_m2 for name in each)
    known = {name: [each[name] for each in areas_m2] for name in names}
    return {
        name: None if None in values else round(sum(value or 0 for value in values), 1)
        for name, values in known.items()
    }


def _answer(manifest: Mapping[str, Any], context: JobContext, *, repeated: bool) -> dict[str, Any]:
    """A small answer, however many images there are."""
    states = Counter(each["status"] for each in manifest["images"])
    return {
        "job_id": manifest["job_id"],
        "type": "detect",
        "manifest": context.store.manifest_address,
        "segmenter": manifest["segmenter"],
        "weights_sha256": manifest["weights_sha256"],
        "images": {"done": states["done"], "failed": states["failed"]},
        "objects": manifest["objects"],
        "areas_m2": manifest["areas_m2"],
        "repeated": repeated,
    }
