"""Editing a registry file changes single keys and nothing else."""

from __future__ import annotations

import difflib
import stat
from pathlib import Path

import pytest

from parcels import load_registry
from parcels.catalogue.edit_registry import add_entry, set_keys
from parcels.errors import RegistryError
from parcels.registry.shipped_layers import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"verified": "2026-05-31", "extent": "[-90.3, 34.9, -89.6, 35.5]"}
TEXT = """\
# Ours.
counties:
  # The first, with "quotes" that stay.
  a:  # named a
    name: 'A County'   # as people write it
    path: "lots a.gpkg"
    fields: {parcel_id: APN, city: "TOWN"}  # theirs
    # A comment at the end of a.


  # The second.
  b:
    path: b.gpkg
    verified: 2020-01-01  # by hand
    extent:
      - 1
      - 2
      - 3
      - 4  # north
    # A comment on where.
    where: A = 1

  c: {path: c.gpkg, where: "X <> '}'"}
"""


def write(folder: Path, text: str = TEXT) -> Path:
    file = folder / "registry.yaml"
    file.write_bytes(text.encode())
    return file


def changes(before: str, after: str) -> list[str]:
    """The removed and added lines, as in a diff, including blank lines."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in list(lines)[2:] if not line.startswith("@@")]


def test_keys_are_set_and_nothing_else_changes(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_keys(file, {"a": FACTS, "b": FACTS, "c": FACTS})
    for county in load_registry(file).values():
        assert str(county.verified) == "2026-05-31"
        assert county.extent == (-90.3, 34.9, -89.6, 35.5)
    assert changes(TEXT, file.read_text()) == [
        "+    verified: 2026-05-31",
        "+    extent: [-90.3, 34.9, -89.6, 35.5]",
        "-    verified: 2020-01-01  # by hand",
        "+    verified: 2026-05-31  # by hand",
        "-      - 1", "-      - 2", "-      - 3", "-      - 4  # north",
        "+      - -90.3", "+      - 34.9", "+      - -89.6", "+      - 35.5 # north",
        """-  c: {path: c.gpkg, where: "X <> '}'"}""",
        "+  c: {verified: 2026-05-31, extent: [-90.3, 34.9, -89.6, 35.5], path: c.gpkg, "
        """where: "X <> '}'"}""",
    ]  # fmt: skip


def test_setting_keys_is_idempotent(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_keys(file, {"a": FACTS, "b": FACTS, "c": FACTS})
    once = file.read_text()
    set_keys(file, {"a": FACTS, "b": FACTS, "c": FACTS})
    assert file.read_text() == once


def test_a_key_set_to_none_is_removed(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_keys(file, {"a": FACTS, "c": FACTS})
    set_keys(file, {name: dict.fromkeys(FACTS) for name in ("a", "c", "never")})
    assert file.read_text() == TEXT


def test_a_removed_key_with_a_comment_keeps_its_name(tmp_path: Path) -> None:
    text = TEXT.replace("    where: A = 1\n", "")
    file = write(tmp_path, text.replace("  # north\n    # A comment on where.", "  # north"))
    before = file.read_text()
    set_keys(file, {"b": {"verified": None}})
    assert changes(before, file.read_text()) == [
        "-    verified: 2020-01-01  # by hand",
        "+    verified:             # by hand",
    ]
    assert load_registry(file)["b"].verified is None


def test_the_comment_of_the_next_entry_stays_there(tmp_path: Path) -> None:
    text = "counties:\n  a:\n    path: x\n    verified: 2020-01-01\n\n  # Of b.\n  b: {path: y}\n"
    file = write(tmp_path, text)
    set_keys(file, {"a": {"verified": None}})
    assert file.read_text() == text.replace(" 2020-01-01", "")
    set_keys(file, {"a": {"verified": "2026-05-31", "where": "A = 1"}})
    assert file.read_text() == text.replace("    path", "    where: A = 1\n    path").replace(
        "2020-01-01", "2026-05-31"
    )


def test_equal_values_leave_the_file_unchanged(tmp_path: Path) -> None:
    text = "counties:\n  a:   {path: x,    verified: 2026-05-31}\n\n\n"
    file = write(tmp_path, text)
    set_keys(file, {"a": {"verified": "2026-05-31", "extent": None}})
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  a: {path:   x}\n", "  a: {path: x}\n"),
        ("  a:   {path: x,\n    where: y}\n", "  a: {path: x, where: y}\n"),
        ("  a:\n      path: x\n", "  a:\n    path: x\n"),
        ("  a:\n    alternates:\n    -   url: x\n", "  a:\n    alternates:\n    -   url: x\n"),
        ("  a:\n    where: 'x\n      y'\n", "  a:\n    where: 'x y'\n"),
        ('  a: {where: "\\u00e9"}\n', '  a: {where: "é"}\n'),
        ("  a: {path: x}\n\n\n", "  a: {path: x}\n"),
        ("  a: {path: x, fips: 06037, name: yes}\n", "  a: {path: x, fips: 06037, name: yes}\n"),
        (
            "  a:\n    where: |\n      A #1\n\n      B\n",
            "  a:\n    where: |\n      A #1\n\n      B\n",
        ),
    ],
)
def test_inconsistent_layout_is_reformatted(tmp_path: Path, before: str, after: str) -> None:
    file = write(tmp_path, f"counties:\n{before}")
    add_entry(file, "z", ["path: z"])
    assert file.read_text() == f"counties:\n{after}\n  z:\n    path: z\n"


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("dash", [0, 2])
def test_the_indentation_of_the_file_is_kept(tmp_path: Path, width: int, dash: int) -> None:
    one, two, item = " " * width, " " * 2 * width, " " * (2 * width + dash)
    text = (
        f"---\n# Mine.\ncounties:\n{one}a:\n{two}path: x\n{two}bands:\n{item}- u: 1\n"
        f"{item}  v: 2\n{item}# last\n{item}- 3\n"
    )
    file = write(tmp_path, text)
    set_keys(file, {"a": {"verified": "2026-05-31"}})
    assert changes(text, file.read_text()) == [f"+{two}verified: 2026-05-31"]


def test_a_shipped_county_gets_an_entry(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_keys(file, {"montrose-co": FACTS, "a": {"verified": "2026-05-31"}})
    text = file.read_text()
    assert text.endswith(
        "\n\n  montrose-co:\n    verified: 2026-05-31\n    extent: [-90.3, 34.9, -89.6, 35.5]\n"
    )
    county = load_registry(file)["montrose-co"]
    assert county.url is not None
    assert str(county.verified) == "2026-05-31"


@pytest.mark.parametrize("nothing", ["", " {}", " null", "  # none yet", " {}  # none yet"])
def test_an_entry_is_added_to_an_empty_file(tmp_path: Path, nothing: str) -> None:
    file = write(tmp_path, f"# Mine.\ncounties:{nothing}\n")
    add_entry(file, "here", ["path: x.gpkg  # lots", "fields: {parcel_id: APN}"])
    county = load_registry(file)["here"]
    assert county.fields.parcel_id == "APN"
    assert "  here:\n    path: x.gpkg  # lots\n" in file.read_text()
    assert ("none yet" in nothing) == ("# none yet" in file.read_text())


def test_windows_line_endings_stay(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT.replace("\n", "\r\n"))
    set_keys(file, {"a": FACTS, "b": {"verified": None}, "montrose-co": FACTS})
    text = file.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n")
    assert str(load_registry(file)["a"].verified) == "2026-05-31"


def test_non_ascii_text_is_kept(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT.replace("Ours", "Österreich 🌲").replace("A County", "Doña 🏠"))
    set_keys(file, {"a": FACTS, "b": FACTS})
    assert load_registry(file)["a"].name == "Doña 🏠"
    assert str(load_registry(file)["b"].verified) == "2026-05-31"


@pytest.mark.parametrize(
    ("name", "keys"),
    [("registry.yaml", ["shelby", "statewide-tn"]), (SHIPPED, ["ada-id", "yuma-az"])],
)
def test_in_shipped_files_only_the_changed_lines_differ(
    tmp_path: Path, name: str, keys: list[str]
) -> None:
    before = (ROOT / name).read_text()
    file = write(tmp_path, before)
    set_keys(file, dict.fromkeys(keys, FACTS))
    assert changes(before, file.read_text()) == 2 * [
        "+    verified: 2026-05-31",
        "+    extent: [-90.3, 34.9, -89.6, 35.5]",
    ]


@pytest.mark.parametrize("head", ["# Mine.\n---\n", "--- # Mine.\n# Theirs.\n", "%YAML 1.1\n---\n"])
def test_the_document_start_and_its_comments_stay(tmp_path: Path, head: str) -> None:
    text = f"{head}counties:\n  a: {{path: x}}\n"
    file = write(tmp_path, text)
    set_keys(file, {"a": {"verified": "2026-05-31"}})
    assert file.read_text() == text.replace("{path", "{verified: 2026-05-31, path")


@pytest.mark.parametrize(
    "text",
    [
        "counties: {a: {path: x}}\n",
        "counties:\n  a: &base {path: x}\n  b: *base\n",
        "counties:\n  a:\n",
        "counties:\n  a: {path: x,\n    # A comment between brackets.\n    where: y}\n",
        "counties:\n  a: {path: x}\n...\n# After the end.\n",
        "counties:\n  a: {extent: [1, 2, 3]}\n",
    ],
)
def test_a_layout_that_cannot_be_edited_is_refused(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(RegistryError, match="cannot be edited automatically"):
        set_keys(file, {"a": FACTS, "z": FACTS})
    assert file.read_text() == text


def test_an_existing_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="county 'a' already exists; choose another name"):
        add_entry(write(tmp_path), "a", ["path: x"])


def test_symbolic_links_and_file_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    file = write(tmp_path / "kept")
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    set_keys(link, {"a": FACTS})
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert "2026-05-31" in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["registry.yaml"]
