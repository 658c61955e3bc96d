"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

county_option = click.option(
    "--county", envvar="COUNTY", default="sample", show_default=True,
    help="A county of the registry.",
)  # fmt: skip
registry_option = click.option(
    "--registry", envvar="REGISTRY", type=click.Path(path_type=Path),
    help="Another registry file; its paths are relative to it.",
)  # fmt: skip
