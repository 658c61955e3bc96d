"""The round that is under way: which manifest it learns from, and where its training is.

`round.json` is written before the training begins and removed when the candidate is judged: a round
that was killed goes on with the same manifest, though people have corrected more meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from detection.training.atomic import write_text
from pipeline.errors import LearningError

_NAME: Final = "round.json"


@dataclass(frozen=True, slots=True)
class RoundState:
    """A round that is not over.

    Attributes:
        manifest_sha256: of the corrections in `address`.
        options: words of `lotline train`, those of the tier first; others are another training.
    """

    address: str
    manifest_sha256: str
    options: tuple[str, ...]

    @property
    def manifest(self) -> str:
        """The address of the manifest."""
        return f"{self.address}/manifests/{self.manifest_sha256}.json"

    def run_folder(self, folder: Path) -> Path:
        """The folder of the training."""
        words = hashlib.sha256(json.dumps(self.options).encode()).hexdigest()[:8]
        return folder / f"{self.manifest_sha256[:16]}-{words}"


def read_round(folder: Path) -> RoundState | None:
    """The round that is under way; None without one.

    Raises:
        LearningError: its file is damaged.
    """
    path = folder / _NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RoundState(
            str(content["address"]),
            str(content["manifest_sha256"]),
            tuple(map(str, content["options"])),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LearningError(
            f"{path} cannot be read ({error}): delete it, and the round begins anew"
        ) from error


def begin_round(folder: Path, state: RoundState) -> None:
    """Write down what a round learns from."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _NAME, json.dumps(asdict(state), indent=2) + "\n")


def check_same_tier(folder: Path, state: RoundState, tier: Sequence[str]) -> None:
    """Check that the round under way trains the tier that is asked for.

    Args:
        tier: its words of `lotline train`.

    Raises:
        LearningError: it trains another tier, or begins with other weights.
    """
    begun = state.options[: len(tier)]
    if begun != tuple(tier):
        raise LearningError(
            f"the round that is under way trains with {' '.join(begun)}, and not with "
            f"{' '.join(tier)}: run it as before, or delete {folder / _NAME} and begin anew"
        )


def end_round(folder: Path, kept: Sequence[Path]) -> None:
    """Forget the round; trainings other than the kept ones are removed."""
    (folder / _NAME).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and path not in kept:
            shutil.rmtree(path, ignore_errors=True)
