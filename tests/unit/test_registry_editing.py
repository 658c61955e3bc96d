"""A registry file is changed where it must be, and stays as it is everywhere else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from parcels import load_registry
from parcels.catalogue.editing import add_entry, set_facts
from parcels.errors import RegistryError

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"verified": "2026-05-31", "extent": "[-90.3, 34.9, -89.6, 35.5]"}
TEXT = """\
# Ours.
counties:
  # The first, with "quotes" that stay.
  a:  # named a
    name: 'A County'   # as people write it
    path: "lots a.gpkg"
    fields: {parcel_id: APN,   city: TOWN}
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


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_facts_are_said_and_nothing_else_changes(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_facts(file, {"a": FACTS, "b": FACTS, "c": FACTS})
    for county in load_registry(file).values():
        assert str(county.verified) == "2026-05-31"
        assert county.extent == (-90.3, 34.9, -89.6, 35.5)
    gone, new = changed_lines(TEXT, file.read_text())
    assert gone == [
        "      verified: 2020-01-01  # by hand",
        "        - 1", "        - 2", "        - 3", "        - 4  # north",
        """  c: {path: c.gpkg, where: "X <> '}'"}""",
    ]  # fmt: skip
    assert new == [
        "    verified: 2026-05-31",
        "    extent: [-90.3, 34.9, -89.6, 35.5]",
        "      verified: 2026-05-31  # by hand",
        "        [-90.3, 34.9, -89.6, 35.5]  # north",
        "  c: {verified: 2026-05-31, extent: [-90.3, 34.9, -89.6, 35.5], path: c.gpkg, "
        """where: "X <> '}'"}""",
    ]


def test_facts_said_twice_are_said_once(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_facts(file, {"a": FACTS, "b": FACTS, "c": FACTS})
    once = file.read_text()
    set_facts(file, {"a": FACTS, "b": FACTS, "c": FACTS})
    assert file.read_text() == once


def test_a_fact_that_no_longer_holds_is_taken_away(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_facts(file, {"a": {"verified": None}, "b": {"verified": None}, "never": {"verified": None}})
    assert changed_lines(TEXT, file.read_text()) == (
        ["      verified: 2020-01-01  # by hand"],
        [],
    )
    set_facts(file, {"c": FACTS})
    set_facts(file, {"c": {"verified": None}})
    assert load_registry(file)["c"].verified is None


def test_a_shipped_county_gets_an_entry(tmp_path: Path) -> None:
    file = write(tmp_path)
    set_facts(file, {"montrose-co": FACTS, "a": {"verified": "2026-05-31"}})
    text = file.read_text()
    assert text.endswith(
        "\n\n  montrose-co:\n    verified: 2026-05-31\n    extent: [-90.3, 34.9, -89.6, 35.5]\n"
    )
    county = load_registry(file)["montrose-co"]
    assert county.url is not None
    assert str(county.verified) == "2026-05-31"


@pytest.mark.parametrize("nothing", ["", " {}", " null", "  # none yet", " {}  # none yet"])
def test_the_first_entry(tmp_path: Path, nothing: str) -> None:
    file = write(tmp_path, f"# Mine.\ncounties:{nothing}\n")
    add_entry(file, "here", ["path: x.gpkg  # lots", "fields: {parcel_id: APN}"])
    county = load_registry(file)["here"]
    assert county.fields.parcel_id == "APN"
    assert "  here:\n    path: x.gpkg  # lots\n" in file.read_text()
    assert ("none yet" in nothing) == ("# none yet" in file.read_text())


def test_line_ends_of_windows_stay(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT.replace("\n", "\r\n"))
    set_facts(file, {"a": FACTS, "b": {"verified": None}, "montrose-co": FACTS})
    text = file.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n")
    assert str(load_registry(file)["a"].verified) == "2026-05-31"


def test_letters_beyond_ascii_shift_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT.replace("Ours", "Österreich 🌲").replace("A County", "Doña 🏠"))
    set_facts(file, {"a": FACTS, "b": FACTS})
    assert load_registry(file)["a"].name == "Doña 🏠"
    assert str(load_registry(file)["b"].verified) == "2026-05-31"


def test_the_projects_own_registry_can_be_changed(tmp_path: Path) -> None:
    before = (ROOT / "registry.yaml").read_text()
    file = write(tmp_path, before)
    set_facts(file, {"shelby": FACTS, "montrose-co": FACTS})
    gone, new = changed_lines(before, file.read_text())
    assert gone == []
    assert len(new) == 4 + 1


@pytest.mark.parametrize(
    "text",
    [
        "counties: {a: {path: x}}\n",
        "counties:\n  a: &base {path: x}\n  b: *base\n",
        "counties:\n  a: {}\n",
    ],
)
def test_a_layout_that_only_a_person_can_change_is_left_alone(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(RegistryError, match="only a person can change it"):
        set_facts(file, {"a": FACTS, "z": FACTS})
    assert file.read_text() == text


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="county 'a' is there already; take another name"):
        add_entry(write(tmp_path), "a", ["path: x"])


def test_a_link_stays_one_and_a_mode_stays_the_same(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    file = write(tmp_path / "kept")
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    set_facts(link, {"a": FACTS})
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert "2026-05-31" in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["registry.yaml"]
