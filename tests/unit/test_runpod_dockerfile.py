"""The image of the serverless worker, as far as it can be checked without building it."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "runpod.Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) in order, with continued lines joined."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.partition(" ") for line in joined.splitlines() if line]
    return [(name, arguments.strip()) for name, _, arguments in parts]


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignored = (FILE.parent / f"{FILE.name}.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    default = dict(each.split("=", 1) for name, each in instructions() if name == "ARG")
    copied = [each for name, each in instructions() if name == "COPY" and "--from" not in each]
    sources = [source for each in copied for source in each.split()[:-1]]
    assert len(sources) > 8
    for source in sources:
        path = source.replace("${WEIGHTS}", default["WEIGHTS"])
        assert (ROOT / path).exists(), path
        assert any(path == each or path.startswith(f"{each}/") for each in sent), path


def test_it_runs_the_worker_and_not_as_root() -> None:
    found = dict(instructions())
    entry = json.loads(found["ENTRYPOINT"])
    assert entry[-2] == "-m"
    assert find_spec(entry[-1]) is not None
    default = dict(each.split("=", 1) for name, each in instructions() if name == "ARG")
    assert found["USER"] == "${RUN_AS}"
    assert default["RUN_AS"] != "root"
    names = re.findall(r"(\w+)=", found["ENV"])
    assert not [name for name in names if re.search("SECRET|TOKEN|KEY", name)]


def test_the_sdk_is_pinned_beside_the_other_packages() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(line.split("==") for line in path.read_text().splitlines() if "==" in line)

    own, others = pins(FILE.parent / "runpod.lock"), pins(ROOT / "requirements.lock")
    assert tuple(map(int, own["runpod"].split(".")[:2])) >= (1, 12)
    assert own.keys() & others.keys() == set()
    # Installed with the others, they would change the servers of the panel.
    assert {"uvloop", "httptools"} <= own.keys()
