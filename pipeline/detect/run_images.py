"""Detects labels on one image after the other; one that fails does not stop the others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rasterio.errors import RasterioError

from detection.caveats import result_caveats
from detection.errors import DetectionError
from detection.image_detection import ImageDetections, OpenedImage, detect_image, open_image
from detection.labels import Label
from detection.required_bands import band_notes
from detection.segmenters.interface import Segmenter
from parcels.errors import ParcelsError
from parcels.untrusted import sanitize_text
from pipeline.detect.image_list import MASK_SUFFIX, OVERLAY_SUFFIX, result_names
from pipeline.detect.overlay import write_overlay
from pipeline.detect.result_files import read_record, write_atomically, write_masks, write_polygons
from pipeline.errors import ImageResultError

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
# What is assumed of a photograph for a segmenter that works at any resolution.
_ASSUMED_GSD_M = 0.3

OutcomeStatus = Literal["done", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class DetectRequest:
    """What to detect on which images, and where to write.

    Attributes:
        out: the folder of the results; made if it is missing.
        gsd_m: of images without georeference, in metres a pixel; None if it is unknown.
        bands: the names of the images' bands, from the first; empty to tell them from the files.
        crs: of images that have a geotransform, but no CRS of their own.
        again: repeat images whose results are there.
    """

    images: tuple[Path, ...]
    out: Path
    labels: tuple[Label, ...]
    gsd_m: float | None = None
    bands: tuple[str, ...] = ()
    crs: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What came out of one image.

    Attributes:
        name: of its results.
        status: "skipped" if the same results were there already.
        error: why it failed.
        objects, areas_m2: of each label; areas are None where the ground sample distance is an
            assumption.
        coverage_fraction: of the image that has pixels; None if it failed.
        files: the results, in the output folder.
    """

    image: Path
    name: str
    status: OutcomeStatus
    error: str = ""
    notes: tuple[str, ...] = ()
    objects: dict[str, int] = field(default_factory=dict)
    areas_m2: dict[str, float | None] = field(default_factory=dict)
    coverage_fraction: float | None = None
    files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Its entry in summary.json."""
        return {
            "image": str(self.image),
            "status": self.status,
            **({"error": self.error} if self.error else {}),
            "name": self.name,
            "objects": self.objects,
            "areas_m2": self.areas_m2,
            "coverage_fraction": self.coverage_fraction,
            "notes": list(self.notes),
            "files": list(self.files),
        }


def detect_images(
    request: DetectRequest,
    segmenter: Segmenter,
    on_chips: Callable[[Path, int, int], None] | None = None,
) -> Iterator[ImageOutcome]:
    """Detect on each image, and write its results and summary.json; yields what came out.

    An image's files are complete or not there. After a stop, those of finished images stay.

    Args:
        on_chips: called with (image, finished chips, all chips).

    Raises:
        ImageResultError: the output folder cannot be written.
    """
    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageResultError(
            f"the output folder {request.out} cannot be made: {error.strerror or error}"
        ) from error
    outcomes: list[ImageOutcome] = []
    for image, name in result_names(request.images).items():
        outcome = _outcome(request, segmenter, image, name, on_chips)
        outcomes.append(outcome)
        _write_summary(request, segmenter, outcomes)
        yield outcome


def _outcome(
    request: DetectRequest,
    segmenter: Segmenter,
    image: Path,
    name: str,
    on_chips: Callable[[Path, int, int], None] | None,
) -> ImageOutcome:
    try:
        return _detect(request, segmenter, image, name, on_chips)
    except (DetectionError, ParcelsError, ImageResultError) as error:
        return ImageOutcome(image, name, "failed", str(error))
    except RasterioError as error:
        return ImageOutcome(image, name, "failed", sanitize_text(error.__cause__ or error))
    except (OSError, MemoryError, ValueError, ArithmeticError) as error:
        log.debug("traceback of the failure of an image", exc_info=error)
        return ImageOutcome(image, name, "failed", sanitize_text(error or type(error).__name__))


def _detect(
    request: DetectRequest,
    segmenter: Segmenter,
    image: Path,
    name: str,
    on_chips: Callable[[Path, int, int], None] | None,
) -> ImageOutcome:
    assumed_m = segmenter.gsd_m or _ASSUMED_GSD_M
    opened = open_image(image, request.gsd_m, assumed_m, request.bands or None, request.crs)
    notes = (*opened.notes, *band_notes(segmenter.name, opened.source))
    record = _record(request, segmenter, image)
    polygons_file = request.out / f"{name}.geojson"
    files = [f"{name}.{label.name}{MASK_SUFFIX}" for label in request.labels]
    files += [f"{name}{OVERLAY_SUFFIX}", polygons_file.name]
    earlier = _earlier(request, polygons_file, record, files)
    if earlier is not None:
        return ImageOutcome(
            image, name, "skipped", "", notes, earlier["objects"], earlier["areas_m2"],
            earlier["coverage_fraction"], (*files,),
        )  # fmt: skip
    found = detect_image(
        opened,
        segmenter,
        request.labels,
        (lambda done, total: on_chips(image, done, total)) if on_chips else None,
    )
    objects, areas_m2 = _totals(opened, found)
    # Until its files are replaced, an earlier result must not look complete.
    polygons_file.unlink(missing_ok=True)
    coverage_fraction = write_masks(
        [request.out / f"{name}.{label.name}{MASK_SUFFIX}" for label in request.labels],
        opened,
        [found.of_label(index) for index in range(len(request.labels))],
    )
    write_overlay(request.out / f"{name}{OVERLAY_SUFFIX}", opened, found)
    totals = {"objects": objects, "areas_m2": areas_m2, "coverage_fraction": coverage_fraction}
    write_polygons(polygons_file, opened, found, record | totals)
    return ImageOutcome(
        image, name, "done", "", notes, objects, areas_m2, coverage_fraction, (*files,)
    )


def _record(request: DetectRequest, segmenter: Segmenter, image: Path) -> dict[str, Any]:
    """All that an image's results depend on, as it is stored with them."""
    status = image.stat()
    return {
        "image": {
            "path": str(image.absolute()),
            "bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
        },
        "segmenter": segmenter.name,
        "weights_sha256": segmenter.weights_sha256,
        "labels": {label.name: repr(label) for label in request.labels},
        "gsd_m": request.gsd_m,
        "bands": list(request.bands),
        "crs": request.crs,
        "caveats": list(result_caveats(segmenter.name, request.labels)),
    }


def _earlier(
    request: DetectRequest, polygons_file: Path, record: dict[str, Any], files: Sequence[str]
) -> dict[str, Any] | None:
    """The record of complete, equal results; None if the image is to be done.

    Raises:
        ImageResultError: the files there are of another image, or none of ours.
    """
    earlier = read_record(polygons_file)
    if earlier is None:
        present = [name for name in files if (request.out / name).exists()]
        _check_unfinished(request, present)
        return None
    if earlier["image"]["path"] != record["image"]["path"]:
        raise ImageResultError(
            f"{polygons_file} has the results of {sanitize_text(earlier['image']['path'])}: they "
            "are not overwritten. Choose another --out"
        )
    complete = "coverage_fraction" in earlier and all(
        (request.out / name).is_file() for name in files
    )
    same = all(earlier.get(key) == value for key, value in record.items())
    return earlier if same and complete and not request.again else None


def _check_unfinished(request: DetectRequest, present: Sequence[str]) -> None:
    """Allow files that a stopped run left, and refuse those that are none of ours."""
    images = {image.resolve() for image in request.images}
    for name in present:
        if (request.out / name).resolve() in images:
            raise ImageResultError(f"{request.out / name} is an image: choose another --out")


def _totals(
    image: OpenedImage, found: ImageDetections
) -> tuple[dict[str, int], dict[str, float | None]]:
    """Number and area of the objects of each label."""
    objects, areas_m2 = {}, {}
    for index, label in enumerate(found.labels):
        of_label = found.label_of == index
        objects[label.name] = int(np.count_nonzero(of_label))
        area_m2 = round(float(found.areas_m2[of_label].sum()), 1)
        areas_m2[label.name] = area_m2 if image.is_scale_known else None
    return objects, areas_m2


def _write_summary(
    request: DetectRequest, segmenter: Segmenter, outcomes: Sequence[ImageOutcome]
) -> None:
    document = {
        "segmenter": segmenter.name,
        "weights_sha256": segmenter.weights_sha256,
        "labels": {label.name: label.prompt for label in request.labels},
        "caveats": list(result_caveats(segmenter.name, request.labels)),
        "gsd_m": request.gsd_m,
        "total_images": len(request.images),
        "images": [outcome.as_json() for outcome in outcomes],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    path = request.out / SUMMARY
    try:
        write_atomically(path, lambda part: _write_text(part, text))
    except OSError as error:
        raise ImageResultError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
