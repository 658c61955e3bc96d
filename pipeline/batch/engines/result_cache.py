"""An LRU cache of inference results: neighbouring chunks share the chips along their border."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from detection.chip_plan import ChipKey
from detection.inference import InferenceResult
from pipeline.batch.stages import ResultsByKey

_MAX_BYTES = 128 * 1024 * 1024


class ResultCache:
    """A thread-safe LRU cache of the inference results of chips, bounded by bytes."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._free_bytes = max_bytes
        self._results: OrderedDict[ChipKey, InferenceResult] = OrderedDict()
        self._lock = Lock()

    def get(self, key: ChipKey) -> InferenceResult | None:
        """The result of a chip; None for a cache miss."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def add(self, results: ResultsByKey) -> None:
        """Cache results, but no failures, which may succeed later; evict the oldest."""
        with self._lock:
            for key, result in results.items():
                if isinstance(result, InferenceResult) and key not in self._results:
                    self._results[key] = result
                    self._free_bytes -= _size_bytes(result)
            while self._free_bytes < 0:
                _, oldest = self._results.popitem(last=False)
                self._free_bytes += _size_bytes(oldest)


def _size_bytes(result: InferenceResult) -> int:
    masks = sum(mask.field.nbytes + mask.confidence.nbytes for mask in result.masks)
    return masks + result.mosaic.valid.nbytes
