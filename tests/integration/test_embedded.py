"""The private cluster: started once, shared, stopped with its last user, even after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from pipeline.errors import StoreError
from pipeline.store.database import open_database
from pipeline.store.embedded import paths, programs
from pipeline.store.embedded import server as server_module
from pipeline.store.embedded.postgres import EmbeddedPostgres

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")

# A command that uses the database: prints "up" and the URL, then waits until stdin is closed.
COMMAND = """
import ctypes, os, sys
from pathlib import Path
if "PARENT" in os.environ:
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: adopts orphaned processes
from pipeline.store.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("up", server.url, flush=True)
sys.stdin.read()
server.release()
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A stopped cluster to copy: creating one takes a second or two."""
    parent = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    parent.chmod(0o755)
    server = EmbeddedPostgres(parent / "postgres")
    server.start()
    server.release()
    yield parent / "postgres"
    shutil.rmtree(parent)


@pytest.fixture
def new_home(open_folder: Path) -> Iterator[Path]:
    """A folder for a new cluster; its server is stopped at the end."""
    yield open_folder / "postgres"
    _discard(open_folder / "postgres")


@pytest.fixture
def home(new_home: Path, made: Path) -> Path:
    """A folder with its own cluster, which is not running."""
    subprocess.run(["cp", "-a", str(made), str(new_home)], check=True)
    (new_home / "id").unlink()
    return new_home


def _discard(folder: Path) -> None:
    EmbeddedPostgres(folder).stop()
    project = folder / "id"
    if project.exists():
        shutil.rmtree(paths.SYSTEM_FOLDER / project.read_text(), ignore_errors=True)


def _command(
    folder: Path, *, before: Sequence[str] = (), **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", COMMAND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _up(command: subprocess.Popen[str]) -> str:
    """Wait until a command reports that the server is up; returns its URL."""
    assert command.stdout is not None
    state, _, url = command.stdout.readline().partition(" ")
    assert state == "up"
    return url.strip()


def _end(command: subprocess.Popen[str]) -> None:
    command.communicate()
    assert command.returncode == 0


def _postmaster(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def _kill_server(folder: Path) -> None:
    server = psutil.Process(_postmaster(folder))
    server.kill()
    server.wait(60)


def _is_up(folder: Path) -> bool:
    return (folder / "data" / "postmaster.pid").exists()


def _insert(url: str, value: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (what text)")
        connection.execute("INSERT INTO note VALUES (%s)", [value])


def _notes(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [what for (what,) in connection.execute("SELECT what FROM note ORDER BY what")]


def test_concurrent_commands_share_one_server(new_home: Path) -> None:
    commands = [_command(new_home) for _ in range(3)]
    urls = {_up(command) for command in commands}
    assert len(urls) == 1
    first = _postmaster(new_home)
    for command in commands[:-1]:
        _end(command)
        assert _postmaster(new_home) == first, "stopped while in use"
    _end(commands[-1])
    assert not _is_up(new_home)


def test_committed_rows_survive_a_restart(home: Path) -> None:
    for value in ("a", "b"):
        command = _command(home)
        _insert(_up(command), value)
        _end(command)
    server = EmbeddedPostgres(home)
    server.start()
    assert _notes(server.url) == ["a", "b"]
    with psycopg.connect(server.url) as connection:
        row = connection.execute(
            "SELECT current_user, current_setting('listen_addresses'), "
            "pg_encoding_to_char(encoding), postgis_lib_version() FROM pg_database "
            "WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    assert row[:3] == ("lotline", "", "UTF8")
    server.release()


def test_server_survives_the_command_that_started_it(home: Path) -> None:
    starter = _command(home)
    _insert(_up(starter), "committed")
    postmaster = _postmaster(home)
    starter.kill()
    starter.communicate()
    server = EmbeddedPostgres(home)
    server.start()
    assert _postmaster(home) == postmaster, "not the same server"
    assert _notes(server.url) == ["committed"]
    server.release()
    assert not _is_up(home)


def test_killed_server_is_restarted_with_committed_rows(home: Path) -> None:
    command = _command(home)
    _insert(_up(command), "committed")
    killed = _postmaster(home)
    os.kill(killed, signal.SIGKILL)
    server = EmbeddedPostgres(home)
    server.start()
    assert _postmaster(home) != killed
    assert _notes(server.url) == ["committed"]
    _end(command)
    server.release()
    assert not _is_up(home)


def test_server_that_dies_in_use_is_restarted(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    living = _postmaster(home)
    server.restart_if_dead()
    assert _postmaster(home) == living
    _insert(server.url, "committed")
    _kill_server(home)
    server.start()
    assert _postmaster(home) != living
    assert _notes(server.url) == ["committed"]
    other = _command(home)
    _up(other)
    server.release()
    assert _is_up(home), "another command still uses it"
    _end(other)
    assert not _is_up(home)
    server.restart_if_dead()
    assert not _is_up(home), "it is not in use"


def test_engine_reconnects_after_the_server_died(home: Path) -> None:
    with open_database(None, home.parent) as database:
        for _ in range(2):
            with database.engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT 1").scalar() == 1
            _kill_server(home)


def test_new_server_waits_for_backends_of_the_dead_one(home: Path) -> None:
    """As in a container, whose first process reaps no zombies: the dead server keeps its pid."""
    command = _command(home, PARENT="reaps nobody")
    url = _up(command)
    _insert(url, "committed")
    connection = psycopg.connect(url)
    backend = connection.info.backend_pid
    at_work = threading.Thread(target=_work_for_a_while, args=(connection,))
    at_work.start()
    _wait_until_it_works(url, backend)
    os.kill(_postmaster(home), signal.SIGKILL)
    server = EmbeddedPostgres(home)
    server.start()
    assert not _works(backend)
    at_work.join()
    connection.close()
    assert _notes(server.url) == ["committed"]
    _end(command)
    server.release()


def _work_for_a_while(connection: psycopg.Connection[object]) -> None:
    # It never waits, so it does not notice that its server died until it sends its result.
    with suppress(psycopg.OperationalError):
        connection.execute(
            "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '2 s' LOOP END LOOP; END $$"
        )


def _works(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_until_it_works(url: str, backend: int) -> None:
    active = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(active, [backend]).fetchone() != ("active",):
            time.sleep(0.01)


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes a capability away")
def test_root_without_ptrace_detects_a_running_server(home: Path) -> None:
    """Docker's root lacks CAP_SYS_PTRACE: it cannot read other processes' working folders."""
    contained = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    first = _command(home, before=contained)
    url = _up(first)
    _insert(url, "committed")
    postmaster = _postmaster(home)
    look = ["readlink", f"/proc/{postmaster}/cwd"]
    assert subprocess.run([*contained, *look], capture_output=True, check=False).returncode
    second = _command(home, before=contained)
    assert _up(second) == url
    assert _postmaster(home) == postmaster, "a running server was considered dead"
    _end(first)
    assert _notes(url) == ["committed"]
    _end(second)
    assert not _is_up(home)
    # The pid of another process is still not a server.
    pid_file = home / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{home / 'data'}\n")
    third = _command(home, before=contained)
    assert _notes(_up(third)) == ["committed"]
    _end(third)
    assert not _is_up(home)


def test_pid_file_with_the_pid_of_another_process(home: Path) -> None:
    """As after a reboot: postmaster.pid has the pid of another process."""
    server = EmbeddedPostgres(home)
    server.start()
    pid_file = home / "data" / "postmaster.pid"
    written = pid_file.read_text()
    server.release()
    for path in (pid_file, home / "socket" / ".s.PGSQL.5432.lock"):
        path.write_text(written.replace(written.split()[0], str(os.getpid()), 1))
    server.start()
    assert _postmaster(home) != os.getpid()
    server.release()


def test_unfinished_cluster_is_created_again(new_home: Path) -> None:
    new_home.mkdir()
    half = new_home / "draft-0000"
    half.mkdir()
    (half / "PG_VERSION").write_text("15")
    with open_database(None, new_home.parent) as database, database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM lotline.property").scalar() == 0
    assert not half.exists()


def test_it_runs_from_any_working_folder(
    new_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    EmbeddedPostgres(new_home).stop()  # nothing there yet: nothing to do
    server = EmbeddedPostgres(Path(os.path.relpath(new_home)))
    monkeypatch.chdir("/")
    server.start()
    assert _is_up(new_home)
    server.release()


@pytest.mark.parametrize(
    "mark",
    ["$(touch ran)", "`touch ran`", '";touch ran;"', "'$(touch ran)'", "a\\b", "$HOME", "é %s"],
    ids=["substitution", "backtick", "double-quote", "quote", "backslash", "variable",
         "percent"],
)  # fmt: skip
def test_name_of_the_folder_is_never_a_command(open_folder: Path, mark: str, made: Path) -> None:
    parent = open_folder / f"h{mark}"
    parent.mkdir()
    folder = parent / "postgres"
    subprocess.run(["cp", "-a", str(made), str(folder)], check=True)
    (folder / "id").unlink()
    _insert_and_stop(folder)
    shutil.rmtree(folder / "data")  # initdb gets the folder's name too
    _insert_and_stop(folder)
    assert list(open_folder.rglob("ran")) == []
    assert not Path("/ran").exists()  # programs run there, or in the cluster's folder


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\udcffb"], ids=["line", "tab", "not UTF-8"])
def test_name_that_postgres_cannot_have_is_refused(open_folder: Path, name: str) -> None:
    folder = open_folder / name / "postgres"
    with pytest.raises(StoreError, match=r"has a line break.* not UTF-8.* set LOTLINE_HOME"):
        EmbeddedPostgres(folder).start()
    assert list(open_folder.iterdir()) == []


def _insert_and_stop(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        _insert(server.url, "reached")
        assert _notes(server.url) == ["reached"]
    finally:
        server.release()
    assert not _is_up(folder)


def test_path_too_long_for_a_socket(open_folder: Path) -> None:
    deep = open_folder.joinpath(*["a folder with a long name, and a comma"] * 4) / "postgres"
    deep.parent.mkdir(parents=True)
    server = EmbeddedPostgres(deep)
    server.start()
    socket = Path(server.connect_args["host"])
    assert len(str(deep)) > 107
    assert len(str(socket)) < 90
    assert socket.stat().st_mode & 0o777 == 0o700
    _insert(server.url, "reached")
    # A command with another temporary folder finds the same server.
    other = _command(deep, TMPDIR=str(open_folder))
    assert _notes(_up(other)) == ["reached"]
    server.release()
    assert _is_up(deep)
    _end(other)
    assert not _is_up(deep)
    shutil.rmtree(socket)


def test_socket_folder_of_another_user_is_refused(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = open_folder.joinpath(*["d" * 50] * 3)
    user = programs.ServerUser(os.geteuid(), os.getegid())
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: str(open_folder))
    short = paths.socket_folder(deep, "0123", user)
    assert short.parent == open_folder
    assert paths.socket_folder(deep, "0123", user) == short, "its own folder is used again"
    short.chmod(0o755)
    with pytest.raises(StoreError, match="remove it, or set TMPDIR"):
        paths.socket_folder(deep, "0123", user)
    short.rmdir()
    short.symlink_to(open_folder)
    with pytest.raises(StoreError, match="belongs to another user"):
        paths.socket_folder(deep, "0123", user)


@needs_root
@pytest.mark.parametrize("owner", [0, 65534])
@pytest.mark.parametrize("is_link", [True, False])
def test_root_gives_no_folder_of_others_away(open_folder: Path, owner: int, is_link: bool) -> None:
    """Who owns a home could put a link to any folder where the cluster's would be."""
    victim = open_folder / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    os.chown(victim, owner, owner)
    folder = victim
    if is_link:
        folder = open_folder / "postgres"
        folder.symlink_to(victim)
    with pytest.raises(StoreError, match=r"belongs to user \d+, or has other files"):
        EmbeddedPostgres(folder).start()
    assert victim.stat().st_uid == owner


def test_server_without_its_socket_is_restarted(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    _insert(server.url, "kept")
    for path in (home / "socket").iterdir():
        path.unlink()
    other = EmbeddedPostgres(home)
    other.start()
    assert _notes(other.url) == ["kept"]
    other.release()
    server.release()


@needs_root
def test_folder_that_the_servers_user_cannot_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / "postgres"
    try:
        with open_database(None, closed) as database:
            assert database.engine.connect().close() is None
        project_id = (folder / "id").read_text()
        elsewhere = paths.SYSTEM_FOLDER / project_id
        assert (elsewhere / "data" / "PG_VERSION").exists()
        assert not (folder / "data").exists()
        assert elsewhere.stat().st_mode & 0o777 == 0o700
        # The choice is permanent, even if the folder becomes accessible.
        monkeypatch.setattr(paths, "_can_enter", lambda *_: True)
        assert paths.cluster_folder(folder, programs.server_user(folder / "data")) == elsewhere
        # A new clone at the same path is another project.
        _discard(folder)
        shutil.rmtree(folder)
        folder.mkdir()
        assert paths.ensure_project_id(folder) != project_id
    finally:
        _discard(folder)


@needs_root
def test_root_runs_the_cluster_of_a_user_as_that_user(home: Path) -> None:
    nobody = 65534
    server = EmbeddedPostgres(home)
    server.start()
    server.release()
    for path in (home, *home.rglob("*")):
        os.chown(path, nobody, nobody, follow_symlinks=False)
    server = EmbeddedPostgres(home)
    server.start()
    assert (home / "data" / "postmaster.pid").stat().st_uid == nobody
    assert (home / "lock").stat().st_uid == nobody
    server.release()


def test_keep_running_keeps_the_server_until_stop(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    server.keep_running()
    url = server.url
    server.release()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.start()
    server.release()
    assert _is_up(home), "the next command must not stop it"
    EmbeddedPostgres(home).stop()
    assert not _is_up(home)
    server.start()
    server.release()
    assert not _is_up(home), "`keep` applied to the stopped server"


def test_open_psql_connection_keeps_the_server(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    with psycopg.connect(server.url) as psql:
        server.release()
        assert psql.execute("SELECT 1").fetchone() == (1,)
    server.start()
    server.release()


def test_pg_variables_of_the_caller_have_no_effect(home: Path) -> None:
    elsewhere = {
        "PGHOST": "db.example.org", "PGHOSTADDR": "192.0.2.1", "PGPORT": "99", "PGUSER": "ann",
        "PGDATABASE": "lots", "PGOPTIONS": "-c no_such_setting=1", "PGAPPNAME": "psql",
        "PGGSSENCMODE": "require", "PGREQUIREPEER": "ann", "PGTARGETSESSIONATTRS": "standby",
        "PGDATA": "/nowhere", "PGCLIENTENCODING": "latin1",
    }  # fmt: skip
    command = _command(home, **elsewhere)
    assert _up(command).startswith("postgresql://lotline@/lotline?host=%2F")
    _end(command)
    assert not _is_up(home)


def test_psql_opens_the_url(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    psql = programs.find_programs().folder / "psql"
    done = subprocess.run(
        [psql, server.url, "-Atc", "SELECT current_database()"],
        env={**os.environ, "PGPORT": "99"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "lotline\n"
    server.release()


def test_failed_start_reports_the_servers_log(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    server.release()
    with (home / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("\nno_such_setting = 1\n")
    with pytest.raises(StoreError, match=r"does not start(.|\n)*no_such_setting"):
        server.start()


def test_missing_postgresql_tells_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match=r"apt-get install.*DATABASE_URL"):
        programs.find_programs(tmp_path)


def test_postgresql_without_postgis_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _pretend(tmp_path, "14")
    with pytest.raises(StoreError, match="has no PostGIS: install it"):
        programs.find_programs(tmp_path)


def test_newest_postgresql_with_postgis_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for major in ("9", "15", "16", "17"):
        _pretend(tmp_path, major)
    for major in ("9", "15", "16"):
        control = tmp_path / "usr/share/postgresql" / major / "extension/postgis.control"
        control.parent.mkdir(parents=True)
        control.touch()
    assert programs.find_programs(tmp_path).major == 16
    assert programs.find_programs(tmp_path, major=15).folder.parent.name == "15"
    with pytest.raises(StoreError, match=r"created by PostgreSQL 17.*postgresql-17-postgis-3"):
        programs.find_programs(tmp_path, major=17)


def _pretend(root: Path, major: str) -> None:
    folder = root / "usr/lib/postgresql" / major / "bin"
    folder.mkdir(parents=True)
    for name in ("initdb", "pg_ctl", "postgres"):
        (folder / name).touch()


def test_start_and_release_are_idempotent(home: Path) -> None:
    server = EmbeddedPostgres(home)
    with pytest.raises(StoreError, match="call start"):
        _ = server.url
    server.start()
    server.start()
    server.release()
    server.release()
    assert not _is_up(home)


def test_failed_start_releases_its_locks(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("no programs")

    server = EmbeddedPostgres(new_home)
    with monkeypatch.context() as patch:
        patch.setattr(server_module, "find_programs", fail)
        with pytest.raises(StoreError, match="no programs"):
            server.start()
    server.start()
    server.release()
    assert not _is_up(new_home)
