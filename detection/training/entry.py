"""One training by its options: what `lotline train` and `python -m detection.training` both run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from detection.errors import TrainingError
from detection.memory_ladder import out_of_memory
from detection.training.atomic import write_text
from detection.training.loop import StepMetrics, TrainedState, train
from detection.training.prove_later import prove_saved
from detection.training.ranks import Ranks, open_ranks
from detection.training.recipes import RecipeRequest, Training, build_training
from detection.training.run_record import read_run, write_run
from detection.training.settings import TrainingSettings, changed


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What a person can choose for one training; None leaves the recipe's default.

    Attributes:
        recipe: a name of `RECIPE_NAMES`.
        data: the folder of training data, where the recipe needs one.
        out: the folder of the run.
        device: a torch device; None is CUDA where there is one, else the CPU.
        steps, seconds: the length of the run, one of them.
        time_limit_s: after which this process saves and ends, to be resumed.
        prove: whether checkpoints are proven and judged during the training.
        measure_only: no training; prove and judge the checkpoints in `out`.
        profile_steps: no training; time so many steps, and write `out`/profile.txt.
        overrides: other settings as texts, of the trainer or of the recipe.
    """

    recipe: str
    out: Path
    data: Path | None = None
    seed: int = 0
    device: str | None = None
    steps: int | None = None
    seconds: float | None = None
    time_limit_s: float | None = None
    resume: bool = False
    prove: bool = True
    measure_only: bool = False
    profile_steps: int | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)


def run_training(
    options: TrainOptions,
    on_message: Callable[[str], None],
    on_step: Callable[[StepMetrics], None] | None = None,
) -> TrainedState:
    """Build the recipe and train it, or measure its checkpoints.

    Raises:
        TrainingError: wrong options or data, too little memory, or as `train` says.
    """
    try:
        with open_ranks(options.device) as (ranks, device):
            own = dataclasses.replace(options, device=device)
            if ranks.is_first:
                return _run(own, on_message, on_step, ranks)
            return _run(own, lambda _: None, None, ranks)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"there is too little memory to load or judge what {options.recipe} needs ({error}). "
            "Stop other processes, or use another --device; `lotline doctor` says what fits here"
        ) from error


def _run(
    options: TrainOptions,
    on_message: Callable[[str], None],
    on_step: Callable[[StepMetrics], None] | None,
    ranks: Ranks,
) -> TrainedState:
    _check(options)
    if ranks.are_several and (options.profile_steps is not None or options.measure_only):
        raise TrainingError("--profile and --measure-only take one process: leave torchrun out")
    with ranks.first_before_others():  # which find the views that the first one keeps
        training = _build(options, on_message, ranks)
    settings = _settings(options, training.settings)
    if options.profile_steps is not None:
        return _profile(training, settings, options.profile_steps, options.out, on_message)
    if options.measure_only:
        return prove_saved(training, settings, options.out, on_message)
    cpu_started = time.process_time()
    state = train(
        training.task,
        settings,
        options.out,
        export=training.export,
        resume=options.resume,
        on_step=on_step,
        on_message=on_message,
        recipe_settings=training.resolved,
        ranks=ranks,
    )
    if not ranks.is_first:
        return state
    ended = {
        "how": state.ended,
        "step": state.step,
        "seconds": round(state.seconds, 1),
        "cpu_s_of_this_process": round(time.process_time() - cpu_started, 1),
    }
    write_run(options.out, read_run(options.out) | {"ended": ended})
    return state


def _check(options: TrainOptions) -> None:
    """Check what needs no data: a recipe may take minutes to load them.

    Raises:
        TrainingError: with what to change.
    """
    _settings(options, TrainingSettings(steps=1))
    if options.out.exists() and not options.out.is_dir():
        raise TrainingError(f"{options.out} is a file: give a folder for the run")
    device = options.device or ""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"--device {device}: torch finds no CUDA device here. Leave it out")


def _profile(
    training: Training,
    settings: TrainingSettings,
    steps: int,
    out: Path,
    on_message: Callable[[str], None],
) -> TrainedState:
    from detection.training.profiling import profile_steps

    text = profile_steps(training, settings, steps)
    on_message(text)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "profile.txt", f"{text}\n")
    except OSError as error:
        raise TrainingError(f"{out / 'profile.txt'} cannot be written: {error}") from error
    return TrainedState("profiled", steps, 0.0, None, None, 0)


def _build(options: TrainOptions, on_message: Callable[[str], None], ranks: Ranks) -> Training:
    if options.measure_only and not options.prove:
        raise TrainingError("--measure-only proves checkpoints: leave out --no-prove")
    if options.profile_steps is not None and (options.measure_only or options.resume):
        raise TrainingError("--profile trains nothing: leave out --measure-only and --resume")
    names = {each.name for each in dataclasses.fields(TrainingSettings)}
    request = RecipeRequest(
        data=options.data,
        seed=options.seed,
        device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        overrides={name: text for name, text in options.overrides.items() if name not in names},
        judged=options.prove and options.profile_steps is None and ranks.is_first,
        on_message=on_message,
    )
    return build_training(options.recipe, request)


def _settings(options: TrainOptions, defaults: TrainingSettings) -> TrainingSettings:
    """The recipe's settings with the options; `--set` for the trainer's own is applied last."""
    chosen: dict[str, object] = {
        "seed": options.seed,
        "time_limit_s": options.time_limit_s,
    }
    if options.steps is not None and options.seconds is not None:
        raise TrainingError("the length of the run: give either --steps or --length")
    if options.steps is not None or options.seconds is not None:
        chosen |= {"steps": options.steps, "seconds": options.seconds}
    names = {each.name for each in dataclasses.fields(TrainingSettings)}
    own = {name: text for name, text in options.overrides.items() if name in names}
    for name in ("seed", "steps", "seconds", "time_limit_s"):
        if name in own:
            raise TrainingError(f"set {name} by its own option, not by --set")
    settings: TrainingSettings = dataclasses.replace(defaults, **chosen)  # type: ignore[arg-type]
    return changed(settings, own)
