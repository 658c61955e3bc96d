"""The documents agree with the code and with each other, in the words of the glossary."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PUBLIC = sorted([
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "registry.yaml")),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "detection" / "labels.yaml",
])  # fmt: skip
PACKAGES = ("parcels", "detection", "pipeline")

# Terms that were ours alone, with what the field calls them.
BANNED = {
    r"sign of life": "heartbeat",
    r"at most so many": "maximum number of …",
    r"so many (?:chips|lots|properties) (?:are|as)": "the number",
    r"\btak(?:e|es|en) back\b": "reclaim",
    r"\bpatien(?:ce|tly)\b": "retry",
    r"\b(?:9 in 10|99 in 100|nine in ten)\b": "p90, p99",
    r"\bstrips?\b": "chip batch",
    r"\bscenes?\b": "mosaic",
    r"helping process": "worker process",
    r"\bstamps?\b": "layer version",
    r"\bwhole copy\b": "snapshot",
    r"\b(?:recipe|tally|account)\b(?! of)": "run context, counters, metrics",
    r"\bis told\b|\bare told\b|\btold (?:so|of|to)\b": "is reported",
    r"\bwhat (?:becomes|became|came|comes) of\b": "the outcome of",
    r"\bby itself\b": "automatically, or alone",
    r"\bfor good\b": "permanently",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\blooked at again\b": "retried",
    r"\bleast (?:score|that is)\b": "minimum, threshold",
    r"imaged[_ ]share": "coverage fraction",
    r"least_score": "score_threshold",
}
# The field's terms, each in the code where the thing is done.
FIELD_TERMS = ("backoff", "backpressure", "semaphore", "keyset", "half-open", "heartbeat", "IoU")


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.name)
def test_public_documents_use_the_terms_of_the_field(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "CHANGELOG.md":  # names what was renamed
        text = re.sub(r"^- .*(?:imaged_share|least_score).*$", "", text, flags=re.MULTILINE)
    found = [
        f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}; write {better}"
        for banned, better in BANNED.items()
        for match in re.finditer(banned, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def test_the_glossary_defines_each_term_once() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| \*\*(.+?)\*\* \|", text, re.MULTILINE)
    single = [term for row in terms for term in row.split(", ")]
    assert len(single) == len(set(single)) > 40
    assert terms == sorted(terms, key=str.lower)


@pytest.mark.parametrize("term", FIELD_TERMS)
def test_the_fields_terms_are_found_in_the_code(term: str) -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert any(term in path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.name)
def test_files_that_documents_name_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:parcels|detection|pipeline|tests|scripts|docs|benchmarks|deploy|notebooks)"
        r"/[\w./-]+\.(?:py|yaml|md|ipynb|sh|json|lock))`",
        text,
    )
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_where_names_a_file_for_each_change() -> None:
    text = (ROOT / "docs" / "where.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \|$", text, re.MULTILINE)
    assert len(rows) >= 20
    assert [name for _, name in rows if not (ROOT / name).is_file()] == []


def test_modules_of_the_architecture_page_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = []
    for name in re.findall(r"`((?:store|batch|engines|detection|parcels|arcgis)\.[a-z_.]+)`", text):
        path = name.replace(".", "/")
        places = ("", "pipeline/", "pipeline/batch/", "parcels/")
        if not any(
            (ROOT / f"{place}{path}.py").is_file() or (ROOT / f"{place}{path}").is_dir()
            for place in places
        ):
            missing.append(name)
    assert missing == []


def test_the_site_builds(tmp_path: Path) -> None:
    """Strict: a broken link, an unknown name or a missing page is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={"PATH": "", "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "pipeline.html").read_text(encoding="utf-8")
    assert "pipeline.run_batch" in page
