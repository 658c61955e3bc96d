"""One county key, two sources: never one queue, and never one county's numbers for the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest
from user import User, clean_environment

from detection import sample


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    return sample.generate(tmp_path_factory.mktemp("made") / "county", seed=11, lots=12)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    return sample.generate(tmp_path_factory.mktemp("made") / "county", seed=12, lots=12)


def registry_of(folder: Path, made: sample.SampleCounty, key: str = "here") -> Path:
    """A registry in a folder of its own, with a copy of the county's lots beside it."""
    folder.mkdir(parents=True)
    for file in (made.parcels, made.properties):
        shutil.copy(file, folder)
    path = folder / "registry.yaml"
    path.write_text(
        f"counties:\n  {key}:\n    path: {made.parcels.name}\n"
        f"    imagery: {{path: '{made.imagery}'}}\n    properties: {made.properties.name}\n"
    )
    return path


def schemas(user: User) -> list[str]:
    with psycopg.connect(user.env["DATABASE_URL"]) as conn:
        return [row[0] for row in conn.execute("SELECT nspname FROM pg_namespace").fetchall()]


def test_another_registrys_county_of_the_same_key_is_refused(
    fresh: User, made: sample.SampleCounty, other: sample.SampleCounty
) -> None:
    first = registry_of(fresh.folder / "first", made)
    second = registry_of(fresh.folder / "second", other)
    batch = ("batch", "--county", "here", "--limit", "3")
    fresh.run(*batch, REGISTRY=str(first))
    before = fresh.status("--county", "here", REGISTRY=str(first))

    out = str(fresh.folder / "files")
    for command in (
        batch,
        ("status", "--county", "here"),
        ("status", "--county", "here", "--json"),
        ("export", "--county", "here", "--out", out),
        ("runs", "list", "--county", "here"),
    ):
        done = fresh.run(*command, REGISTRY=str(second), code=2)
        message = " ".join(done.stderr.split())
        assert str(first.parent / made.parcels.name) in message
        assert str(second.parent / other.parcels.name) in message
        assert f"pass --registry {first}" in message
        assert f"lotline db rebind --county here --registry {second}" in message
        assert "DATABASE_URL" in message
        assert done.stdout == ""
    assert not Path(out).exists()
    assert fresh.status("--county", "here", REGISTRY=str(first)) == before

    done = fresh.run("db", "rebind", "--county", "here", "--registry", str(second))
    assert str(second.parent / other.parcels.name) in done.stdout
    assert "kept" in done.stdout
    fresh.run("status", "--county", "here", REGISTRY=str(second))
    fresh.run("status", "--county", "here", REGISTRY=str(first), code=2)


def test_a_forgotten_registry_does_not_answer_for_a_shipped_county(
    fresh: User, made: sample.SampleCounty
) -> None:
    registry = registry_of(fresh.folder / "mine", made, key="shelby")
    fresh.run("batch", "--county", "shelby", "--limit", "2", "--registry", str(registry))
    for command in (("status",), ("batch",), ("export", "--out", "files")):
        done = fresh.run(*command, "--county", "shelby", code=2)
        assert f"pass --registry {registry}" in done.stderr
        assert "the shipped registry" in done.stderr
    assert len(fresh.run("runs", "list").stdout.splitlines()) > 2


def test_a_forgotten_registry_does_not_answer_for_a_county_of_a_similar_name(
    fresh: User, made: sample.SampleCounty
) -> None:
    for key in ("riverside", "nowhere"):  # only the first has a shipped namesake
        registry = registry_of(fresh.folder / key, made, key=key)
        named = ("--county", key, "--registry", str(registry))
        fresh.run("batch", *named, "--limit", "2")
        for command in (("status",), ("export", "--out", "files"), ("batch", "--limit", "2")):
            done = fresh.run(*command, "--county", key, code=2)
            message = " ".join(done.stderr.split())
            assert f"the database has a county '{key}', of {registry}" in message
            assert f"pass --registry {registry}" in message
            assert done.stdout == ""
        assert fresh.status(*named)["by_state"]
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        stored = conn.execute("SELECT key FROM lotline.county ORDER BY key").fetchall()
    assert [row[0] for row in stored] == ["nowhere", "riverside"]
    assert fresh.run("status", "--county", "riverside-ca").stdout.startswith("Riverside")


def test_a_moved_checkout_and_new_labels_ask_nothing(
    fresh: User, made: sample.SampleCounty
) -> None:
    registry = registry_of(fresh.folder / "first", made)
    fresh.run("batch", "--county", "here", "--limit", "2", "--registry", str(registry))
    moved = fresh.folder / "elsewhere"
    registry.parent.rename(moved)
    with (moved / "registry.yaml").open("a") as file:
        file.write("    lot_offset_m: [0.5, 0]\n    labels: {pool: big pool}\n")
    again = ("--county", "here", "--registry", str(moved / "registry.yaml"))
    assert fresh.status(*again)["by_state"]
    fresh.run("batch", *again, "--limit", "2")


def test_a_generated_county_is_the_same_when_its_home_moves(fresh: User, tmp_path: Path) -> None:
    fresh.run("batch", "--limit", "2")
    moved = User(fresh.folder, {**fresh.env, "LOTLINE_HOME": str(tmp_path / "other")})
    assert moved.status()["by_state"] == fresh.status()["by_state"]
    moved.run("batch", "--limit", "2")


def test_a_county_of_an_earlier_version_is_bound_by_its_next_batch(
    fresh: User, made: sample.SampleCounty, other: sample.SampleCounty
) -> None:
    first = registry_of(fresh.folder / "first", made)
    second = registry_of(fresh.folder / "second", other)
    fresh.run("batch", "--county", "here", "--limit", "2", "--registry", str(first))
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        conn.execute("DELETE FROM lotline.county")
    fresh.run("status", "--county", "here", "--registry", str(first))
    done = fresh.run("batch", "--county", "here", "--limit", "2", "--registry", str(first))
    assert f"belong to the file {first.parent / made.parcels.name}" in done.stderr
    fresh.run("status", "--county", "here", "--registry", str(second), code=2)


def test_a_batch_that_stored_nothing_does_not_claim_the_key(
    fresh: User, made: sample.SampleCounty
) -> None:
    done = fresh.run("batch", "--county", "shelby", code=2)
    assert "has no properties yet" in done.stderr
    registry = registry_of(fresh.folder / "mine", made, key="shelby")
    fresh.run("batch", "--county", "shelby", "--limit", "2", "--registry", str(registry))


def test_commands_that_read_create_nothing(fresh: User) -> None:
    before = schemas(fresh)
    done = fresh.run("status")
    assert "Sample county (synthetic) has no properties yet: run `lotline batch" in done.stdout
    assert fresh.status()["by_state"] == []
    done = fresh.run("export", "--out", "files", code=2)
    assert "nothing to export: run `lotline batch --county sample` first" in done.stderr
    assert "No runs yet" in fresh.run("runs", "list").stdout
    assert "No runs of sample yet" in fresh.run("runs", "list", "--county", "sample").stdout
    assert "no runs yet" in fresh.run("runs", "show", code=2).stderr
    assert "lotline batch" in fresh.run("review", "accept", "1", code=2).stderr
    assert "Nothing is stored yet" in fresh.run("db", "rebind").stdout
    assert schemas(fresh) == before


def test_commands_that_read_create_no_embedded_database(tmp_path: Path) -> None:
    home = tmp_path / "home"
    user = User(tmp_path, clean_environment(LOTLINE_HOME=str(home)))
    assert "has no properties yet" in user.run("status").stdout
    assert user.status()["by_state"] == []
    assert "No runs yet" in user.run("runs", "list").stdout
    user.run("export", "--out", "files", code=2)
    assert not home.exists()


def test_commands_that_read_do_not_upgrade(fresh: User) -> None:
    fresh.run("batch", "--limit", "2")
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        conn.execute("UPDATE lotline.alembic_version SET version_num = '0005'")
    for command in (("status",), ("runs", "list"), ("export", "--out", "files")):
        assert "lotline db upgrade" in fresh.run(*command, code=2).stderr
