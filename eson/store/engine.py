"""SQLite opened the way the store needs it, and its schema brought up to date.

WAL with `synchronous=FULL`: a commit returns after its pages are in the log and the log is synced.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event

from eson.errors import BackendFailed
from eson.store.migrations import LATEST, MIGRATIONS

BUSY_MS = 5000
"""How long to wait for another process, such as `eson account`, that writes."""


def open_engine(path: Path) -> Engine:
    """An engine with one connection to the file at `path`, which is made, readable by its owner alone, if missing."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    engine = create_engine(
        f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    # the driver's own transactions begin too late for ours: BEGIN is said in so many words instead
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def begin(connection: Connection, writing: bool) -> None:
    """Begins a transaction; one that writes takes the lock at once, so that it cannot fail half way."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def migrate(connection: Connection) -> None:
    """Applies the migrations that the file lacks, each in a transaction with its number.

    Raises `BackendFailed` if a newer release wrote the file.
    """
    begin(connection, writing=True)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
    connection.exec_driver_sql("COMMIT")
    done = _latest(connection)
    if done > LATEST:
        raise BackendFailed("The store was written by a newer release of ESON", found=done, known=LATEST)
    for migration in MIGRATIONS:
        if migration.number <= done:
            continue
        begin(connection, writing=True)
        if migration.number > _latest(connection):  # else another process was first
            for statement in migration.statements:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("INSERT INTO migrations (number) VALUES (?)", (migration.number,))
        connection.exec_driver_sql("COMMIT")


def _latest(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT coalesce(max(number), 0) FROM migrations").scalar_one())
