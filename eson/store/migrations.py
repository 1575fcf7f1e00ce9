"""Numbered migrations of the SQLite schema.

A migration is text that never changes once it was released; `schema.py` describes the result of all of them for
queries, and a test compares the two.  Why not alembic: docs/decisions/store.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Migration(NamedTuple):
    number: int
    statements: Sequence[str]


_FIRST = (
    """CREATE TABLE namespaces (
        name TEXT PRIMARY KEY, broker TEXT NOT NULL, copies TEXT NOT NULL, public TEXT NOT NULL,
        private TEXT NOT NULL, visibility TEXT NOT NULL, administrators TEXT NOT NULL,
        configured BOOLEAN NOT NULL, owner TEXT, created TEXT) WITHOUT ROWID""",
    """CREATE TABLE flows (
        name TEXT PRIMARY KEY, parent TEXT NOT NULL, namespace TEXT NOT NULL, broker TEXT NOT NULL,
        topic TEXT NOT NULL, owner TEXT NOT NULL, created TEXT NOT NULL, visibility TEXT NOT NULL,
        description TEXT NOT NULL, partitions INTEGER NOT NULL, retention_ms INTEGER, retention_bytes INTEGER,
        mode TEXT NOT NULL, copy_of TEXT NOT NULL, lineage TEXT NOT NULL, settings TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX flows_by_parent ON flows (parent)",
    """CREATE TABLE subscriptions (
        side TEXT NOT NULL, id TEXT NOT NULL, flow TEXT NOT NULL, copy TEXT NOT NULL, local TEXT NOT NULL,
        principal TEXT NOT NULL, participant TEXT NOT NULL, token TEXT NOT NULL, state TEXT NOT NULL,
        reason TEXT NOT NULL, actor TEXT NOT NULL, since TEXT NOT NULL, created TEXT NOT NULL,
        start TEXT NOT NULL, position TEXT NOT NULL, remote_state TEXT NOT NULL, renewed TEXT,
        lineage TEXT NOT NULL, typed_local TEXT NOT NULL, PRIMARY KEY (side, id)) WITHOUT ROWID""",
    "CREATE INDEX subscriptions_by_flow ON subscriptions (flow, side, state)",
    "CREATE INDEX subscriptions_by_local ON subscriptions (local) WHERE local != ''",
    "CREATE INDEX subscriptions_by_principal ON subscriptions (principal, id)",
    "CREATE INDEX subscriptions_by_participant ON subscriptions (participant, side, state)",
    "CREATE INDEX subscriptions_by_state ON subscriptions (state, since)",
    "CREATE TABLE labels (label TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE credentials (
        side TEXT NOT NULL, name TEXT NOT NULL, broker TEXT NOT NULL, principal TEXT NOT NULL,
        issued TEXT NOT NULL, verifier TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (side, name)) WITHOUT ROWID""",
    """CREATE TABLE intentions (
        object TEXT PRIMARY KEY, kind TEXT NOT NULL, created TEXT NOT NULL, data TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE calls (
        key TEXT PRIMARY KEY, flow TEXT NOT NULL, copy TEXT NOT NULL, token TEXT NOT NULL,
        principal TEXT NOT NULL, created TEXT NOT NULL, attempts INTEGER NOT NULL, next TEXT) WITHOUT ROWID""",
    """CREATE TABLE accounts (
        name TEXT PRIMARY KEY, salt BLOB NOT NULL, iterations INTEGER NOT NULL, stored_key BLOB NOT NULL,
        sealed_server_key BLOB NOT NULL, home TEXT NOT NULL, groups TEXT NOT NULL, operator BOOLEAN NOT NULL,
        participant TEXT NOT NULL, locked BOOLEAN NOT NULL, source TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL,
        object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL)""",
    """CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    # how many flows each owner has, so that the limit costs the same for one flow and for a hundred thousand
    "CREATE TABLE tallies (owner TEXT PRIMARY KEY, flows INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TRIGGER flow_added AFTER INSERT ON flows WHEN NEW.copy_of = ''
        BEGIN INSERT INTO tallies (owner, flows) VALUES (NEW.owner, 1)
              ON CONFLICT (owner) DO UPDATE SET flows = flows + 1; END""",
    """CREATE TRIGGER flow_removed AFTER DELETE ON flows WHEN OLD.copy_of = ''
        BEGIN UPDATE tallies SET flows = flows - 1 WHERE owner = OLD.owner;
              DELETE FROM tallies WHERE owner = OLD.owner AND flows = 0; END""",
)

_PROCESSORS = (
    """CREATE TABLE processors (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, sources TEXT NOT NULL, destinations TEXT NOT NULL,
        owner TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL, since TEXT NOT NULL,
        created TEXT NOT NULL, feeds TEXT NOT NULL, start TEXT NOT NULL, condition TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX processors_by_owner ON processors (owner, id)",
    """CREATE TABLE processor_ends (
        id TEXT NOT NULL, role TEXT NOT NULL, flow TEXT NOT NULL, PRIMARY KEY (id, role, flow)) WITHOUT ROWID""",
    "CREATE INDEX processor_ends_by_flow ON processor_ends (flow, role)",
)

_ADOPTED = ("ALTER TABLE flows ADD COLUMN adopted BOOLEAN NOT NULL DEFAULT 0",)

_JOURNALS = ("CREATE TABLE journals (processor TEXT PRIMARY KEY, lanes BLOB NOT NULL) WITHOUT ROWID",)

_LIMITS = (
    "ALTER TABLE flows ADD COLUMN records_per_second INTEGER",
    "ALTER TABLE flows ADD COLUMN bytes_per_second INTEGER",
)

_MADE_FOR = ("ALTER TABLE flows ADD COLUMN made_for TEXT NOT NULL DEFAULT ''",)

MIGRATIONS: Sequence[Migration] = (
    Migration(1, _FIRST),
    Migration(2, _PROCESSORS),
    Migration(3, _ADOPTED),
    Migration(4, _JOURNALS),
    Migration(5, _LIMITS),
    Migration(6, _MADE_FOR),
)
LATEST = MIGRATIONS[-1].number
