"""`lotline train`: train weights from nothing, or continue a run."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detection.training.recipes import RECIPE_NAMES
from pipeline.cli.output import echo, print_message
from pipeline.exit_codes import INTERRUPTED
from pipeline.learning.rounds.tiers import DECODER_TIERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detection.training.loop import StepMetrics, TrainedState

_PROGRESS_S = 5.0
# What learns from corrections.
_TRACED, _LABELLED = "landcover-decoder", "sam3-decoder"
# In the folder of the run: the corrections as training data.
_CORRECTIONS = "corrections"
# In --data: the windows of the first training.
_PACK = "pack.npz"


@click.command()
@click.argument("what", type=click.Choice(RECIPE_NAMES))
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of training data; sam3-tiny generates its own.",
)  # fmt: skip
@click.option(
    "--from", "manifest", metavar="MANIFEST",
    help="Train landcover-decoder or sam3-decoder on exported corrections: a folder or s3://…, or "
    "its manifest. --data then has what must not be forgotten.",
)  # fmt: skip
@click.option(
    "--tier", type=click.Choice(DECODER_TIERS),
    help="What sam3-decoder trains: masks only, also scores and boxes, also the fusion, or all.",
)  # fmt: skip
@click.option(
    "--weights", metavar="SOURCE",
    help="The weights that sam3-decoder begins with: sam3-tiny, a folder, a file or a hub id.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and data.")
@click.option("--device", help="Torch device; CUDA if there is one, else the CPU.")
@click.option("--steps", type=click.IntRange(1), help="Length of the run in steps.")
@click.option(
    "--length", metavar="DURATION",
    help="Length of the run in time of training, such as 45m; the learning rate follows it.",
)  # fmt: skip
@click.option(
    "--time-limit", metavar="DURATION",
    help="Save and end after this time, such as 25m; --resume continues.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint.")
@click.option("--no-prove", is_flag=True, help="Only save checkpoints; --measure-only later.")
@click.option(
    "--measure-only", is_flag=True, help="Train nothing: prove and judge the checkpoints in --out."
)
@click.option(
    "--profile", type=click.IntRange(1), metavar="STEPS",
    help="Train nothing: time so many steps, and write where the time goes to OUT/profile.txt.",
)  # fmt: skip
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE",
    help="Any other setting, such as learning_rate=3e-4; repeatable.",
)  # fmt: skip
def train(
    what: str,
    data: Path | None,
    manifest: str | None,
    tier: str | None,
    weights: str | None,
    out: Path,
    seed: int,
    device: str | None,
    steps: int | None,
    length: str | None,
    time_limit: str | None,
    resume: bool,
    no_prove: bool,
    measure_only: bool,
    profile: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Train weights of WHAT into a folder.

    Each checkpoint is exported, loaded as detection loads it, and judged; the best one's weights
    are in OUT/weights. Ctrl-C saves a checkpoint. Exits with 1 if no weights are proven.
    """
    from detection.training.entry import TrainOptions, run_training
    from detection.training.ranks import process_count
    from detection.training.settings import duration_s, pairs
    from pipeline.report.training_curves import draw_curves

    if process_count() > 1:
        raise click.UsageError(
            "torchrun cannot start this command: start `-m detection.training` with it instead, as "
            "docs/training.md says"
        )
    settings = _of_decoder(what, tier, weights, pairs(overrides))
    if manifest is not None:
        data, settings = _corrections(what, manifest, data, out, settings)
    options = TrainOptions(
        recipe=what,
        out=out,
        data=data,
        seed=seed,
        device=device,
        steps=steps,
        seconds=duration_s(length),
        time_limit_s=duration_s(time_limit),
        resume=resume,
        prove=not no_prove,
        measure_only=measure_only,
        profile_steps=profile,
        overrides=settings,
    )
    try:
        state = run_training(options, print_message, _Progress())
    finally:
        curves = draw_curves(out)
    if state.ended == "profiled":
        echo(f"Wrote {out / 'profile.txt'}")
        return
    _print_end(state, curves, what, _start_score(out))
    if state.ended == "interrupted":
        sys.exit(INTERRUPTED)
    if state.best is None and not no_prove:
        sys.exit(1)


def _of_decoder(
    what: str, tier: str | None, weights: str | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """The settings with the options of sam3-decoder."""
    given = {"tier": tier, "start": weights}
    options = {name: value for name, value in given.items() if value is not None}
    if options and what != _LABELLED:
        raise click.UsageError(f"--tier and --weights are options of {_LABELLED}, not of {what}")
    return {**settings, **options}


def _corrections(
    what: str, address: str, data: Path | None, out: Path, settings: Mapping[str, str]
) -> tuple[Path, dict[str, str]]:
    """The folder of training data that exported corrections become, and the training's settings."""
    from detection.training.atomic import write_text
    from pipeline.learning.labelled_folder import write_labelled_folder
    from pipeline.learning.registered_run import ADDRESS
    from pipeline.learning.traced_folder import open_manifest, write_traced_folder
    from pipeline.store.objects.folder_or_bucket import lasting_address

    if what not in (_TRACED, _LABELLED):
        raise click.UsageError(
            f"{what} does not learn from corrections: train {_TRACED} or {_LABELLED}"
        )
    objects, manifest = open_manifest(address)
    folder = out / _CORRECTIONS
    write = write_labelled_folder if what == _LABELLED else write_traced_folder
    counts = write(objects, manifest, folder)
    write_text(folder / "manifest.json", manifest.model_dump_json(indent=1))
    write_text(folder / ADDRESS, lasting_address(objects.address))
    echo(
        f"{counts['train']:,} corrected images to train on, {counts['validation']:,} to judge by",
        err=True,
    )
    if what == _LABELLED:
        return folder, _labelled_settings(data, settings)
    return folder, _traced_settings(folder, counts["validation"], data, settings)


def _labelled_settings(data: Path | None, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of sam3-decoder: its rehearsal, and one cache of views for all rounds."""
    from pipeline.settings import load_settings

    chosen = {"cache": str(load_settings().home / "views"), **settings}
    if data is not None:
        chosen.setdefault("rehearsal", str(data))
    elif "rehearsal" not in chosen:
        _warn_of_forgetting("--data, a folder of labelled chips")
    return chosen


def _traced_settings(
    folder: Path, judged: int, data: Path | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """The settings of landcover-decoder, whose folder gets the windows to rehearse."""
    from pipeline.learning.traced_folder import VALIDATION

    chosen = {**settings}
    if judged:
        chosen = {"judged_one_in": "0", "held_out": VALIDATION, **chosen}
    pack = None if data is None else data / _PACK
    if pack is not None and pack.is_file():
        link = folder / _PACK
        link.unlink(missing_ok=True)
        link.symlink_to(pack.resolve())
    elif "rehearsal_share" not in chosen:
        _warn_of_forgetting(f"--data, a folder with {_PACK}")
        chosen["rehearsal_share"] = "0"
    return chosen


def _warn_of_forgetting(what: str) -> None:
    print_message(
        f"without {what}, nothing of the first training is rehearsed: the weights may forget what "
        "the corrections do not show",
        logging.WARNING,
    )


class _Progress:
    """A line on standard error now and then."""

    def __init__(self) -> None:
        self._last_s = -_PROGRESS_S

    def __call__(self, metrics: StepMetrics) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= _PROGRESS_S:
            self._last_s = now_s
            echo(metrics.line(), err=True)


def _start_score(out: Path) -> float | None:
    """The score of the weights that the run began with; None if it began from nothing."""
    from detection.training.run_record import read_run

    found = read_run(out).get("recipe_settings", {}).get("start_score")
    return None if found is None else float(found)


def _print_end(
    state: TrainedState, curves: Path | None, what: str, start_score: float | None
) -> None:
    how = {
        "finished": "Finished",
        "time limit": "Stopped at the time limit; continue with --resume",
        "interrupted": "Stopped; continue with --resume",
        "measured": "Measured",
        "profiled": "Profiled",
    }[state.ended]
    echo(f"{how}: {what} after {state.step} steps, {state.seconds:.0f} s of training.")
    if state.best is None:
        print_message("no checkpoint is proven, so there are no weights to use", logging.WARNING)
    else:
        echo(f"Best weights: {state.best / 'weights'}, score {state.best_score}.")
        if start_score is not None and (state.best_score or 0.0) < start_score:
            print_message(
                f"they are worse than the weights to start from (score {start_score}): train "
                "longer, or on more lots",
                logging.WARNING,
            )
    if curves is not None:
        echo(f"Curves: {curves}")
