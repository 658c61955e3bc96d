"""`lotline doctor`'s parts: no check hangs or ends the report, and each says what to do."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from smalldisk import small_disk

from pipeline.doctor import machine, packages, services, torch_probe
from pipeline.doctor.checks import CheckRow, DoctorCheck, run_checks
from pipeline.doctor.fits import SEGMENTER_NEEDS, TIER_NEEDS, fit_rows
from pipeline.settings import Settings

GIB = 1 << 30
NEEDS = (*SEGMENTER_NEEDS, *TIER_NEEDS)


def test_a_check_that_hangs_or_fails_is_a_row_and_the_others_go_on() -> None:
    never = threading.Event()

    def hangs() -> list[CheckRow]:
        never.wait()
        return []

    def fails() -> list[CheckRow]:
        raise ZeroDivisionError("by\nzero")

    rows = list(run_checks([
        DoctorCheck("hangs", hangs, limit_s=0.1, needed=True, advice="Wait"),
        DoctorCheck("fails", fails),
        DoctorCheck("fine", lambda: [CheckRow("a", "ok", "1"), CheckRow("b", "ok", "2")]),
    ]))  # fmt: skip
    never.set()
    assert rows[0] == CheckRow("hangs", "problem", "no answer within 0.1 s", "Wait")
    assert (rows[1].check, rows[1].level) == ("fails", "warning")
    assert rows[1].found == "the check failed: ZeroDivisionError: by zero"
    assert "report this line" in rows[1].cure
    assert [row.check for row in rows[2:]] == ["a", "b"]


def meminfo(root: Path, total_gib: float, available_gib: float) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: {int(total_gib * GIB) >> 10} kB\nMemAvailable: "
        f"{int(available_gib * GIB) >> 10} kB\n"
    )


def test_memory_of_a_machine_without_limits(tmp_path: Path) -> None:
    meminfo(tmp_path, 16, 12)
    assert machine.memory_state(tmp_path) == machine.MemoryState(16, 12, "machine")


def test_memory_of_a_container_is_its_cgroups_limit(tmp_path: Path) -> None:
    meminfo(tmp_path, 64, 50)
    (tmp_path / "proc/self/cgroup").write_text("0::/pod/task\n")
    task = tmp_path / "sys/fs/cgroup/pod/task"
    task.mkdir(parents=True)
    (task / "memory.max").write_text("max\n")
    (task / "memory.current").write_text("0\n")
    (task.parent / "memory.max").write_text(f"{8 * GIB}\n")
    (task.parent / "memory.current").write_text(f"{6 * GIB}\n")
    (task.parent / "memory.stat").write_text(f"anon 7\ninactive_file {GIB}\n")
    expected = machine.MemoryState(8, 3, "container's limit")
    assert machine.memory_state(tmp_path) == expected


@pytest.mark.parametrize(("limit", "free"), [(4 * GIB, 3), (9223372036854771712, 50)])
def test_memory_of_a_first_version_cgroup(tmp_path: Path, limit: int, free: int) -> None:
    meminfo(tmp_path, 64, 50)
    group = tmp_path / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{GIB}\n")
    state = machine.memory_state(tmp_path)
    assert state is not None
    assert state.free_gib == free


def test_the_memory_of_this_machine_is_found() -> None:
    state = machine.memory_state()
    assert state is not None
    assert 0 < state.free_gib <= state.total_gib


def test_instruction_sets() -> None:
    text = "processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16\nbugs : none\n"
    assert {"avx512_bf16", "amx_bf16"} <= machine.cpu_flags(text)
    assert machine.cpu_flags("Features : fp asimd bf16") == {"fp", "asimd", "bf16"}
    assert machine.cpu_flags("") == set()


def test_a_full_disk_at_home_is_a_problem(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "8m") as disk:
        row = machine.disk_rows(disk / "not" / "there")[0]
    assert (row.check, row.level) == ("disk", "problem")
    assert "0.0 GiB free at LOTLINE_HOME" in row.found
    assert row.cure == "Free disk space, or set LOTLINE_HOME to another disk"


def test_an_extra_that_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "pytest>=1; extra == 'review'",
        'not-a-package-of-anybody>=2; extra == "ray"',
        "lotline[pipeline]; extra == 'ray'",
        "also-not-a-package; extra == 'pipeline'",
    ]
    monkeypatch.setattr(packages, "requires", lambda _: lines)
    rows = packages.extra_rows({"pipeline": "batches", "review": "panel", "ray": "ENGINE=ray"})
    assert rows[0] == CheckRow("extras", "ok", "review")
    assert rows[1:] == [
        CheckRow("extras", "problem", "pipeline (batches) lacks also-not-a-package",
                 "pip install 'lotline[pipeline]'"),
        CheckRow("extras", "warning", "ray (ENGINE=ray) lacks not-a-package-of-anybody",
                 "pip install 'lotline[ray]'"),
    ]  # fmt: skip


def levels(gpu_gib: float | None, memory_gib: float = 16.0) -> dict[str, str]:
    rows = fit_rows(NEEDS, gpu_gib, "" if gpu_gib is None else "NVIDIA X", memory_gib)
    assert all(row.cure for row in rows if row.level != "ok")
    return {row.check: f"{row.level} {row.found.partition(':')[0]}" for row in rows}


def test_what_fits_into_the_memory() -> None:
    large = levels(139.0)
    assert large.pop("tier deep").startswith("ok may fit")  # not measured, so not promised
    assert set(large.values()) == {"ok fits"}
    middle = levels(8.0)
    assert middle["tier heads"].startswith("ok may fit")
    assert middle["tier full"] == "warning does not fit"
    assert middle["fits landcover"] == "ok fits"
    assert set(levels(0.5).values()) == {"warning does not fit"}
    cpu = levels(None)
    assert cpu["fits landcover"] == cpu["tier landcover-decoder"] == "ok fits"
    assert cpu["tier mask"].startswith("warning too slow on a CPU")
    assert levels(None, 0.8)["fits landcover"] == "warning does not fit"


# Answers like the probe; crashes, is killed or hangs at these names.
PROBE = """
import json, os, signal, sys
for name, source in json.load(sys.stdin):
    if name == "crashes":
        sys.exit("a library broke")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hangs":
        signal.pause()
    print(json.dumps({"name": name, "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
                      "offline": os.environ["HF_HUB_OFFLINE"]}), flush=True)
"""


def test_a_probe_that_dies_or_hangs_is_blamed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_probe, "_PROBE", [sys.executable, "-c", PROBE])
    names = ["one", "crashes", "two", "killed", "three"]
    answers = torch_probe.probe([[name, None] for name in names], 60.0, without_gpu=True)
    assert [answer["name"] for answer in answers] == names
    assert answers[1]["failed"] == "its process ended with 1: a library broke"
    assert answers[3]["failed"] == ("its process ended with -9 (killed; perhaps too little memory)")
    assert {(answers[i]["gpus"], answers[i]["offline"]) for i in (0, 2, 4)} == {("", "1")}
    [answer] = torch_probe.probe([["hangs", None]], 0.2)
    assert answer["failed"].startswith("no answer within 0.2 s")
    assert torch_probe._running == set()


def test_weights_that_do_not_load_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    errors = {
        "landcover": "model.safetensors is damaged",
        "sam3": "facebook/sam3 cannot be downloaded (X), and there is no local copy. Try again",
        "sam3-nano": "the weights are not in this installation",
    }

    def answers(asked: list[list[str]], _: float, *, without_gpu: bool) -> list[dict[str, object]]:
        return [
            {"name": name, "error": errors.get(name, ""), "sha256": "5a" * 32, "seconds": 1.0}
            for name, _ in asked
        ]

    monkeypatch.setattr(torch_probe, "probe", answers)
    monkeypatch.setattr(torch_probe, "has_hub_token", lambda: True)
    settings = Settings(home=tmp_path, sam3_weights="facebook/sam3")
    rows = {row.check: row for row in torch_probe.segmenter_rows(settings)}
    assert rows["segmenter landcover"].level == "problem"  # the default
    assert "Install Lotline again" in rows["segmenter landcover"].cure
    assert rows["segmenter spectral"] == CheckRow("segmenter spectral", "ok", "needs no weights")
    assert rows["segmenter sam3-tiny"].found.endswith("SHA-256 5a5a5a5a5a5a")
    assert rows["segmenter sam3"].level == "warning"
    assert "not downloaded yet (there is a token)" in rows["segmenter sam3"].found
    assert "hf download facebook/sam3" in rows["segmenter sam3"].cure
    assert "lotline train sam3-nano" in rows["segmenter sam3-nano"].cure
    own = Settings(home=tmp_path, landcover_weights=tmp_path)
    rows = {row.check: row for row in torch_probe.segmenter_rows(own)}
    assert rows["segmenter landcover"].level == "problem"  # a batch would use these
    assert rows["segmenter landcover"].cure.startswith("unset LANDCOVER_WEIGHTS")
    assert "SAM3_WEIGHTS is not set" in rows["segmenter sam3"].found


def test_credentials_for_s3_are_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    [row] = services.s3_rows(offline=True)
    assert (row.level, "no credentials" in row.found) == ("warning", True)
    assert "aws configure" in row.cure
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAXXXXXXXXXXXXXXXX")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    [row] = services.s3_rows(offline=True)
    assert row.level == "ok"
    assert row.found.startswith("credentials from env, ")
    assert "http://127.0.0.1:9000" in row.found
    assert "AKIA" not in row.found + row.cure
    assert "shown" not in row.found + row.cure
