"""Files of views on the disk: what the frozen parts make of each, computed once.

    tokens-HASH.safetensors    the ViT's tokens, by chip, pose, encoder and preprocessing
    before-HASH.safetensors    all that the mask decoder reads, by truth and weights too

A file has its name once it is complete, in bf16, and is used by every later run that needs it: the
next round encodes new chips only. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from detection.errors import TrainingError
from detection.training.atomic import DRAFT_PREFIX

GIB = 1 << 30
_SUFFIX = ".safetensors"
# Of the disk, this share stays free.
_FREE_SHARE = 0.05


class KeptViews:
    """A folder of views with a size cap.

    Attributes:
        computed, found: numbers of views that were computed, and that were there.
    """

    def __init__(self, folder: Path, cap_gib: float) -> None:
        self.folder, self._cap_gib = folder, cap_gib
        self.computed = self.found = 0

    def reserve(self, sizes: Mapping[str, int], advice: str = "") -> set[str]:
        """Check that views fit, and remove the least recently used others.

        Args:
            sizes: the bytes of each, by name.
            advice: what else makes them smaller, for the message.

        Returns:
            The names that are missing.

        Raises:
            TrainingError: they need more than the cap, or than the disk has.
        """
        missing = {name for name in sizes if not self.path_of(name).is_file()}
        self.found += len(sizes) - len(missing)
        needed, new = sum(sizes.values()), sum(sizes[name] for name in missing)
        existing = next(each for each in (self.folder, *self.folder.parents) if each.exists())
        others = sorted(
            (path for path in self.folder.glob(f"*{_SUFFIX}") if path.stem not in sizes),
            key=lambda path: path.stat().st_mtime,
        )
        usage = shutil.disk_usage(existing)
        available = usage.free - _FREE_SHARE * usage.total
        removable = sum(path.stat().st_size for path in others)
        if needed > self._cap_gib * GIB or new > available + removable:
            raise TrainingError(
                f"{len(sizes):,} files of views take {needed / GIB:.3g} GiB, {new / GIB:.3g} GiB "
                f"of it new; {self._cap_gib:g} GiB are allowed (cache_gib), and "
                f"{max(0.0, available + removable) / GIB:.3g} GiB of {existing} can be used. Set "
                f"fewer views (views=1), {advice}a larger cache_gib, or cache to another folder"
            )
        excess = max(needed + removable - self._cap_gib * GIB, new - available)
        for path in others:
            if excess <= 0:
                break
            excess -= path.stat().st_size
            path.unlink(missing_ok=True)
        for name in sizes.keys() - missing:
            os.utime(self.path_of(name))
        return missing

    def path_of(self, name: str) -> Path:
        """The file of a view."""
        return self.folder / f"{name}{_SUFFIX}"

    def write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep a view; floating-point tensors in bf16.

        Raises:
            TrainingError: it cannot be written.
        """
        path = self.path_of(name)
        draft = path.with_name(f"{DRAFT_PREFIX}{name}-{os.getpid()}")
        small = {key: _small(tensor) for key, tensor in tensors.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(small, draft)
            draft.replace(path)
        except (OSError, SafetensorError) as error:
            draft.unlink(missing_ok=True)
            raise TrainingError(
                f"the view {path} cannot be written ({error}). Free disk space, or set cache to "
                "another folder"
            ) from error
        self.computed += 1

    def read(self, name: str) -> dict[str, Tensor]:
        """A kept view.

        Raises:
            TrainingError: it is gone or damaged.
        """
        path = self.path_of(name)
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            path.unlink(missing_ok=True)  # so that the next run computes it again
            raise TrainingError(
                f"the view {path} cannot be read ({error}). Resume the run: it is computed again"
            ) from error
        return tensors


def _small(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.bfloat16)
    return tensor.cpu().contiguous()


def tensors_sha256(module: nn.Module) -> str:
    """The hash of a module's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
        digest.update(plain.view(torch.uint8).numpy() if plain.ndim else plain.numpy())
    return digest.hexdigest()


def text_sha256(*parts: object) -> str:
    """The hash of texts and numbers."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:40]
