"""`lotline config`, the settings file and the logs, as a user sees them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import Any

import psycopg
import pytest
from user import LOTLINE, User

SECRET = "kh7Zb0qW2x8-very-secret"
URL = f"postgresql://ann:{SECRET}@127.0.0.1:9/lots"


def config(user: User, *flags: str, **env: str) -> dict[str, dict[str, Any]]:
    document = json.loads(user.run(*flags, "config", "--json", **env).stdout)
    return {row["name"]: row for row in document["settings"]}


def records(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def test_a_flag_overrides_the_environment_which_overrides_the_file(user: User) -> None:
    (user.folder / "lotline.toml").write_text(
        '# ours\nlog_level = "ERROR"\nsegmenter = "sam3-tiny"\nlabels = ["lawn", "pool"]\n'
    )
    rows = config(user, "--log-level", "info", SEGMENTER="sam3", LOG_LEVEL="DEBUG", LIMIT="")
    assert rows["log_level"] == {
        "name": "log_level", "variable": "LOG_LEVEL", "value": "INFO",
        "source": "flag", "place": "--log-level",
    }  # fmt: skip
    shown = {name: (row["value"], row["source"], row["place"]) for name, row in rows.items()}
    assert shown["segmenter"] == ("sam3", "environment", "SEGMENTER")
    assert shown["labels"] == (["lawn", "pool"], "file", "lotline.toml:4")
    assert shown["limit"] == (None, "default", "")
    assert shown["county"] == ("sample", "default", "")
    assert shown["home"][1:] == ("environment", "LOTLINE_HOME")
    rows = config(user)
    assert (rows["log_level"]["value"], rows["segmenter"]["value"]) == ("ERROR", "sam3-tiny")


def test_a_command_reads_the_file_and_a_flag_overrides_it(user: User) -> None:
    (user.folder / "lotline.toml").write_text('county = "nowhere-of-the-file"\n')
    assert "nowhere-of-the-file" in user.run("status", code=2).stderr
    assert "mine-at-all" in user.run("status", "--county", "mine-at-all", code=2).stderr


def test_no_secret_is_printed(user: User) -> None:
    for arguments in (("config",), ("config", "--json")):
        done = user.run(*arguments, DATABASE_URL=URL, SAM3_WEIGHTS=SECRET, HF_TOKEN=SECRET)
        assert SECRET not in done.stdout + done.stderr
        assert "postgresql://ann:***@127.0.0.1:9/lots" in done.stdout
    done = user.run("config", code=2, DATABASE_URL=SECRET)
    assert "DATABASE_URL: not a PostgreSQL URL" in done.stderr
    assert (
        "write postgresql://USER@HOST:PORT/DATABASE, with a password USER:PASSWORD@" in done.stderr
    )
    assert SECRET not in done.stdout + done.stderr


def test_the_table_fits_80_columns(user: User) -> None:
    (user.folder / "lotline.toml").write_text('county = "shelby"\nlabels = ["lawn", "pool"]\n')
    shown = user.run("config", LOTLINE_HOME="/data/lotline", DATABASE_URL=URL).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "lotline.toml:1  shelby" in shown
    assert "lotline.toml:2  lawn; pool" in shown


def test_a_wrong_file_prints_one_message(user: User) -> None:
    (user.folder / "lotline.toml").write_text('county = "sample"\nsegmentor = "sam3"\n')
    assert user.run("batch", code=2).stderr == (
        "error: lotline.toml:2: unknown setting 'segmentor'; did you mean 'segmenter'?\n"
    )


@pytest.mark.parametrize("command", ["config", "batch"])
def test_a_wrong_value_in_the_file_is_reported_with_its_line(user: User, command: str) -> None:
    (user.folder / "README.md").write_text("a file")
    (user.folder / "lotline.toml").write_text('county = "sample"\nout = "README.md"\n')
    text = user.run(command, code=2).stderr
    assert "Invalid value for 'out' in lotline.toml:2: Directory 'README.md' is a file." in text
    assert "--out" not in text


@pytest.mark.parametrize(
    ("line", "arguments", "ending"),
    [
        ('county = "shelbi"', ("status",), " ('county' is set in lotline.toml:2)"),
        ('registry = "nope.yaml"', ("status",), " ('registry' is set in lotline.toml:2)"),
        ('properties = "nope.csv"', ("batch",), " ('properties' is set in lotline.toml:2)"),
        ('labels = ["pool", "lawm"]', ("batch",), " ('labels' is set in lotline.toml:2)"),
        (f'database_url = "{URL}"', ("status",), " ('database_url' is set in lotline.toml:2)"),
    ],
)
def test_a_value_that_fails_in_use_is_reported_with_its_line(
    user: User, line: str, arguments: tuple[str, ...], ending: str
) -> None:
    (user.folder / "lotline.toml").write_text(f"# mine\n{line}\n")
    env = {"DATABASE_URL": ""} if "database_url" in line else {}
    assert user.run(*arguments, code=2, **env).stderr.endswith(f"{ending}\n")
    other = user.run("status", "--county", "mine", code=2).stderr
    assert ("lotline.toml" in other) == line.startswith("registry")


def test_an_error_names_the_variable(user: User) -> None:
    text = user.run("config", code=2, LIMIT="ten").stderr
    assert "environment variable LIMIT: 'ten' is not a whole number" in text
    assert "Usage: lotline config [OPTIONS]" in text
    assert "lotline batch" not in text
    text = user.run("batch", code=2, LIMIT="0").stderr
    assert "environment variable LIMIT: 0 is not in the range" in text


def test_an_unreachable_database_is_reported_without_its_password(user: User) -> None:
    text = user.run("batch", code=2, DATABASE_URL=URL).stderr
    assert "error: the database postgresql://ann:***@127.0.0.1:9/lots cannot be reached" in text
    assert "TCP/IP connections: check DATABASE_URL" in text
    assert text.count("\n") == 1
    assert SECRET not in text


@pytest.mark.parametrize("url", [SECRET, f"postgresql://ann@127.0.0.1:9/x?passwrod={SECRET}"])
def test_an_invalid_url_is_reported_as_json_without_its_password(user: User, url: str) -> None:
    done = user.run("status", code=2, DATABASE_URL=url, LOG_FORMAT="json")
    assert SECRET not in done.stdout + done.stderr
    assert [record["level"] for record in records(done.stderr)] == ["ERROR"]


def test_json_records_name_the_run_and_the_property(fresh: User) -> None:
    done = fresh.run("--log-format", "json", "--log-level", "info", "batch", "--limit", "12",
                     LABELS="lawn", LABEL=f"lawn={SECRET}", HF_TOKEN=SECRET)  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    logged = records(done.stderr)
    run = next(record["run"] for record in logged if "run" in record)
    of_properties = [record for record in logged if "property" in record]
    assert of_properties
    for record in of_properties:
        assert (record["run"], record["county"]) == (run, "sample")
        assert record["level"] == "INFO"
    assert {record["logger"] for record in logged} >= {
        "pipeline.cli.output",
        "pipeline.batch.lease_loop",
    }
    assert "12 of 12" in " ".join(record["message"] for record in logged)
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        stored = str(conn.execute("SELECT r::text FROM lotline.run r").fetchall())
    assert "lawn" in stored
    assert SECRET not in stored


def test_db_url_prints_the_password_to_a_pipe_but_not_to_a_terminal(
    fresh: User, server_url: str
) -> None:
    """`psql "$(lotline db url)"` works; a terminal may be recorded."""
    url = fresh.env["DATABASE_URL"] + f"&password={SECRET}"
    assert SECRET in fresh.run("db", "url", DATABASE_URL=url).stdout
    main, terminal = pty.openpty()
    try:
        subprocess.run(
            [str(LOTLINE), "db", "url"], cwd=fresh.folder, check=True, stdout=terminal,
            env={**fresh.env, "DATABASE_URL": url},
        )  # fmt: skip
        shown = os.read(main, 10_000).decode()
    finally:
        os.close(main)
        os.close(terminal)
    assert "password=***" in shown
    assert SECRET not in shown
