"""A connection breaks at a lease, in the survey or at the end of a run: it is retried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import tenacity
from largecounty import KEY, ODD, LargeCounty, make_county
from recordingsource import ORIGIN, RecordingSource
from segmenters import FreeSegmenter
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from parcels.cache import LayerKey
from parcels.cache.fetch_layer import fetch_layer
from parcels.parcel_source import LayerVersion, QueryResult
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache

LOTS = 200
# Parts of the statements of a lease after the first one, of the end of a run, and of its report.
LEASE = "(p.sort_key, p.id) > ("
FINISH = "finished_at = now(),"
REPORT = "GROUP BY p.state, p.reason"


class BrokenConnection:
    """Breaks a connection once, in the first transaction with a statement.

    Args:
        moment: before the "statement", before the "commit", or before its "reply".
    """

    def __init__(self, database: Database, statement: str, moment: str) -> None:
        self._url = database.url
        self._statement = statement
        self._moment = moment
        self._conn: Connection | None = None
        self.happened = False

    def before_execute(self, conn: Connection, _cursor: object, query: str, *_: object) -> None:
        if self.happened or self._statement not in query:
            return
        self._conn = conn
        if self._moment == "statement":
            self._terminate(conn)

    def before_commit(self, conn: Connection) -> None:
        if self.happened or conn is not self._conn:
            return
        if self._moment == "commit":
            self._terminate(conn)
            return
        self.happened = True
        driver: Any = conn.connection.driver_connection
        driver.commit()
        driver.close()
        raise OperationalError("COMMIT", None, psycopg.OperationalError("connection lost"))

    def _terminate(self, conn: Connection) -> None:
        self.happened = True
        driver: Any = conn.connection.driver_connection
        with psycopg.connect(self._url, autocommit=True) as other:
            query = "SELECT pg_terminate_backend(%s, 10000)"
            assert other.execute(query, [driver.info.backend_pid]).fetchone() == (True,)


@pytest.fixture
def break_connection(database: Database) -> Iterator[Callable[[str, str], BrokenConnection]]:
    """Breaks a connection of any engine; checks that it was broken."""
    broken: list[BrokenConnection] = []

    def add(statement: str, moment: str) -> BrokenConnection:
        broken.append(BrokenConnection(database, statement, moment))
        event.listen(Engine, "before_cursor_execute", broken[-1].before_execute)
        event.listen(Engine, "commit", broken[-1].before_commit)
        return broken[-1]

    yield add
    for each in broken:
        event.remove(Engine, "before_cursor_execute", each.before_execute)
        event.remove(Engine, "commit", each.before_commit)
        assert each.happened


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("county"), LOTS)


@pytest.fixture
def run(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., BatchReport]:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 60)

    def run(limit: int | None = None) -> BatchReport:
        request = BatchRequest(
            KEY, county.registry, county.properties, segmenter="free", limit=limit
        )
        settings = Settings(database_url=database.url, home=tmp_path)
        return run_batch(request, settings, build=lambda *_: FreeSegmenter())

    return run


def _attempts(database: Database) -> dict[tuple[bool, int], int]:
    """Number of properties, by whether they are pending and by attempts."""
    query = "SELECT state = 'pending', attempts, count(*) FROM lotline.property GROUP BY 1, 2"
    with database.engine.connect() as conn:
        return {(is_pending, attempts): n for is_pending, attempts, n in conn.execute(text(query))}


def _run_states(database: Database) -> list[str]:
    with database.engine.connect() as conn:
        return list(conn.execute(text("SELECT state FROM lotline.run ORDER BY id")).scalars())


@pytest.mark.parametrize("limit", [None, 150])
@pytest.mark.parametrize("moment", ["statement", "commit", "reply"])
def test_a_retried_lease_leases_each_lot_once(
    moment: str,
    limit: int | None,
    break_connection: Callable[[str, str], BrokenConnection],
    run: Callable[..., BatchReport],
    database: Database,
) -> None:
    break_connection(LEASE, moment)
    report = run(limit)
    total = LOTS + len(ODD)
    done = limit or total
    assert sum(report.processed.values()) == done
    assert not report.interrupted
    pending = {} if limit is None else {(True, 0): total - limit}
    assert _attempts(database) == {(False, 1): done, **pending}
    assert _run_states(database) == ["finished"]


@pytest.mark.parametrize(
    ("statement", "moment"),
    [(FINISH, "statement"), (FINISH, "commit"), (FINISH, "reply"), (REPORT, "statement")],
)
def test_a_broken_connection_at_the_end_still_finishes_the_run(
    statement: str,
    moment: str,
    break_connection: Callable[[str, str], BrokenConnection],
    run: Callable[..., BatchReport],
    database: Database,
) -> None:
    break_connection(statement, moment)
    report = run()
    assert sum(report.processed.values()) == LOTS + len(ODD)
    assert sum(report.status.by_state.values()) == LOTS + len(ODD)
    assert _run_states(database) == ["finished"]


def test_a_lease_is_not_retried_for_ever(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def fail(_conn: object, _cursor: object, query: str, *_: object) -> None:
        nonlocal tries
        if LEASE in query:
            tries += 1
            raise OperationalError(query, None, psycopg.OperationalError("server is down"))

    retrying: Any = lease_loop.LeaseLoop._lease
    monkeypatch.setattr(retrying.retry, "stop", tenacity.stop_after_attempt(3))
    event.listen(Engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(OperationalError, match="server is down"):
            run()
    finally:
        event.remove(Engine, "before_cursor_execute", fail)
    assert tries == 3
    assert _run_states(database) == ["failed"]


@pytest.mark.parametrize("moment", ["statement", "commit", "reply"])
def test_cached_lookups_survive_a_broken_connection(
    moment: str, break_connection: Callable[[str, str], BrokenConnection], database: Database
) -> None:
    layer_version = LayerVersion(last_edit_ms=1)
    layer = DatabaseCache(database.engine).layer(LayerKey("synthetic", ORIGIN, "a" * 32))
    break_connection("INSERT INTO lotline.parcel_answer", moment)
    layer.store_results({"id:1": QueryResult((), ORIGIN)}, layer_version)
    break_connection("SELECT a.question_sha256", "statement")
    assert list(layer.read_results(["id:1"], layer_version)) == ["id:1"]


def test_a_snapshot_is_read_across_a_broken_connection(
    break_connection: Callable[[str, str], BrokenConnection], database: Database
) -> None:
    layer = DatabaseCache(database.engine).layer(LayerKey("synthetic", ORIGIN, "a" * 32))
    fetch_layer(RecordingSource(), layer)
    break_connection("SELECT c.origin", "statement")
    copy = layer.snapshot()
    assert copy is not None
    parcel_ids = [hit.parcel_id for hit in copy.all_rows() if hit.parcel_id]
    break_connection("SELECT asked.place", "statement")
    assert all(copy.rows_with_ids(parcel_ids))
