"""The connection breaks at a lease, in the survey or at a run's end: it is done again, and once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import tenacity
from askedsource import ORIGIN, AskedSource
from largecounty import KEY, ODD, LargeCounty, make
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
# Of a lease that goes on where the one before it ended; of a run's last word; of its report.
LEASE = "(p.sort_key, p.id) > ("
LAST_WORD = "finished_at = now(),"
REPORT = "GROUP BY p.state, p.reason"


class Break:
    """A connection breaks once, in the first transaction with a statement.

    Args:
        moment: before the `statement`, before the `commit`, or before the `answer` to that.
    """

    def __init__(self, database: Database, statement: str, moment: str) -> None:
        self._url = database.url
        self._statement = statement
        self._moment = moment
        self._begun: Connection | None = None
        self.happened = False

    def executes(self, conn: Connection, _cursor: object, query: str, *_: object) -> None:
        if self.happened or self._statement not in query:
            return
        self._begun = conn
        if self._moment == "statement":
            self._terminate(conn)

    def commits(self, conn: Connection) -> None:
        if self.happened or conn is not self._begun:
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
def breaks(database: Database) -> Iterator[Callable[[str, str], Break]]:
    """To break a connection of whichever engine there is; that it did is checked."""
    made: list[Break] = []

    def add(statement: str, moment: str) -> Break:
        made.append(Break(database, statement, moment))
        event.listen(Engine, "before_cursor_execute", made[-1].executes)
        event.listen(Engine, "commit", made[-1].commits)
        return made[-1]

    yield add
    for each in made:
        event.remove(Engine, "before_cursor_execute", each.executes)
        event.remove(Engine, "commit", each.commits)
        assert each.happened


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make(tmp_path_factory.mktemp("county"), LOTS)


@pytest.fixture
def run(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., BatchReport]:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 60)

    def run(limit: int | None = None) -> BatchReport:
        order = BatchRequest(KEY, county.registry, county.properties, segmenter="free", limit=limit)
        settings = Settings(database_url=database.url, home=tmp_path)
        return run_batch(order, settings, build=lambda *_: FreeSegmenter())

    return run


def _tries(database: Database) -> dict[tuple[bool, int], int]:
    """How many properties wait still or do not, by how often they were tried."""
    query = "SELECT state = 'pending', attempts, count(*) FROM lotline.property GROUP BY 1, 2"
    with database.engine.connect() as conn:
        return {(waits, tries): n for waits, tries, n in conn.execute(text(query))}


def _states(database: Database) -> list[str]:
    with database.engine.connect() as conn:
        return list(conn.execute(text("SELECT state FROM lotline.run ORDER BY id")).scalars())


@pytest.mark.parametrize("limit", [None, 150])
@pytest.mark.parametrize("moment", ["statement", "commit", "answer"])
def test_a_lease_that_breaks_leases_each_lot_once(
    moment: str,
    limit: int | None,
    breaks: Callable[[str, str], Break],
    run: Callable[..., BatchReport],
    database: Database,
) -> None:
    breaks(LEASE, moment)
    report = run(limit)
    all_of_them = LOTS + len(ODD)
    done = limit or all_of_them
    assert sum(report.processed.values()) == done
    assert not report.interrupted
    waits = {} if limit is None else {(True, 0): all_of_them - limit}
    assert _tries(database) == {(False, 1): done, **waits}
    assert _states(database) == ["finished"]


@pytest.mark.parametrize(
    ("statement", "moment"),
    [(LAST_WORD, "statement"), (LAST_WORD, "commit"), (LAST_WORD, "answer"), (REPORT, "statement")],
)
def test_a_run_that_wrote_everything_ends_well(
    statement: str,
    moment: str,
    breaks: Callable[[str, str], Break],
    run: Callable[..., BatchReport],
    database: Database,
) -> None:
    breaks(statement, moment)
    report = run()
    assert sum(report.processed.values()) == LOTS + len(ODD)
    assert sum(report.status.by_state.values()) == LOTS + len(ODD)
    assert _states(database) == ["finished"]


def test_a_lease_is_not_waited_for_for_ever(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def away(_conn: object, _cursor: object, query: str, *_: object) -> None:
        nonlocal tries
        if LEASE in query:
            tries += 1
            raise OperationalError(query, None, psycopg.OperationalError("the server is away"))

    retrying: Any = lease_loop.LeaseLoop._lease
    monkeypatch.setattr(retrying.retry, "stop", tenacity.stop_after_attempt(3))
    event.listen(Engine, "before_cursor_execute", away)
    try:
        with pytest.raises(OperationalError, match="the server is away"):
            run()
    finally:
        event.remove(Engine, "before_cursor_execute", away)
    assert tries == 3
    assert _states(database) == ["failed"]


@pytest.mark.parametrize("moment", ["statement", "commit", "answer"])
def test_answers_are_kept_over_a_break(
    moment: str, breaks: Callable[[str, str], Break], database: Database
) -> None:
    layer_version = LayerVersion(last_edit_ms=1)
    layer = DatabaseCache(database.engine).layer(LayerKey("synthetic", ORIGIN, "a" * 32))
    breaks("INSERT INTO lotline.parcel_answer", moment)
    layer.keep({"id:1": QueryResult((), ORIGIN)}, layer_version)
    breaks("SELECT a.question_sha256", "statement")
    assert list(layer.answers(["id:1"], layer_version)) == ["id:1"]


def test_a_copy_is_read_over_a_break(
    breaks: Callable[[str, str], Break], database: Database
) -> None:
    layer = DatabaseCache(database.engine).layer(LayerKey("synthetic", ORIGIN, "a" * 32))
    fetch_layer(AskedSource(), layer)
    breaks("SELECT c.origin", "statement")
    copy = layer.copy()
    assert copy is not None
    parcel_ids = [hit.parcel_id for hit in copy.every_hit() if hit.parcel_id]
    breaks("SELECT asked.place", "statement")
    assert all(copy.hits_with_ids(parcel_ids))
