"""`lotline evaluate`: segmenters against truth traced by eye, side by side."""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path

import click

from pipeline.cli.output import echo

_NIR = "+nir"
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option(
    "--truth", required=True, type=_FOLDER, help="Folder of windows.json and class codes (PNG)."
)
@click.option(
    "--imagery", required=True, multiple=True, type=_FOLDER,
    help="Folder of the traced tiles, searched with its subfolders. Repeatable.",
)  # fmt: skip
@click.option(
    "--segmenter", "segmenters", multiple=True, metavar="NAME[+nir]",
    help="Segmenter to evaluate; it sees RGB, or near infrared too: spectral+nir. Repeatable.",
)  # fmt: skip
@click.option("--weights", help="Weights of the segmenter sam3: a folder, a file or a hub id.")
@click.option(
    "--landcover-weights", type=_FOLDER,
    help="Folder of landcover's weights; the package's own by default.",
)  # fmt: skip
@click.option(
    "--answers", "folders", multiple=True, type=_FOLDER,
    help="Folder of class codes (PNG) of another model or a second pass. Repeatable.",
)  # fmt: skip
@click.option(
    "--second-pass",
    type=_FOLDER,
    help="Folder of the tracer's second pass, for the tracer's own error.",
)
@click.option(
    "--tiles", multiple=True, metavar="PATTERN", help='Only these tiles: "riverside_*". Repeatable.'
)
@click.option(
    "--gsd-m", "distances_m", multiple=True, type=click.FloatRange(min=0.05, max=10.0),
    metavar="METRES", help="Resample the tiles to this ground sample distance. Repeatable.",
)  # fmt: skip
@click.option(
    "--lots", type=click.Path(path_type=Path, dir_okay=False),
    help="Lots (GeoJSON, or lots.json in pixels of the tiles), to compare lawn areas.",
)  # fmt: skip
@click.option(
    "--out", type=_FOLDER, default=Path("out/evaluation"), show_default=True,
    help="Folder of report.json, report.md and pictures.",
)  # fmt: skip
@click.option(
    "--absent-prompts", is_flag=True,
    help="Ask segmenters with text prompts also for things that no window shows.",
)  # fmt: skip
@click.option("--pictures/--no-pictures", default=True, help="Draw each window.")
def evaluate(
    truth: Path,
    imagery: tuple[Path, ...],
    segmenters: tuple[str, ...],
    weights: str | None,
    landcover_weights: Path | None,
    folders: tuple[Path, ...],
    second_pass: Path | None,
    tiles: tuple[str, ...],
    distances_m: tuple[float, ...],
    lots: Path | None,
    out: Path,
    absent_prompts: bool,
    pictures: bool,
) -> None:
    """Compare segmenters with truth that was traced by eye.

    Writes IoU with intervals, objects, false alarms, calibration and lawn areas as JSON and
    Markdown, and a picture of each window.
    """
    from detection.evaluation.evaluate import (
        Evaluation,
        evaluate_codes,
        evaluate_second_pass,
        evaluate_segmenter,
    )
    from detection.evaluation.rivals_table import rivals_markdown
    from pipeline.settings import weights_of

    if not (segmenters or folders or second_pass):
        raise click.UsageError(
            "nothing to evaluate: pass --segmenter NAME, --answers DIR or --second-pass DIR"
        )
    with tempfile.TemporaryDirectory(prefix="lotline-evaluation-") as scratch:
        evaluation = Evaluation.open(truth, imagery, Path(scratch), tiles, lots)
        results = []
        for segmenter, gsd_m in product(segmenters, distances_m or (None,)):
            name = segmenter.removesuffix(_NIR)
            result = evaluate_segmenter(
                evaluation, name, weights_of(name, weights, landcover_weights),
                nir=segmenter.endswith(_NIR), gsd_m=gsd_m, absent_prompts=absent_prompts,
            )  # fmt: skip
            results.append(result)
            echo(f"{results[-1].name}: {results[-1].figures['seconds']} s")
        results += [evaluate_codes(evaluation, folder) for folder in folders]
        figures = [result.figures for result in results]
        if second_pass is not None:
            figures.append(evaluate_second_pass(evaluation, truth, second_pass, lots).figures)
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        (out / "report.md").write_text(rivals_markdown(figures), encoding="utf-8")
        if pictures:
            from detection.evaluation.pictures import draw_windows
            from detection.evaluation.worst_pictures import draw_worst

            answers = {result.name: result.answers for result in results}
            draw_windows(out / "pictures", evaluation, answers)
            for number, result in enumerate(results, 1):
                draw_worst(out / f"worst_{number}.jpg", evaluation, result)
    echo(f"Wrote {out / 'report.md'}")
