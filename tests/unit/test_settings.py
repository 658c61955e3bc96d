"""The environment's settings, and where Lotline keeps what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent.parent


def test_an_empty_variable_is_none() -> None:
    # `make` exports REGISTRY and the rest even when nobody set them.
    names = ("DATABASE_URL", "REGISTRY", "LOTLINE_HOME", "SAM3_WEIGHTS")
    settings = load_settings(dict.fromkeys(names, ""))
    assert settings.database_url is None
    assert settings.registry is None
    assert settings.sam3_weights is None


def test_weights_are_a_place_or_a_name_and_stay_as_they_are_written() -> None:
    for written in ("facebook/sam3", "~/models/sam3", "base.safetensors:delta.safetensors"):
        assert load_settings({"SAM3_WEIGHTS": written}).sam3_weights == written


def test_home_is_in_the_clone_and_not_the_users_home() -> None:
    assert load_settings({"HOME": "/somewhere"}).home == ROOT / ".lotline"


def test_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"LOTLINE_HOME": "here"}).home == tmp_path / "here"
