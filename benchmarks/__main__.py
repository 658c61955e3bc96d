"""`python -m benchmarks [NAME …]`: run the benchmarks (all, or those named)."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "accuracy", "stages", "county", "rerun", "ray_overhead", "writing", "second_batch",
    "fresh_clone", "tricky_geometries", "registry_loading", "harvest", "points", "kept_parcels",
    "lots", "addresses", "review", "review_masks", "landcover",
    "sam3_tiers",
    "model_reload", "stale",
)  # fmt: skip


def main() -> None:
    """Run the benchmarks."""
    names = sys.argv[1:] or NAMES
    for name in names:
        if name not in NAMES:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    for name in names:
        importlib.import_module(f"benchmarks.{name}").run()


main()
