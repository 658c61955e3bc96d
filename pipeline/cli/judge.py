"""`lotline models judge`: registered weights on reviewed lots that nothing learned from."""

from __future__ import annotations

import getpass
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parcels.untrusted import sanitize_text
from pipeline.cli.output import echo, echo_json, print_message
from pipeline.errors import StoreError

if TYPE_CHECKING:
    from detection.evaluation.evaluate import Evaluation
    from pipeline.cli.progress import TotalProgress
    from pipeline.learning.judging.gate_settings import GateSettings
    from pipeline.store.models.judgements import ModelJudgement

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.option(
    "--from", "address", metavar="MANIFEST",
    help="The corrections whose test judges: a folder or s3://…, or a manifest there. By default "
    "those of the training.",
)  # fmt: skip
@click.option(
    "--truth", type=_FOLDER,
    help="Folder of traced windows (windows.json and class codes): what the first training knew "
    "must not be unlearned.",
)  # fmt: skip
@click.option(
    "--imagery", multiple=True, type=_FOLDER, help="Folder of the traced tiles. Repeatable."
)
@click.option("--tiles", multiple=True, metavar="PATTERN", help='Only these tiles: "riverside_*".')
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE",
    help="A setting of the gate, such as min_lots=10; repeatable.",
)  # fmt: skip
@click.option("--by", default=getpass.getuser, help="Who judges; your user name by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def judge(
    number: int,
    address: str | None,
    truth: Path | None,
    imagery: tuple[Path, ...],
    tiles: tuple[str, ...],
    overrides: tuple[str, ...],
    by: str,
    as_json: bool,
) -> None:
    """Compare registered weights with the champion, on reviewed lots of the test.

    Prints one table and the gate's verdict, and stores both with the model. Exits with 1 if the
    model does not pass: it is worse somewhere, not better, or there are too few lots to decide.
    """
    from detection.training.settings import pairs
    from pipeline.learning.judging.gate_settings import gate_settings

    settings = gate_settings(pairs(overrides))
    with traced_windows(truth, imagery, tiles) as traced:
        found = run_judge(number, address, settings, traced, by)
    if as_json:
        echo_json(json.dumps(judgement_document(found), indent=2))
    else:
        for line in judgement_lines(found):
            echo(line)
    if found.facts.verdict != "passed":
        sys.exit(1)


def run_judge(
    number: int, address: str | None, gate: GateSettings, traced: Evaluation | None, by: str
) -> ModelJudgement:
    """Judge a model and store the judgement."""
    from pipeline.learning.judging.judge_candidate import JudgeRequest, judge_candidate
    from pipeline.learning.traced_folder import open_manifest
    from pipeline.settings import load_settings
    from pipeline.store.database import open_existing
    from pipeline.store.models.judgements import judgements, store_judgement
    from pipeline.store.models.promoted_segmenter import MODEL_CACHE
    from pipeline.store.models.versions import model_version

    settings = load_settings()
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise StoreError("there is no database yet: run `lotline batch` first")
        with database.engine.connect() as conn:
            model = model_version(conn, number)
        where = address or str((model.facts.settings or {}).get("corrections") or "")
        if not where:
            raise click.UsageError(
                "it is not known which corrections the model learned from: name them with --from"
            )
        objects, manifest = open_manifest(where)
        request = JudgeRequest(model, objects, manifest, gate, settings.home / MODEL_CACHE, traced)
        with _Bars() as bars:
            facts = judge_candidate(database.engine, request, print_message, bars)
        with database.engine.begin() as conn:
            store_judgement(conn, number, facts, by)
            return judgements(conn, number)[0]


def judgement_lines(found: ModelJudgement) -> list[str]:
    """The table of a judgement, and its sentence."""
    from pipeline.learning.judging.gate_table import gate_table

    facts = found.facts
    lines = [sanitize_text(line, 400) for line in gate_table(facts.gate_rows)]
    if facts.thresholds:
        chosen = ", ".join(f"{label} {value:g}" for label, value in facts.thresholds.items())
        lines += ["", f"Score thresholds with these weights: {chosen}"]
    return [*lines, "", sanitize_text(facts.sentence, 2000)]


def judgement_document(found: ModelJudgement) -> dict[str, Any]:
    """A judgement as JSON has it."""
    facts = found.facts
    return {
        "id": found.id,
        "model": found.model,
        "verdict": facts.verdict,
        "sentence": facts.sentence,
        "rows": list(facts.gate_rows),
        "champion_sha256": facts.champion_sha256,
        "base_sha256": facts.base_sha256,
        "data_sha256": facts.data_sha256,
        "settings": dict(facts.settings),
        "thresholds": dict(facts.thresholds),
        "figures": dict(facts.figures),
        "judged_by": found.judged_by,
        "created_at": found.created_at.isoformat(),
    }


@contextmanager
def traced_windows(
    truth: Path | None, imagery: tuple[Path, ...], tiles: tuple[str, ...]
) -> Iterator[Evaluation | None]:
    """The traced windows of the options; None without them."""
    if bool(truth) != bool(imagery):
        raise click.UsageError("--truth and --imagery belong together: give both, or none")
    if truth is None:
        yield None
        return
    from detection.evaluation.evaluate import Evaluation

    with tempfile.TemporaryDirectory(prefix="lotline-judge-") as scratch:
        yield Evaluation.open(truth, imagery, Path(scratch), tiles)


class _Bars:
    """A bar for each thing that takes long, one after the other."""

    def __init__(self) -> None:
        self._what = ""
        self._shown: TotalProgress | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        from pipeline.cli.progress import TotalProgress, progress

        if what != self._what or self._shown is None:
            self.__exit__()
            self._what, self._shown = what, TotalProgress(progress("steps"), what)
        self._shown.update(done, total)
