"""What can be trained, by name. A recipe is imported when it is chosen.

A recipe is a function `build(request: RecipeRequest) -> Training` in its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from detection.errors import TrainingError

if TYPE_CHECKING:
    from detection.training.settings import TrainingSettings
    from detection.training.task import TrainingTask, WeightsExport

# Name -> (module, what it trains).
_RECIPES = {
    "landcover": ("detection.training.landcover.recipe", "six labels of land cover, on a CPU"),
    "landcover-decoder": (
        "detection.training.landcover.decoder_recipe",
        "landcover's decoder, on corrections",
    ),
    "sam3-decoder": (
        "detection.training.sam3_decoder.recipe",
        "the decoder of a SAM3, on corrections",
    ),
    "sam3-tiny": ("detection.training.tiny_recipe", "the SAM3 of the tests, on synthetic imagery"),
    "sam3-nano": ("detection.training.sam3.nano_recipe", "a small SAM3, taught by landcover"),
}
RECIPE_NAMES = tuple(_RECIPES)


@dataclass(frozen=True, slots=True)
class RecipeRequest:
    """What a recipe is built from.

    Attributes:
        data: the folder of training data; None if it was not given, for a recipe that needs none.
        seed: of the initial weights and of the data order.
        device: a torch device.
        overrides: the recipe's own settings as texts ("batch": "32"), which `settings.changed`
            applies; unknown names are an error.
        judged: whether checkpoints are proven and judged during the training; where they are not,
            a recipe need not load the data for that, and `Training.export` may be None.
        on_message: called with what takes long.
    """

    data: Path | None
    seed: int
    device: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    judged: bool = True
    on_message: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A recipe, ready to train.

    Attributes:
        settings: the recipe's defaults; the seed is set by the request.
        export: None saves checkpoints without proof.
        resolved: the recipe's own settings, for run.json.
    """

    task: TrainingTask
    settings: TrainingSettings
    export: WeightsExport | None
    resolved: Mapping[str, object] = field(default_factory=dict)


def build_training(name: str, request: RecipeRequest) -> Training:
    """Build a recipe, which loads its data.

    Raises:
        TrainingError: no such recipe, data that are missing or wrong, or a package is missing.
    """
    if name not in _RECIPES:
        raise TrainingError(f"nothing to train is named {name!r}: choose from {RECIPE_NAMES}")
    try:
        module = import_module(_RECIPES[name][0])
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"training {name} needs the package {error.name}: install lotline[detection]"
        ) from error
    training: Training = module.build(request)
    return training


def recipe_descriptions() -> dict[str, str]:
    """What each recipe trains."""
    return {name: text for name, (_, text) in _RECIPES.items()}
