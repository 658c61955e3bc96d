"""The migrated schema equals the tables' metadata; other versions are refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from geoalchemy2 import alembic_helpers
from sqlalchemy import CheckConstraint, Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from pipeline.errors import StoreError
from pipeline.store import schema, tables
from pipeline.store.database import Database, open_database


def _only_ours(name: str | None, kind: str, parents: object) -> bool:
    return kind != "schema" or name == tables.SCHEMA


def _object(item: object, name: str, kind: str, reflected: bool, other: object) -> bool:
    if kind == "table" and name == "alembic_version":
        return False
    return alembic_helpers.include_object(item, name, kind, reflected, other)


def test_the_schema_from_zero_is_the_metadata(conn: Connection) -> None:
    context = MigrationContext.configure(
        conn,
        opts={
            "include_schemas": True,
            "include_name": _only_ours,
            "include_object": _object,
            "compare_type": True,
            "compare_server_default": True,
            "version_table_schema": tables.SCHEMA,
        },
    )
    assert compare_metadata(context, tables.metadata) == []


def test_constraints_and_indexes_have_the_names_of_the_metadata(conn: Connection) -> None:
    found = inspect(conn)
    for table in tables.metadata.sorted_tables:
        named = {c.name for c in table.constraints} | {index.name for index in table.indexes}
        there = {
            found.get_pk_constraint(table.name, tables.SCHEMA)["name"],
            *(c["name"] for c in found.get_check_constraints(table.name, tables.SCHEMA)),
            *(c["name"] for c in found.get_foreign_keys(table.name, tables.SCHEMA)),
            *(i["name"] for i in found.get_indexes(table.name, tables.SCHEMA)),
        }
        assert there == named, table.name


def test_check_constraints_equal_the_metadata(conn: Connection) -> None:
    """Compares the server's rendering: each check of the metadata is added to its empty table."""
    definition = text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name")
    for table in tables.metadata.sorted_tables:
        for check in table.constraints:
            if not isinstance(check, CheckConstraint):
                continue
            migrated = conn.execute(definition, {"name": check.name}).scalar_one()
            conn.execute(
                text(
                    f"ALTER TABLE {table.fullname} "
                    f"ADD CONSTRAINT from_metadata CHECK ({check.sqltext})"
                )
            )
            declared = conn.execute(definition, {"name": "from_metadata"}).scalar_one()
            conn.execute(text(f"ALTER TABLE {table.fullname} DROP CONSTRAINT from_metadata"))
            assert migrated == declared, check.name


def test_triggers_exist(conn: Connection) -> None:
    triggers = conn.execute(
        text(
            "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'lotline' AND NOT t.tgisinternal AND t.tgenabled = 'O'"
        )
    )
    assert {tuple(row) for row in triggers} == {
        ("audit_answer", "audit_answer_append_only"),
        ("audit_item", "audit_item_append_only"),
        ("audit_sample", "audit_sample_append_only"),
        ("boundary", "boundary_append_only"),
        ("model", "model_append_only"),
        ("model_judgement", "model_judgement_append_only"),
        ("model_load", "model_load_append_only"),
        ("model_promotion", "model_promotion_append_only"),
        ("review", "review_append_only"),
        ("full_review", "full_review_append_only"),
        ("detection", "detection_no_delete"),
        ("detection", "detection_starts_proposed"),
        ("detection", "detection_guard"),
        ("detection", "detection_keep_teaching_score"),
        ("measurement_detection", "measurement_detection_live"),
    }


def test_file_names_are_the_revisions() -> None:
    script = ScriptDirectory(str(schema.MIGRATIONS))
    assert schema.code_revisions() == [r.revision for r in script.walk_revisions()][::-1]
    assert script.get_heads() == [schema.code_revisions()[-1]]


def test_concurrent_upgrades_are_serialized(empty_database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(schema.upgrade, [empty_database.engine] * 4))
    with empty_database.engine.connect() as connection:
        assert schema.database_revision(connection) == schema.code_revisions()[-1]


def test_at_the_head_nothing_is_upgraded_and_alembic_is_not_imported(database: Database) -> None:
    look = (
        "import sys; from pathlib import Path; from pipeline.store.database import open_database\n"
        f"with open_database({database.url!r}, Path('unused')) as opened:\n"
        "    assert not opened.embedded\n"
        "assert 'alembic' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", look], check=True)


def test_a_database_without_our_tables_is_migrated(
    empty_database: Database, tmp_path: Path
) -> None:
    with (
        open_database(empty_database.url, tmp_path) as opened,
        opened.engine.connect() as connection,
    ):
        assert schema.check(connection)
    assert not list(tmp_path.iterdir())


def test_older_database_is_not_upgraded_without_the_flag(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = schema.code_revisions()
    monkeypatch.setattr(schema, "code_revisions", lambda: [*known, "9998"])
    with (
        pytest.raises(StoreError, match="run `lotline db upgrade`"),
        open_database(database.url, tmp_path),
    ):
        pass


@pytest.mark.parametrize("upgrade", [False, True])
def test_newer_database_is_refused(database: Database, tmp_path: Path, upgrade: bool) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE lotline.alembic_version SET version_num = '9999'"))
    with (
        pytest.raises(StoreError, match=r"9999.*install the newer Lotline"),
        open_database(database.url, tmp_path, upgrade=upgrade),
    ):
        pass


def test_failed_migration_is_rolled_back(empty_database: Database) -> None:
    with empty_database.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA lotline"))
        connection.execute(text("CREATE TABLE lotline.review (a int)"))
    with pytest.raises(StoreError, match="could not be created or upgraded"):
        schema.upgrade(empty_database.engine)
    assert inspect(empty_database.engine).get_table_names("lotline") == ["review"]


def test_role_without_the_right_to_create_extensions_gets_an_error(
    empty_database: Database, tmp_path: Path
) -> None:
    with empty_database.engine.begin() as connection:
        connection.execute(text("CREATE ROLE visitor LOGIN"))
    url = empty_database.url.replace("lotline@", "visitor:secret@")
    try:
        with (
            pytest.raises(StoreError, match="CREATE EXTENSION postgis"),
            open_database(url, tmp_path),
        ):
            pass
    finally:
        with empty_database.engine.begin() as connection:
            connection.execute(text("DROP ROLE visitor"))


def test_an_unreachable_server_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgres://ann:secret@127.0.0.1:1/lots"
    with pytest.raises(StoreError) as caught, open_database(url, tmp_path):
        pass
    assert "postgresql://ann:***@127.0.0.1:1/lots" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://ann:secret@host/lots", "not an address secret", "http:"])
def test_url_of_another_kind_is_refused(url: str, tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="postgresql://USER") as caught,
        open_database(url, tmp_path),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_geometry_columns_check_srid_and_validity(conn: Connection) -> None:
    insert = text(
        "WITH p AS (INSERT INTO lotline.property (county, property_id, parcel_id) "
        "VALUES ('c', 'a', '1') RETURNING id) "
        "INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, origin, parcel_ids, "
        "version, fetched_at) "
        "SELECT id, 'lot', ST_GeomFromText(:wkt, :srid), 1, '', '{}', 'v', now() FROM p"
    )
    square = "MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))"
    bow_tie = "MULTIPOLYGON(((0 0, 1 1, 1 0, 0 1, 0 0)))"
    for wkt, srid in ((square, 3857), (bow_tie, 4326), ("MULTIPOLYGON EMPTY", 4326)):
        with pytest.raises(DBAPIError), conn.begin_nested():
            conn.execute(insert, {"wkt": wkt, "srid": srid})
    conn.execute(insert, {"wkt": square, "srid": 4326})


@pytest.mark.parametrize("password", ["one/two@three", "one@two/three"])
def test_unquoted_password_is_not_shown(tmp_path: Path, password: str) -> None:
    with (
        pytest.raises(StoreError, match="write %40 for @") as told,
        open_database(f"postgresql://ann:{password}@127.0.0.1:1/lots", tmp_path),
    ):
        pass
    assert not any(part in str(told.value) for part in ("one", "two", "three"))
