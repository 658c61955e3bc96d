"""What every test has: no network beyond this machine, and the real data where it lies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

sys.path.insert(0, str(ROOT / "tests"))

from netblock.sitecustomize import install  # noqa: E402

install()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real imagery and parcels; not part of the project."""
    folder = SHARED / "data" / "real"
    if not folder.is_dir():
        pytest.skip("real imagery and parcels are not here (../shared/data/real)")
    return folder


@pytest.fixture(scope="session")
def real_registry(real_data: Path) -> Path:
    """The registry of the real neighbourhoods."""
    return SHARED / "registry.yaml"
