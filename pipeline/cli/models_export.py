"""`lotline models export`: weights in a folder, for another installation or a catalogue."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.output import echo
from pipeline.cli.review_database import review_transaction

# SAM3's licence is Meta's, which has no SPDX identifier; landcover's weights are Lotline's.
_LICENCES = {"landcover": "Apache-2.0"}


@click.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="A new folder.",
)  # fmt: skip
@click.option(
    "--license", "licence", metavar="SPDX",
    help='Licence of the weights, an SPDX identifier or "other"; that of their base by default.',
)  # fmt: skip
def export(number: int, folder: Path, licence: str | None) -> None:
    """Write registered weights and a STAC item that describes them into a new folder.

    The item (extension MLM) names base and data, hashes, licence, input and output. Another
    installation registers the folder with `lotline models add FOLDER`.
    """
    from pipeline.learning.model_package import ITEM_NAME, write_package
    from pipeline.settings import load_settings
    from pipeline.store.models.promoted_segmenter import MODEL_CACHE
    from pipeline.store.models.versions import model_states, model_version

    with review_transaction() as conn:
        found = model_version(conn, number)
        state = model_states(conn, [found])[number]
    chosen = licence or _LICENCES.get(found.facts.segmenter, "other")
    write_package(found, state, load_settings().home / MODEL_CACHE, folder, chosen)
    echo(f"{folder}: model {number}, {len(found.facts.files)} files and {ITEM_NAME} ({chosen})")
    echo(f"`lotline models add {folder}` registers it elsewhere")
