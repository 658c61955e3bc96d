"""`lotline config`, the settings file and the logs, as a user meets them."""

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
ADDRESS = f"postgresql://ann:{SECRET}@127.0.0.1:9/lots"


def config(user: User, *flags: str, **env: str) -> dict[str, dict[str, Any]]:
    told = json.loads(user.run(*flags, "config", "--json", **env).stdout)
    return {row["name"]: row for row in told["settings"]}


def records(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def test_a_flag_goes_over_the_environment_over_the_file_over_the_default(user: User) -> None:
    (user.folder / "lotline.toml").write_text(
        '# ours\nlog_level = "ERROR"\nsegmenter = "sam3-tiny"\nlabels = ["lawn", "pool"]\n'
    )
    rows = config(user, "--log-level", "info", SEGMENTER="sam3", LOG_LEVEL="DEBUG", LIMIT="")
    assert rows["log_level"] == {
        "name": "log_level", "variable": "LOG_LEVEL", "value": "INFO",
        "source": "flag", "place": "--log-level",
    }  # fmt: skip
    told = {name: (row["value"], row["source"], row["place"]) for name, row in rows.items()}
    assert told["segmenter"] == ("sam3", "environment", "SEGMENTER")
    assert told["labels"] == (["lawn", "pool"], "file", "lotline.toml:4")
    assert told["limit"] == (None, "default", "")
    assert told["county"] == ("sample", "default", "")
    assert told["home"][1:] == ("environment", "LOTLINE_HOME")
    rows = config(user)
    assert (rows["log_level"]["value"], rows["segmenter"]["value"]) == ("ERROR", "sam3-tiny")


def test_a_command_takes_the_file_and_a_flag_goes_over_it(user: User) -> None:
    (user.folder / "lotline.toml").write_text('county = "nowhere-of-the-file"\n')
    assert "nowhere-of-the-file" in user.run("status", code=2).stderr
    assert "mine-at-all" in user.run("status", "--county", "mine-at-all", code=2).stderr


def test_no_secret_is_shown(user: User) -> None:
    for arguments in (("config",), ("config", "--json")):
        done = user.run(*arguments, DATABASE_URL=ADDRESS, SAM3_WEIGHTS=SECRET, HF_TOKEN=SECRET)
        assert SECRET not in done.stdout + done.stderr
        assert "postgresql://ann:***@127.0.0.1:9/lots" in done.stdout
    done = user.run("config", code=2, DATABASE_URL=SECRET)
    assert "DATABASE_URL: it is not the address of a PostgreSQL" in done.stderr
    assert (
        "write postgresql://USER@HOST:PORT/DATABASE, with a password USER:PASSWORD@" in done.stderr
    )
    assert SECRET not in done.stdout + done.stderr


def test_it_fits_a_terminal_of_80_columns(user: User) -> None:
    (user.folder / "lotline.toml").write_text('county = "shelby"\nlabels = ["lawn", "pool"]\n')
    shown = user.run("config", LOTLINE_HOME="/data/lotline", DATABASE_URL=ADDRESS).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "lotline.toml:1  shelby" in shown
    assert "lotline.toml:2  lawn; pool" in shown


def test_a_wrong_file_is_one_message(user: User) -> None:
    (user.folder / "lotline.toml").write_text('county = "sample"\nsegmentor = "sam3"\n')
    assert user.run("batch", code=2).stderr == (
        "error: lotline.toml:2: there is no setting 'segmentor'; did you mean 'segmenter'?\n"
    )


@pytest.mark.parametrize("command", ["config", "batch"])
def test_a_wrong_value_of_the_file_is_told_with_its_line(user: User, command: str) -> None:
    (user.folder / "README.md").write_text("a file")
    (user.folder / "lotline.toml").write_text('county = "sample"\nout = "README.md"\n')
    said = user.run(command, code=2).stderr
    assert "Invalid value for 'out' of lotline.toml:2: Directory 'README.md' is a file." in said
    assert "--out" not in said


@pytest.mark.parametrize(
    ("line", "arguments", "says"),
    [
        ('county = "shelbi"', ("status",), "; 'county' stands in lotline.toml:2"),
        ('registry = "nope.yaml"', ("status",), "; 'registry' stands in lotline.toml:2"),
        ('properties = "nope.csv"', ("batch",), "; 'properties' stands in lotline.toml:2"),
        ('labels = ["pool", "lawm"]', ("batch",), "; 'labels' stands in lotline.toml:2"),
        (f'database_url = "{ADDRESS}"', ("status",), "; 'database_url' stands in lotline.toml:2"),
    ],
)
def test_what_is_found_wrong_later_is_told_with_its_line_too(
    user: User, line: str, arguments: tuple[str, ...], says: str
) -> None:
    (user.folder / "lotline.toml").write_text(f"# mine\n{line}\n")
    env = {"DATABASE_URL": ""} if "database_url" in line else {}
    assert user.run(*arguments, code=2, **env).stderr.endswith(f"{says}\n")
    other = user.run("status", "--county", "mine", code=2).stderr
    assert ("lotline.toml" in other) == line.startswith("registry")


def test_a_wrong_variable_is_named(user: User) -> None:
    said = user.run("config", code=2, LIMIT="ten").stderr
    assert "LIMIT of the environment: 'ten' is not a whole number" in said
    assert "Usage: lotline config [OPTIONS]" in said
    assert "lotline batch" not in said
    said = user.run("batch", code=2, LIMIT="0").stderr
    assert "LIMIT of the environment: 0 is not in the range" in said


def test_a_database_that_does_not_answer_tells_no_password(user: User) -> None:
    said = user.run("batch", code=2, DATABASE_URL=ADDRESS).stderr
    assert "error: the database postgresql://ann:***@127.0.0.1:9/lots cannot be reached" in said
    assert "TCP/IP connections: check DATABASE_URL" in said
    assert said.count("\n") == 1
    assert SECRET not in said


@pytest.mark.parametrize("address", [SECRET, f"postgresql://ann@127.0.0.1:9/x?passwrod={SECRET}"])
def test_an_address_that_is_none_tells_no_password_to_a_program(user: User, address: str) -> None:
    done = user.run("status", code=2, DATABASE_URL=address, LOG_FORMAT="json")
    assert SECRET not in done.stdout + done.stderr
    assert [record["level"] for record in records(done.stderr)] == ["ERROR"]


def test_a_small_batch_in_json_says_of_which_run_and_property(fresh: User) -> None:
    done = fresh.run("--log-format", "json", "--log-level", "info", "batch", "--limit", "12",
                     LABELS="lawn", LABEL=f"lawn={SECRET}", HF_TOKEN=SECRET)  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    told = records(done.stderr)
    run = next(record["run"] for record in told if "run" in record)
    of_properties = [record for record in told if "property" in record]
    assert of_properties
    for record in of_properties:
        assert (record["run"], record["county"]) == (run, "sample")
        assert record["level"] == "INFO"
    assert {record["logger"] for record in told} >= {"pipeline.told", "pipeline.batch.lease_loop"}
    assert "12 of 12" in " ".join(record["message"] for record in told)
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        kept = str(conn.execute("SELECT r::text FROM lotline.run r").fetchall())
    assert "lawn" in kept
    assert SECRET not in kept


def test_the_databases_address_shows_its_password_to_programs_and_not_to_a_screen(
    fresh: User, server_url: str
) -> None:
    """`psql "$(lotline db url)"` works; a terminal may be looked at or kept."""
    address = fresh.env["DATABASE_URL"] + f"&password={SECRET}"
    assert SECRET in fresh.run("db", "url", DATABASE_URL=address).stdout
    main, screen = pty.openpty()
    try:
        subprocess.run(
            [str(LOTLINE), "db", "url"], cwd=fresh.folder, check=True, stdout=screen,
            env={**fresh.env, "DATABASE_URL": address},
        )  # fmt: skip
        shown = os.read(main, 10_000).decode()
    finally:
        os.close(main)
        os.close(screen)
    assert "password=***" in shown
    assert SECRET not in shown
