"""Settings: the environment overrides lotline.toml, which overrides the defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.segmenters import SEGMENTERS
from pipeline.errors import SettingsError, StoreError
from pipeline.redaction import Redactor
from pipeline.settings import (
    CommandSettings,
    FileSettings,
    Settings,
    env_variable,
    load_settings,
    settings_file,
)
from pipeline.settings_file import as_toml
from pipeline.store.database import open_engine

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "lotline.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_variable_counts_as_not_set() -> None:
    # `make` exports REGISTRY and the rest even when nobody set them.
    names = ("DATABASE_URL", "REGISTRY", "LOTLINE_HOME", "SAM3_WEIGHTS", "LOTLINE_CONFIG")
    settings = load_settings(dict.fromkeys(names, ""))
    assert settings.database_url is None
    assert settings.registry is None
    assert settings.sam3_weights is None


def test_weights_are_not_resolved_as_a_path() -> None:
    for written in ("facebook/sam3", "~/models/sam3", "base.safetensors:delta.safetensors"):
        assert load_settings({"SAM3_WEIGHTS": written}).sam3_weights == written


def test_home_is_in_the_clone() -> None:
    assert load_settings({"HOME": "/somewhere"}).home == ROOT / ".lotline"


def test_home_is_absolute(folder: Path) -> None:
    assert load_settings({"LOTLINE_HOME": "here"}).home == folder / "here"


def test_a_home_of_an_unknown_user_is_an_error() -> None:
    with pytest.raises(SettingsError, match="LOTLINE_HOME: the user after ~ has no home folder"):
        load_settings({"LOTLINE_HOME": "~nobody-of-that-name/x"})


def test_the_segmenters_are_those_of_detection() -> None:
    assert get_args(FileSettings.model_fields["segmenter"].annotation) == SEGMENTERS


VALID_URLS = [
    "postgresql://ann:hunter2@db.example:5432/lots?sslmode=require",
    "postgresql://ann:pa/ss@db/lots",
    "postgres://db", "postgresql+psycopg:///lots?host=/run/x@y", "postgresql://ann@[::1]:5432/lots",
]  # fmt: skip
INVALID_URLS = [
    "hunter2", "db.example/lots", "mysql://ann@db/lots", "postgresql://ann:hunt@er2@db/lots",
    "postgresql://ann:hunter2@db:54x2/lots",
]  # fmt: skip


@pytest.mark.parametrize("url", VALID_URLS)
def test_a_database_url_that_the_store_can_open_is_valid(url: str) -> None:
    assert load_settings({"DATABASE_URL": url}).database_url == url
    open_engine(url).dispose()


@pytest.mark.parametrize("url", INVALID_URLS)
def test_an_invalid_database_url_is_rejected_and_not_printed(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: not a PostgreSQL URL") as caught:
        load_settings({"DATABASE_URL": url})
    assert "hunt" not in str(caught.value)
    with pytest.raises(StoreError):
        open_engine(url)


def test_settings_are_frozen_and_their_repr_has_no_secret() -> None:
    settings = Settings(database_url="postgresql://ann:hunter2@db/lots")
    assert "hunter2" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.registry = Path("x")  # type: ignore[misc]  # that it fails is the test


def test_the_environment_overrides_the_file(folder: Path) -> None:
    write(folder, 'sam3_weights = "mine"\nregistry = "counties.yaml"\n')
    settings = load_settings({"SAM3_WEIGHTS": "facebook/sam3"})
    assert settings.sam3_weights == "facebook/sam3"
    assert settings.registry == Path("counties.yaml")


def test_lotline_config_names_the_file_and_paths_are_relative_to_it(folder: Path) -> None:
    write(folder, 'sam3_weights = "not read"')
    (folder / "etc").mkdir()
    write(folder, 'home = "data"\nregistry = "/counties.yaml"\nout = "../maps"', "etc/mine.toml")
    environment = {"LOTLINE_CONFIG": "etc/mine.toml"}
    settings = load_settings(environment)
    assert settings.home == folder / "etc" / "data"
    assert settings.registry == Path("/counties.yaml")
    assert settings.sam3_weights is None
    assert settings_file(environment).values["out"] == Path("etc/../maps")


def test_an_empty_text_in_the_file_counts_as_not_set(folder: Path) -> None:
    write(folder, 'database_url = ""\nhome = ""')
    assert load_settings({}) == Settings(home=ROOT / ".lotline")


def test_the_file_may_set_everything_except_per_run_options(folder: Path) -> None:
    lines = {
        name: as_toml(field.examples[0] if field.examples else field.default)
        for name, field in FileSettings.model_fields.items()
    }
    write(folder, "".join(f"# a line\n{name} = {value}\n" for name, value in lines.items()))
    file = settings_file({})
    assert set(file.values) == set(FileSettings.model_fields)
    assert file.location("home") == "lotline.toml:4"
    assert file.values["labels"] == ("lawn", "pool")
    assert file.values["limit"] == 100


@pytest.mark.parametrize("name", ["again", "retry_failed", "all_lots", "yes"])
def test_the_file_cannot_set_per_run_options(folder: Path, name: str) -> None:
    write(folder, f"{name} = true")
    flag = f"--{name.replace('_', '-')}"
    message = (
        rf"lotline.toml:1: '{name}' is a per-run option; remove it and pass {flag} "
        rf"\({name.upper()}=1\)"
    )
    with pytest.raises(SettingsError, match=message):
        settings_file({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('segmentor = "x"', "lotline.toml:2: unknown setting 'segmentor'; did you mean 'seg"),
        ('LOTLINE_HOME = "x"', "unknown setting 'LOTLINE_HOME'; did you mean 'home'"),
        ('when-unavailable = "defer"', "did you mean 'when_unavailable'"),
        ("xyzzy = 1", "unknown setting 'xyzzy'; `lotline config` lists all"),
        ('[batch]\nsegmenter = "x"', "lotline.toml:2: settings are top-level keys"),
        ('limit = "ten"', "lotline.toml:2: 'limit' should be a whole number; .* limit = 100"),
        ("limit = 0", "'limit' should be greater than or equal to 1"),
        ("limit = true", "'limit' should be a whole number"),
        ('labels = "lawn"', r"'labels' should be a valid list; .* labels = \[\"lawn\", "),
        ('labels = ["lawn", 3]', "each item of 'labels' should be a valid string"),
        ('when_unavailable = "wait"', "'when_unavailable' should be 'defer' or 'buffer'"),
        ('log_level = "loud"', "'log_level' should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("county = 47157", "'county' should be a valid string; write for example county"),
        ('segmenter = "sam4"', "'segmenter' should be 'spectral', 'landcover', 'sam3', 'sam3"),
        ("bbox = [1, 2, 3]", "toml:2: 'bbox': '1,2,3' is not four numbers; write WEST.*35.2$"),
        ("bbox = 7", "toml:2: 'bbox' should be a valid list; write for example bbox = "),
        ("bbox = [-89.9, 35.0, -90.1, 35.2]", "toml:2: 'bbox': .* west is not less than east"),
        ("bbox = [[1], 2, 3, 4]", "toml:2: 'bbox': .* is not four numbers"),
        ('database_url = "db/lots"', "toml:2: 'database_url': not a PostgreSQL URL"),
        ('home = "~nobody-of-that-name"', "'home': the user after ~ has no home folder"),
        ("limit = ", "lotline.toml is not valid TOML: Invalid value .at line 2"),
        ("limit = 1\nlimit = 2", "lotline.toml is not valid TOML: Cannot overwrite a value"),
        ("x = " + "[" * 10_000, "lotline.toml is not valid TOML"),
    ],
)  # fmt: skip
def test_an_error_in_the_file_names_its_line(folder: Path, text: str, message: str) -> None:
    write(folder, f"# settings\n{text}\n")
    with pytest.raises(SettingsError, match=message):
        load_settings({})


def test_all_errors_of_the_file_are_reported_at_once(folder: Path) -> None:
    write(folder, 'limit = "ten"\n\nsegmentor = "x"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    first, second = str(caught.value).splitlines()
    assert first.startswith("lotline.toml:1: 'limit'")
    assert second.startswith("lotline.toml:3: unknown setting")


def test_an_unreadable_file_is_an_error(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"LOTLINE_CONFIG: there is no file x\.toml"):
        load_settings({"LOTLINE_CONFIG": "x.toml"})
    (folder / "lotline.toml").mkdir()
    with pytest.raises(SettingsError, match=r"lotline\.toml cannot be read: Is a directory"):
        load_settings({})
    (folder / "lotline.toml").rmdir()
    (folder / "lotline.toml").write_bytes(b'county = "\xff"')
    with pytest.raises(SettingsError, match=r"lotline\.toml is not UTF-8 text \(byte 10\)"):
        load_settings({})


@given(secret=st.text("abcdefXYZ0189!$~", min_size=8, max_size=30))
def test_errors_never_print_a_value_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, secret: str
) -> None:
    folder = tmp_path_factory.mktemp("wrong")
    for text in (f'database_urI = "{secret}"', f'database_url = ["{secret}"]',
                 f'limit = "{secret}"', f'log_level = "{secret}"'):  # fmt: skip
        path = write(folder, text)
        with pytest.raises(SettingsError) as caught:
            load_settings({"LOTLINE_CONFIG": str(path)})
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.__cause__)


@given(secret=st.text("abcdefXYZ0189!$~", min_size=12, max_size=30))
def test_the_password_of_the_database_url_is_masked(secret: str) -> None:
    redactor = Redactor()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.settings.redactor", redactor)
        load_settings({"DATABASE_URL": f"postgresql://ann:{secret}@db/lots"})
    assert secret not in redactor.text(f"it is {secret}")


def test_variables_are_the_names_in_capitals() -> None:
    assert env_variable("home") == "LOTLINE_HOME"
    assert env_variable("when_unavailable") == "WHEN_UNAVAILABLE"


def test_every_setting_has_a_description() -> None:
    for name, field in CommandSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    "line", ['home = "/a\\u0000b"', 'labels = ["a\\u0000"]', 'out = "\\u0000"']
)
def test_a_nul_byte_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "lotline.toml"
    file.write_text(line)
    with pytest.raises(SettingsError, match="contains a NUL byte"):
        settings_file({"LOTLINE_CONFIG": str(file)})


def test_a_limit_that_no_database_counts_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lotline.toml"
    file.write_text(f"limit = {10**30}")
    with pytest.raises(SettingsError, match="limit"):
        settings_file({"LOTLINE_CONFIG": str(file)})


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_a_settings_file_that_is_no_file_is_refused(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lotline.toml").symlink_to(target)
    with pytest.raises(SettingsError, match=r"is a (device|pipe), not a settings file"):
        settings_file({"LOTLINE_CONFIG": str(tmp_path / "lotline.toml")})


@pytest.mark.parametrize("path", ["/data/a\nb", "/data/\x1b[31m", "/data/\x7f"],
                         ids=["line break", "escape", "delete"])  # fmt: skip
def test_a_home_with_control_characters_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match=r"LOTLINE_HOME.*control character"):
        load_settings({"LOTLINE_HOME": path})
