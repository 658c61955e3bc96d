"""What was seen of the last chips: neighbouring chunks share those along their common edge."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from detection.chip_plan import ChipKey
from detection.inference import InferenceResult
from pipeline.batch.stages import ResultsByKey

_MOST_BYTES = 128 * 1024 * 1024


class ResultCache:
    """The views of the last chips, as many as fit. Several threads may use it."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._left_bytes = most_bytes
        self._held: OrderedDict[ChipKey, InferenceResult] = OrderedDict()
        self._lock = Lock()

    def get(self, place: ChipKey) -> InferenceResult | None:
        """What was seen there, if that is still known."""
        with self._lock:
            if place in self._held:
                self._held.move_to_end(place)
            return self._held.get(place)

    def add(self, views: ResultsByKey) -> None:
        """Keep what was seen, and let the oldest go. What was not seen may be seen later."""
        with self._lock:
            for place, view in views.items():
                if isinstance(view, InferenceResult) and place not in self._held:
                    self._held[place] = view
                    self._left_bytes -= _bytes(view)
            while self._left_bytes < 0:
                _, oldest = self._held.popitem(last=False)
                self._left_bytes += _bytes(oldest)


def _bytes(view: InferenceResult) -> int:
    masks = sum(mask.field.nbytes + mask.confidence.nbytes for mask in view.masks)
    return masks + view.mosaic.valid.nbytes
