"""What only the store on SQLite promises: durability, group commit, faults of the disk, migrations."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from servers.outcomes import result_of as run
from sqlalchemy import Engine, create_engine, event, inspect
from twisted.internet.defer import Deferred, execute

from eson.errors import BackendFailed, Conflict
from eson.model.flows import Flow
from eson.model.principals import user
from eson.store import port, schema
from eson.store.engine import migrate, open_engine
from eson.store.migrations import MIGRATIONS
from eson.store.records import AuditEntry, Intention
from eson.store.sqlite import SqliteStore

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def start(coroutine: Coroutine[Any, Any, Any]) -> list[Any]:
    outcome: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
    return outcome


class HandWorker:
    """A worker that runs what it was given when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, job: Callable[[], Any]) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.jobs.append((job, answer))
        return answer

    def work(self) -> None:
        job, answer = self.jobs.pop(0)
        execute(job).chainDeferred(answer)


def flow(number: int) -> Flow:
    name = f"f{number:06}.flows.unix.ar"
    return Flow(name, "flows.unix.ar", "local", name, user("test"), NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "eson.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path, execute)
    run(made.open())
    yield made
    run(made.close())


def test_keeps_what_it_was_given(path: Path, store: SqliteStore) -> None:
    run(store.apply(port.PutFlow(flow(1))))
    run(store.close())
    again = SqliteStore(path, execute)
    run(again.open())
    assert run(again.flow(flow(1).name)) == flow(1)
    run(again.close())


def test_only_its_owner_may_read_the_file(path: Path, store: SqliteStore) -> None:
    for file in path.parent.glob("eson.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_commits_are_synced(path: Path) -> None:
    engine = open_engine(path)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_what_waits_shares_one_commit(path: Path) -> None:
    commits: list[str] = []

    def watched(path: Path) -> Engine:
        engine = open_engine(path)
        event.listen(engine, "before_cursor_execute", lambda *a: commits.append(a[2]))
        return engine

    worker = HandWorker()
    store = SqliteStore(path, worker, watched)
    opening = start(store.open())
    worker.work()
    assert opening == [None]
    commits.clear()
    asked = [start(store.apply(port.PutFlow(flow(number)))) for number in range(10)]
    worker.work()
    assert [len(outcome) for outcome in asked] == [1] + [0] * 9
    worker.work()
    assert asked == [[None]] * 10
    assert commits.count("COMMIT") == 2
    assert not worker.jobs
    closing = start(store.close())
    worker.work()
    assert closing == [None]


def test_who_does_not_wait_any_more_keeps_nobody_from_being_answered(path: Path) -> None:
    worker = HandWorker()
    store = SqliteStore(path, worker)
    start(store.open())
    worker.work()
    left = Deferred.fromCoroutine(store.apply(port.PutFlow(flow(1))))
    gone: list[Any] = []
    left.addErrback(gone.append)
    left.cancel()
    assert len(gone) == 1
    asked = start(store.flow(flow(1).name))
    worker.work()
    worker.work()
    assert asked == [flow(1)]
    closing = start(store.close())
    worker.work()
    assert closing == [None]


def test_two_processes_that_start_at_once_bring_a_store_up_to_date_once(path: Path) -> None:
    first = open_engine(path).connect().execution_options(isolation_level="AUTOCOMMIT")
    second = open_engine(path).connect().execution_options(isolation_level="AUTOCOMMIT")

    def overtaken(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN") and statements.count("COMMIT") == 1:
            statements.append("overtaken")
            migrate(second)
        statements.append(statement)

    statements: list[str] = []
    event.listen(first.engine, "before_cursor_execute", overtaken)
    migrate(first)
    assert "overtaken" in statements
    found = second.exec_driver_sql("SELECT number FROM migrations ORDER BY number").scalars().all()
    assert found == [one.number for one in MIGRATIONS]
    first.close()
    second.close()


def test_one_refused_change_disturbs_no_neighbour_in_the_same_commit(path: Path) -> None:
    worker = HandWorker()
    store = SqliteStore(path, worker)
    start(store.open())
    worker.work()
    first = start(store.apply(port.UseLabel("aaaaaaa")))
    good = start(store.apply(port.PutFlow(flow(1))))
    bad = start(store.apply(port.PutFlow(flow(2)), port.UseLabel("aaaaaaa")))
    seen = start(store.all_flows())
    worker.work()
    worker.work()
    assert first == good == [None]
    bad[0].trap(Conflict)
    assert seen == [[flow(1)]]
    start(store.close())
    worker.work()


def test_nobody_is_told_of_success_when_the_sync_fails(path: Path) -> None:
    fail = False

    def fragile(path: Path) -> Engine:
        engine = open_engine(path)

        def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if fail and statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")

        event.listen(engine, "before_cursor_execute", before)
        return engine

    store = SqliteStore(path, execute, fragile)
    run(store.open())
    run(store.apply(port.PutFlow(flow(1))))
    assert store.failing() == []
    fail = True
    with pytest.raises(BackendFailed, match="nothing was changed") as caught:
        run(store.apply(port.PutFlow(flow(2))))
    assert "I/O" not in caught.value.text
    assert "I/O" in str(caught.value.context)
    fail = False
    assert run(store.all_flows()) == [flow(1)]
    assert store.failing() == ["store"], "a read says nothing of writing"
    run(store.apply(port.PutFlow(flow(3))))
    assert store.failing() == []
    assert run(store.all_flows()) == [flow(1), flow(3)]
    run(store.close())


def test_a_full_disk_fails_the_change_and_keeps_what_was(path: Path) -> None:
    """SQLite itself says that the disk is full, because its file may not grow."""
    limit = ["100000"]

    def small(path: Path) -> Engine:
        engine = open_engine(path)
        event.listen(engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count={limit[0]}").close())
        return engine

    store = SqliteStore(path, execute, small)
    run(store.open())
    run(store.apply(port.PutFlow(flow(1))))
    run(store.close())
    limit[0] = "1"  # never below what the file has
    run(store.open())
    with pytest.raises(BackendFailed):
        run(store.apply(*(port.PutFlow(flow(number)) for number in range(2, 2000))))
    assert run(store.all_flows()) == [flow(1)]
    run(store.close())
    limit[0] = "100000"
    run(store.open())
    run(store.apply(port.PutFlow(flow(2))))
    assert run(store.all_flows()) == [flow(1), flow(2)]
    run(store.close())


def test_a_file_that_is_no_store_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(BackendFailed):
        run(SqliteStore(path, execute).open())


def test_a_newer_release_s_store_is_refused(path: Path, store: SqliteStore) -> None:
    run(store.close())
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO migrations (number) VALUES (9999)")
    connection.close()
    with pytest.raises(BackendFailed, match="newer release"):
        run(SqliteStore(path, execute).open())


def test_the_tables_in_queries_are_those_that_the_migrations_leave(path: Path, store: SqliteStore) -> None:
    made = inspect(create_engine(f"sqlite:///{path}"))
    assert set(made.get_table_names()) == {*schema.metadata.tables, "migrations"}
    for name, table in schema.metadata.tables.items():
        found = {column["name"]: column for column in made.get_columns(name)}
        assert list(found) == [column.name for column in table.columns], name
        for column in table.columns:
            assert str(found[column.name]["type"]) == str(column.type.compile()), column
            if not column.primary_key:
                assert found[column.name]["nullable"] == column.nullable, column
        assert made.get_pk_constraint(name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_the_audit_log_refuses_to_be_changed(path: Path, store: SqliteStore) -> None:
    run(store.apply(port.Note(AuditEntry(NOW, "user:test", "create", "f"))))
    with sqlite3.connect(path) as connection:
        for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    connection.close()
    assert [entry.actor for entry in run(store.audit())] == ["user:test"]


def test_a_closed_store_says_so(path: Path, store: SqliteStore) -> None:
    run(store.close())
    with pytest.raises(BackendFailed, match="closed"):
        run(store.all_flows())


def test_an_intention_is_there_after_a_crash(path: Path) -> None:
    """Another connection sees it as soon as `apply` has returned, without `close`."""
    store = SqliteStore(path, execute)
    run(store.open())
    run(store.apply(port.PutIntention(Intention("create-flow", "a.b", NOW))))
    other = SqliteStore(path, execute)
    run(other.open())
    assert [one.object for one in run(other.intentions())] == ["a.b"]
    run(other.close())
    run(store.close())


def test_a_store_of_the_first_release_is_brought_up_to_date(path: Path) -> None:
    """What it held is still there, and what came later can be kept."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY)")
        for statement in MIGRATIONS[0].statements:
            connection.execute(statement)
        connection.execute("INSERT INTO migrations (number) VALUES (1)")
        connection.execute(
            "INSERT INTO namespaces VALUES ('flows.unix.ar', 'local', 'local', 'embedded', '', 'listed', '[]', 1, NULL, NULL)"
        )
    connection.close()
    store = SqliteStore(path, execute)
    run(store.open())
    assert [one.name for one in run(store.namespaces())] == ["flows.unix.ar"]
    assert run(store.processors()) == []
    run(store.close())
