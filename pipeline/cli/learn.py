"""`lotline learn`: corrections become weights, one round after another; safe to run from cron."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.corrections import reviewed_counties, show_export
from pipeline.cli.judge import judgement_lines, run_judge, traced_windows
from pipeline.cli.models import promote_registered
from pipeline.cli.options import registry_option
from pipeline.cli.output import echo, print_message
from pipeline.cli.train import train
from pipeline.learning.rounds.tiers import DECODER_TIERS, LEARNERS
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detection.evaluation.evaluate import Evaluation
    from detection.registry.county import DetectionCounty
    from pipeline.learning.judging.gate_settings import GateSettings
    from pipeline.learning.rounds.learning_need import LearningNeed
    from pipeline.learning.rounds.round_state import RoundState
    from pipeline.learning.rounds.tiers import LearningTier
    from pipeline.settings import Settings
    from pipeline.store.database import Database
    from pipeline.store.models.versions import ModelVersion
    from pipeline.store.objects.folder_or_bucket import ObjectStore

_FOLDER = click.Path(path_type=Path, file_okay=False)
# Below LOTLINE_HOME: the corrections, the trainings, and the weights.
_CORRECTIONS, _ROUNDS, _WEIGHTS = "corrections", "learn", "registered"


@dataclass(frozen=True, slots=True)
class _Loop:
    """What one call of the command works with."""

    settings: Settings
    database: Database
    tier: LearningTier
    gate: GateSettings
    address: str
    weights_to: str
    options: tuple[str, ...]
    traced: Evaluation | None
    by: str

    @property
    def folder(self) -> Path:
        """Of the trainings."""
        return self.settings.home / _ROUNDS / self.tier.segmenter


@click.command()
@click.option(
    "--segmenter", type=click.Choice(LEARNERS), default="landcover", show_default=True,
    help="The segmenter that learns; sam3 learns from the weights of SAM3_WEIGHTS.",
)  # fmt: skip
@click.option(
    "--tier", "tier_name", type=click.Choice(DECODER_TIERS),
    help="What is trained of a SAM3, as `lotline train --tier`; heads by default.",
)  # fmt: skip
@click.option(
    "--to", "address", metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Where corrections are exported; LOTLINE_HOME/corrections by default.",
)  # fmt: skip
@click.option(
    "--weights-to", metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Where weights are stored; LOTLINE_HOME by default. Workers elsewhere need a bucket.",
)  # fmt: skip
@click.option(
    "--county", "names", multiple=True, metavar="KEY",
    help="County; repeatable. All that have results by default.",
)  # fmt: skip
@registry_option
@click.option(
    "--corrections", "wanted", type=click.IntRange(1), default=50, show_default=True,
    help="New corrections from which a round is worth its time.",
)  # fmt: skip
@click.option(
    "--gate", "gate_texts", multiple=True, metavar="NAME=VALUE",
    help="A setting of the gate, such as min_lots=10; repeatable.",
)  # fmt: skip
@click.option("--truth", type=_FOLDER, help="Traced windows, as for `lotline models judge`.")
@click.option("--imagery", multiple=True, type=_FOLDER, help="Folder of the traced tiles.")
@click.option("--tiles", multiple=True, metavar="PATTERN", help='Only these tiles: "riverside_*".')
@click.option("--promote", "promotes", is_flag=True, help="Promote what passes the gate.")
@click.option("--dry-run", is_flag=True, help="Only say what is new and what would be done.")
@click.option("--by", default=getpass.getuser, help="In whose name; your user name by default.")
@click.argument("train_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- TRAIN_OPTIONS]")
def learn(
    segmenter: str,
    tier_name: str | None,
    address: str | None,
    weights_to: str | None,
    names: tuple[str, ...],
    registry: Path | None,
    wanted: int,
    gate_texts: tuple[str, ...],
    truth: Path | None,
    imagery: tuple[Path, ...],
    tiles: tuple[str, ...],
    promotes: bool,
    dry_run: bool,
    by: str,
    train_options: tuple[str, ...],
) -> None:
    """Run a round of learning if there are enough new corrections: export, train, judge.

    Options of `lotline train` follow after --, such as -- --data DIR --time-limit 25m.

    Exits with 0 if there is nothing to do (too few corrections, another round runs, the training
    continues next time) or the candidate passed the gate, with 1 if it did not pass, and with 2
    at an error. A round that was killed is continued.
    """
    from detection.training.settings import pairs
    from pipeline.learning.judging.gate_settings import gate_settings
    from pipeline.learning.rounds.round_lock import round_lock
    from pipeline.learning.rounds.tiers import check_options, learning_tier
    from pipeline.settings import load_settings
    from pipeline.store.database import open_existing
    from pipeline.store.objects.folder_or_bucket import lasting_address

    gate = gate_settings(pairs(gate_texts))
    check_options(train_options)
    settings = load_settings()
    tier = learning_tier(segmenter, tier_name, settings.sam3_weights)
    with (
        traced_windows(truth, imagery, tiles) as traced,
        open_existing(settings.database_url, settings.home) as database,
    ):
        if database is None:
            echo("Nothing is reviewed yet: run `lotline batch`, then `lotline review`.")
            return
        loop = _Loop(
            settings, database, tier, gate,
            lasting_address(address or str(settings.home / _CORRECTIONS)),
            lasting_address(weights_to or str(settings.home / _WEIGHTS)),
            (*tier.options, *train_options), traced, by,
        )  # fmt: skip
        with round_lock(database.engine, loop.folder, segmenter) as is_ours:
            if not is_ours:
                echo(f"Another `lotline learn` of {segmenter} is running: nothing is done here.")
                return
            counties = reviewed_counties(database, settings, names, registry or settings.registry)
            passed = _learn(loop, counties, wanted, promotes=promotes, dry_run=dry_run)
    if passed is False:
        sys.exit(1)


def _learn(
    loop: _Loop,
    counties: Sequence[DetectionCounty],
    wanted: int,
    *,
    promotes: bool,
    dry_run: bool,
) -> bool | None:
    """Whether the round's candidate passed; None if no round ended."""
    from pipeline.learning.rounds.base_check import check_base
    from pipeline.learning.rounds.learning_need import learning_need
    from pipeline.learning.rounds.learning_round import waiting_for_promotion
    from pipeline.learning.rounds.round_state import begin_round, check_same_tier, read_round
    from pipeline.store.objects.folder_or_bucket import open_objects

    objects = open_objects(loop.address)
    with loop.database.engine.connect() as conn:
        need = learning_need(
            conn, objects, loop.tier.segmenter, [county.key for county in counties]
        )
    _show_need(need, wanted)
    waiting = waiting_for_promotion(loop.database.engine, loop.tier.segmenter)
    state = read_round(loop.folder)
    if state is not None:
        check_same_tier(loop.folder, state, loop.tier.options)
        echo(f"A round is under way, on the corrections {state.manifest_sha256[:12]}.")
    elif waiting is not None and promotes:
        echo(f"Model {waiting.id} passed the gate and waits to be promoted.")
    elif not need.is_enough(wanted):
        echo(f"Not enough for another round: {need.corrected} of {wanted} corrections.")
        return None
    check_base(loop.database.engine, loop.tier, loop.settings.sam3_weights)
    if dry_run:
        _show_plan(loop, state, waiting, promotes=promotes)
        return None
    if state is None and waiting is not None and promotes:
        promote_registered(waiting.id, loop.by, "learned from corrections")
        return True
    if state is None:
        state = _exported(loop, counties)
        if state is None:
            return None
        begin_round(loop.folder, state)
    return _round(loop, state, promotes=promotes)


def _exported(loop: _Loop, counties: Sequence[DetectionCounty]) -> RoundState | None:
    """Export what is reviewed, divided as before; None if no round could be judged."""
    from pipeline.cli.progress import TotalProgress, progress
    from pipeline.learning.corrections_manifest import read_newest
    from pipeline.learning.export_corrections import export_corrections
    from pipeline.learning.rounds.learning_round import judging_size
    from pipeline.learning.rounds.round_state import RoundState
    from pipeline.learning.spatial_split import SplitRule
    from pipeline.store.objects.folder_or_bucket import open_objects

    objects = open_objects(loop.address)
    before = read_newest(objects)
    rule = SplitRule()
    if before is not None and before.pairs:
        rule = SplitRule(before.block_m, before.validation, before.test, before.seed)
    shown = TotalProgress(progress("properties"), "exporting")
    try:
        report = export_corrections(loop.database.engine, counties, objects, rule, shown.update)
    finally:
        shown.stop()
    show_export(report, loop.address)
    lots, blocks = judging_size(report.manifest)
    if lots < loop.gate.min_lots or blocks < loop.gate.min_blocks:
        echo(
            f"No round: its weights could not be judged. The test has {count_of(lots, 'lots')} in "
            f"{count_of(blocks, 'blocks')} of ground, and the gate needs {loop.gate.min_lots} in "
            f"{loop.gate.min_blocks}: review lots in more places, or audit some."
        )
        return None
    if not report.manifest.of_split("train"):
        echo("No round: no reviewed lot is for training. Review lots in more places.")
        return None
    return RoundState(loop.address, _named(objects), loop.options)


def _named(objects: ObjectStore) -> str:
    """The hash of the newest manifest, under which it can be read."""
    from pipeline.errors import LearningError
    from pipeline.learning.corrections_manifest import (
        MANIFESTS,
        manifest_sha256,
        read_newest,
        write_manifest,
    )

    newest = read_newest(objects)
    if newest is None:
        raise LearningError(f"{objects.address} has no manifest: another process removed it")
    digest = manifest_sha256(newest)
    if objects.get(f"{MANIFESTS}{digest}.json") is None:
        write_manifest(objects, newest)  # an earlier version of Lotline wrote it otherwise
    return digest


def _round(loop: _Loop, state: RoundState, *, promotes: bool) -> bool | None:
    from pipeline.learning.rounds.learning_round import (
        Registration,
        is_champion,
        standing_judgement,
        trained_model,
    )
    from pipeline.learning.rounds.round_state import end_round

    engine = loop.database.engine
    model = trained_model(
        engine, state, loop.tier, loop.folder, Registration(loop.weights_to, loop.by), _run_train
    )
    if model is None:
        echo("The training stopped at its time limit: the next run continues it.")
        return None
    if is_champion(engine, model):  # promoted by hand meanwhile
        end_round(loop.folder, [state.run_folder(loop.folder)])
        return True
    echo(f"Model {model.id} learned from the corrections {state.manifest_sha256[:12]}.")
    found = standing_judgement(engine, model, state.manifest_sha256, loop.gate)
    if found is None:
        found = run_judge(model.id, state.manifest, loop.gate, loop.traced, loop.by)
    for line in judgement_lines(found):
        echo(line)
    end_round(loop.folder, [state.run_folder(loop.folder)])
    passed = found.facts.verdict == "passed"
    if passed and promotes:
        promote_registered(model.id, loop.by, "learned from corrections")
    elif passed:
        echo(f"`lotline models promote {model.id}` has batches use it")
    return passed


def _run_train(words: Sequence[str]) -> None:
    print_message(f"lotline train {' '.join(words)}")
    train.main([*words], prog_name="lotline train", standalone_mode=False)


def _show_need(need: LearningNeed, wanted: int) -> None:
    """The new corrections by label, in one table."""
    if need.unknown:
        print_message(need.unknown)
    since_last = {each.label: each for each in need.since_last}
    echo("New corrections on fully reviewed properties, which the champion did not learn from:")
    heads = ("label", "corrected", "confirmed", "lots")
    rows = [
        (each.label, str(each.corrected), str(each.confirmed), str(each.lots))
        for each in need.since_champion
    ]
    if not rows:
        echo("  none")
    else:
        widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
        for row in (heads, *rows):
            label, *numbers = (text for text in row)
            cells = [label.ljust(widths[0])]
            cells += [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
            echo(f"  {'  '.join(cells)}")
    total = sum(each.corrected for each in since_last.values())
    if need.last is None:
        echo(f"{count_of(total, 'corrections')} in all; a round begins with {wanted}.")
        return
    number, sentence = need.last
    echo(f"The last round made model {number}; the gate said: {sentence}.")
    echo(f"{count_of(total, 'corrections')} since then; a round begins with {wanted}.")


def _show_plan(
    loop: _Loop, state: RoundState | None, waiting: ModelVersion | None, *, promotes: bool
) -> None:
    if state is None and waiting is not None and promotes:
        echo(f"A run would promote model {waiting.id}.")
        return
    what = "export the corrections, " if state is None else "continue: "
    end = ", and promote them if they pass the gate" if promotes else ""
    echo(
        f"A run would {what}train {loop.tier.name}, register the weights and judge them on the "
        f"test{end}."
    )
    if state is None:
        _show_test_size(loop)


def _show_test_size(loop: _Loop) -> None:
    """What the export has to bring, for a round to begin: without it, nobody knows the test."""
    from pipeline.learning.corrections_manifest import read_newest
    from pipeline.learning.rounds.learning_round import judging_size
    from pipeline.store.objects.folder_or_bucket import open_objects

    before = read_newest(open_objects(loop.address))
    last = "there is no export yet"
    if before is not None:
        lots, blocks = judging_size(before)
        last = f"the last export has {count_of(lots, 'lots')} in {count_of(blocks, 'blocks')}"
    echo(
        f"It checks after the export whether the test is large enough for the gate "
        f"({loop.gate.min_lots} lots in {loop.gate.min_blocks} blocks of ground; {last}), and "
        "ends there if not."
    )
