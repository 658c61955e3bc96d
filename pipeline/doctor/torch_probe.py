"""torch, GPUs and weights, each looked at by a process of its own; see `probe`."""

from __future__ import annotations

import atexit
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from detection.segmenters import DEFAULT_SEGMENTER, SEGMENTERS, WITHOUT_WEIGHTS
from parcels.untrusted import sanitize_text
from pipeline.doctor.checks import CheckLevel, CheckRow
from pipeline.settings import Settings

# Importing torch takes a second, or a minute from a cold network disk.
TORCH_LIMIT_S = 120.0
# Of a segmenter. SAM3 at full size reads and checks 3.4 GB.
WEIGHTS_LIMIT_S = 240.0
_PROBE = [sys.executable, "-m", "pipeline.doctor.probe"]
_GATED = (
    "Accept Meta's licence on https://huggingface.co/facebook/sam3, then type: hf auth login; "
    "hf download facebook/sam3; export SAM3_WEIGHTS=facebook/sam3"
)
_CPU_ONLY = (
    "CPU only: landcover measures and landcover-decoder trains here; SAM3 at full size takes "
    "minutes for a chip, and its training needs a GPU"
)
# Of checks that were given up; they must not outlive the report.
_running: set[subprocess.Popen[str]] = set()


@atexit.register
def _end_probes() -> None:
    for process in list(_running):
        process.kill()


@dataclass(frozen=True, slots=True)
class ComputeFacts:
    """What torch sees; `free_gib` is that of the GPU with the most, None without a GPU."""

    rows: tuple[CheckRow, ...]
    free_gib: float | None
    gpu: str = ""


def compute_facts() -> ComputeFacts:
    """The build of torch, the GPUs with their memory, and the driver."""
    [facts] = probe(["torch"], TORCH_LIMIT_S)
    if facts.get("failed"):
        cure = "pip install 'lotline[detection]'"
        row = CheckRow("torch", "problem", f"torch does not start: {facts['failed']}", cure)
        return ComputeFacts((row,), None)
    build = f"CUDA {facts['cuda']}" if facts["cuda"] else "no CUDA"
    build = f"ROCm {facts['hip']}" if facts["hip"] else build
    rows = [CheckRow("torch", "ok", f"{facts['torch']} ({build}), {facts['threads']} threads")]
    gpus = facts["gpus"]
    driver = _driver()
    rows += [
        CheckRow(
            "gpu", "ok",
            f"{gpu['name']}: {gpu['free_gib']:.1f} of {gpu['total_gib']:.1f} GiB free, compute "
            f"capability {gpu['capability']}, {'bf16' if gpu['bf16'] else 'no bf16'}"
            + (f", driver {driver}" if driver else ""),
        )
        for gpu in gpus
    ]  # fmt: skip
    if not gpus:
        rows.append(_no_gpu(facts, driver))
        return ComputeFacts(tuple(rows), None)
    best = max(gpus, key=lambda gpu: float(gpu["free_gib"]))
    return ComputeFacts(tuple(rows), best["free_gib"], best["name"])


def _no_gpu(facts: Mapping[str, Any], driver: str) -> CheckRow:
    if facts["mps"]:
        return CheckRow("gpu", "ok", "Apple GPU (MPS); it shares the machine's memory")
    if facts["error"]:
        cure = "nvidia-smi; update the driver to the one that this build of torch needs"
        return CheckRow("gpu", "warning", f"torch cannot use CUDA: {facts['error']}", cure)
    if driver and not (facts["cuda"] or facts["hip"]):
        cure = (
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
        )
        found = f"a GPU with driver {driver}, but this build of torch has no CUDA"
        return CheckRow("gpu", "warning", found, cure)
    return CheckRow("gpu", "ok", f"none. {_CPU_ONLY}")


def _driver() -> str:
    """The version of NVIDIA's driver; "" where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return sanitize_text(done.stdout.split("\n")[0].strip(), 40)


def segmenter_rows(settings: Settings) -> list[CheckRow]:
    """Whether the weights of each segmenter are there, and really load."""
    sources = {name: settings.weights_of(name) for name in SEGMENTERS}
    asked = [[name, source] for name, source in sources.items() if name != "sam3" or source]
    answers = {facts["name"]: facts for facts in probe(asked, WEIGHTS_LIMIT_S, without_gpu=True)}
    return [_segmenter_row(name, sources[name], answers.get(name)) for name in SEGMENTERS]


def _segmenter_row(name: str, source: str | None, facts: Mapping[str, Any] | None) -> CheckRow:
    check = f"segmenter {name}"
    token = "there is a token" if has_hub_token() else "no token: HF_TOKEN"
    if facts is None:
        return CheckRow(check, "warning", f"SAM3_WEIGHTS is not set ({token})", _GATED)
    level: CheckLevel = "problem" if name == DEFAULT_SEGMENTER else "warning"
    if facts.get("failed"):
        cure = "Install Lotline again, or free memory"
        return CheckRow(check, level, f"does not load: {facts['failed']}", cure)
    if error := facts["error"]:
        text = sanitize_text(error, 400)
        if name == "sam3" and "no local copy" in text:
            return CheckRow(check, level, f"{source} is not downloaded yet ({token})", _GATED)
        return CheckRow(check, level, text, _weights_cure(name, source))
    if name in WITHOUT_WEIGHTS:
        return CheckRow(check, "ok", "needs no weights")
    where = source or "shipped weights"
    found = f"{where} load in {facts['seconds']:.1f} s, SHA-256 {facts['sha256'][:12]}"
    return CheckRow(check, "ok", found)


def _weights_cure(name: str, source: str | None) -> str:
    if name == "sam3":
        return "Set SAM3_WEIGHTS to a complete copy: hf download facebook/sam3"
    if source is not None:
        return f"unset {name.upper()}_WEIGHTS, or name a folder that lotline train wrote"
    if name == "sam3-nano":
        return "Train it: lotline train sam3-nano --data DIR --out out/nano"
    return "Install Lotline again: its weights come with it"


def has_hub_token() -> bool:
    """Whether there is a token for the Hugging Face hub; it is not read out."""
    from huggingface_hub import get_token

    return bool(get_token())


def probe(
    asked: Sequence[Any], limit_s: float, *, without_gpu: bool = False
) -> list[dict[str, Any]]:
    """The answers of the probe to each; where it crashed or hung, the reason is in "failed".

    Args:
        limit_s: for each.
        without_gpu: whether the process has no GPU; it takes no memory of one then.
    """
    answers: list[dict[str, Any]] = []
    while len(answers) < len(asked):
        rest = asked[len(answers) :]
        answers += _probe_until_failure(rest, limit_s, without_gpu=without_gpu)
    return answers


def _probe_until_failure(
    asked: Sequence[Any], limit_s: float, *, without_gpu: bool
) -> list[dict[str, Any]]:
    # Nothing is downloaded: a hub id means the local copy.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if without_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    process = subprocess.Popen(
        _PROBE, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _running.add(process)
    assert process.stdin is not None  # noqa: S101  (for the type checker)
    errors = _reading(process.stderr)
    lines = _reading(process.stdout)
    try:
        with suppress(BrokenPipeError), process.stdin:  # it ended at once; its end says why
            process.stdin.write(json.dumps(asked))
        answers: list[dict[str, Any]] = []
        for each in asked:
            line, reason = _next_line(lines, limit_s, process)
            if line is None:
                last = list(_drained(errors))[-1:]
                failed = f"{reason}{': ' if last else ''}{sanitize_text(''.join(last), 300)}"
                name = each if isinstance(each, str) else each[0]
                return [*answers, {"name": name, "failed": failed}]
            answers.append(json.loads(line))
        return answers
    finally:
        process.kill()
        process.wait()
        _running.discard(process)


def _next_line(
    lines: queue.Queue[str | None], limit_s: float, process: subprocess.Popen[str]
) -> tuple[str | None, str]:
    """(a line of the process, "") or (None, why there is none)."""
    try:
        line = lines.get(timeout=limit_s)
    except queue.Empty:
        return None, f"no answer within {limit_s:g} s"
    if line is not None:
        return line, ""
    code = process.wait()
    killed = " (killed; perhaps too little memory)" if code == -9 else ""
    return None, f"its process ended with {code}{killed}"


def _reading(stream: Any) -> queue.Queue[str | None]:  # noqa: ANN401  Popen's stream
    """The lines of a stream as they come, then None."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with stream:
            for line in stream:
                if line.strip():
                    lines.put(line.strip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _drained(lines: queue.Queue[str | None]) -> Iterator[str]:
    """What a process has written until its end, or until a moment after it."""
    until_s = time.monotonic() + 2.0
    while time.monotonic() < until_s:
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        if line is None:
            return
        yield line
