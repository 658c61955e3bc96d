"""Logs: run, county and property of each record, as text and as JSON, without secrets."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context

import pytest

from pipeline import log
from pipeline.redaction import Redactor

SECRET = "kh7-Zb!qW2x&8"


@pytest.fixture(autouse=True)
def _restore_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, *log.OUR_LOGGERS)}
    monkeypatch.setattr(log, "redactor", Redactor())
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_of_text_is_the_level_and_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logging.getLogger("parcels.x").warning("%d lots are odd", 3)
    logging.getLogger("parcels.x").info("not at this level")
    log.configure("DEBUG")
    logging.getLogger("urllib3.connectionpool").info("a message of another library")
    assert capsys.readouterr().err == "WARNING: 3 lots are odd\n"


def test_a_line_of_text_names_the_run_and_the_property(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO")
    with log.log_context(run=12, county="shelby"):
        logging.getLogger("pipeline.x").info("begun")
        with log.log_context(property="a-17"):
            logging.getLogger("pipeline.x").info("failed (%s)", "outside_county")
    logging.getLogger("pipeline.x").warning("refused", extra={"property": "b-2"})
    assert capsys.readouterr().err.splitlines() == [
        "INFO: run 12: begun",
        "INFO: run 12, property a-17: failed (outside_county)",
        "WARNING: property b-2: refused",
    ]


def test_text_from_outside_starts_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO")
    with log.log_context(run=1, property="R1\nERROR: run 1: forged"):
        try:
            raise ValueError("bad\nERROR: run 1: forged \x1b[2J")
        except ValueError:
            logging.getLogger("parcels").exception("a server says\r\nERROR: run 1: forged")
    lines = capsys.readouterr().err.rstrip("\n").split("\n")
    assert lines[0] == "ERROR: run 1, property R1 ERROR: run 1: forged: a server says "
    assert len(lines) > 4
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


def test_a_json_record_has_time_level_logger_message_and_context(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("INFO", "json")
    with log.log_context(run=12, county="shelby"):
        logging.getLogger("detection.inference").info("a chip\nis odd")
        with log.log_context(property="a-1"):
            logging.getLogger("parcels.arcgis").warning("no answer")
        logging.getLogger("pipeline.store").error("refused", extra={"property": "b-2"})
    logging.getLogger("pipeline").info("done")
    first, second, third, last = records(capsys)
    when = datetime.fromisoformat(str(first.pop("time")))
    assert when.utcoffset() is not None
    assert when.tzname() == "UTC"
    assert first == {
        "level": "INFO", "logger": "detection.inference", "message": "a chip\nis odd",
        "run": 12, "county": "shelby",
    }  # fmt: skip
    assert (second["run"], second["property"]) == (12, "a-1")
    assert (third["run"], third["property"]) == (12, "b-2")
    assert not {"run", "county", "property"} & set(last)


def test_a_thread_that_copies_the_context_logs_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("WARNING", "json")
    warn = logging.getLogger("x").warning
    with log.log_context(run=7):
        for target in (contextvars.copy_context().run, lambda f, *a: f(*a)):
            thread = threading.Thread(target=target, args=(warn, "here"))
            thread.start()
            thread.join()
    with_run, without = records(capsys)
    assert with_run["run"] == 7
    assert "run" not in without


def _in_another_process(setup: log.LogSetup) -> None:
    log.configure_as(setup)
    logging.getLogger("worker").warning("it is %s", SECRET)


def test_a_worker_process_logs_alike(capfd: pytest.CaptureFixture[str]) -> None:
    log.redactor.add_secrets([SECRET])
    log.configure("WARNING", "json")
    with log.log_context(run=3, county="shelby"):
        setup = log.setup()
    assert SECRET not in repr(setup)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(_in_another_process, setup).result()
    (record,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (record["message"], record["run"], record["county"]) == ("it is ***", 3, "shelby")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["text", "json"])
def test_no_part_of_a_record_contains_a_known_secret(
    capsys: pytest.CaptureFixture[str], kind: log.LogFormat
) -> None:
    log.redactor.add_secrets([SECRET])
    log.configure("WARNING", kind)
    try:
        raise ValueError(f"{SECRET!r} is refused")
    except ValueError:
        logging.getLogger("x").exception("with %s", SECRET)
    warnings.warn(f"beware of {SECRET}", UserWarning, stacklevel=1)
    with log.log_context(property=SECRET):
        logging.getLogger("x").error("about it")
    text = capsys.readouterr().err
    assert SECRET not in text
    assert text.count("***") >= 3
    assert "ValueError" in text
    assert "beware of" in text


@pytest.mark.parametrize("kind", ["text", "json"])
def test_an_unexpected_error_is_logged_without_secrets(
    capsys: pytest.CaptureFixture[str], kind: log.LogFormat
) -> None:
    log.redactor.add_secrets([SECRET])
    log.configure("WARNING", kind)

    def fail() -> None:
        raise RuntimeError(f"postgresql://ann:{SECRET}@host/db")

    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    with pytest.MonkeyPatch.context() as patch:
        # pytest has a hook of its own for threads.
        patch.setattr(threading, "excepthook", log._uncaught_in_thread)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    text = capsys.readouterr().err
    assert SECRET not in text
    assert text.count("Traceback (most recent call last)") == 2
    if kind == "json":
        assert [json.loads(line)["level"] for line in text.splitlines()] == ["CRITICAL"] * 2


def test_a_record_that_cannot_be_formatted_is_reported_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.redactor.add_secrets([SECRET])
    log.configure()
    # Bypasses pytest's own handler, which fails the test on such a record.
    record = logging.LogRecord("x", logging.WARNING, "x.py", 7, "%d", (SECRET,), None)
    logging.getLogger().handlers[-1].handle(record)
    text = capsys.readouterr().err
    assert "cannot be logged" in text
    assert SECRET not in text


def test_a_record_goes_to_the_current_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.configure()
    bar = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", bar)  # as a live progress bar of rich does
        logging.getLogger("x").warning("above the bar")
    assert bar.getvalue() == "WARNING: above the bar\n"
    assert capsys.readouterr().err == ""


def test_importing_lotline_configures_no_logging() -> None:
    import subprocess

    code = (
        "import logging, sys, parcels, detection, pipeline.log, pipeline.settings;"
        "print(logging.getLogger().handlers, sys.excepthook is sys.__excepthook__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_record_is_printed_above_a_live_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.cli.progress import BarProgress

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log.configure()
    bar = BarProgress("properties")
    bar.start(10, "Here")
    for _ in range(10):
        thread = threading.Thread(target=logging.getLogger("x").warning, args=("[a] is odd",))
        thread.start()
        thread.join()
        bar.advance(1)
    bar.stop()
    # A terminal shows what follows the last carriage return of each line.
    written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    shown = [line.rpartition("\r")[2].rstrip() for line in written.splitlines()]
    assert shown.count("WARNING: [a] is odd") == 10
    assert "10/10" in shown[-1] or "10/10" in shown[-2]
