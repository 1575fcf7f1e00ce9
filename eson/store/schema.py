"""The tables as SQLAlchemy Core knows them: what `migrations.py` leaves behind.

Times are RFC 3339 text in UTC with microseconds, so that they sort; principals are text; lists are JSON.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()


def _text(name: str, *, key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=nullable)


namespaces = Table(
    "namespaces",
    metadata,
    _text("name", key=True),
    *(_text(name) for name in ("broker", "copies", "public", "private", "visibility", "administrators")),
    Column("configured", Boolean, nullable=False),
    _text("owner", nullable=True),
    _text("created", nullable=True),
)

flows = Table(
    "flows",
    metadata,
    _text("name", key=True),
    *(_text(name) for name in ("parent", "namespace", "broker", "topic", "owner", "created", "visibility")),
    _text("description"),
    Column("partitions", Integer, nullable=False),
    Column("retention_ms", Integer),
    Column("retention_bytes", Integer),
    *(_text(name) for name in ("mode", "copy_of", "lineage", "settings")),
    Column("adopted", Boolean, nullable=False),
    Column("records_per_second", Integer),
    Column("bytes_per_second", Integer),
    _text("made_for"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _text("side", key=True),
    _text("id", key=True),
    *(_text(name) for name in ("flow", "copy", "local", "principal", "participant", "token", "state")),
    *(_text(name) for name in ("reason", "actor", "since", "created", "start", "position", "remote_state")),
    _text("renewed", nullable=True),
    *(_text(name) for name in ("lineage", "typed_local")),
)

labels = Table("labels", metadata, _text("label", key=True))

credentials = Table(
    "credentials",
    metadata,
    _text("side", key=True),
    _text("name", key=True),
    *(_text(name) for name in ("broker", "principal", "issued", "verifier")),
    Column("sealed", LargeBinary, nullable=False),
)

intentions = Table(
    "intentions",
    metadata,
    _text("object", key=True),
    *(_text(name) for name in ("kind", "created", "data")),
)

calls = Table(
    "calls",
    metadata,
    _text("key", key=True),
    *(_text(name) for name in ("flow", "copy", "token", "principal", "created")),
    Column("attempts", Integer, nullable=False),
    _text("next", nullable=True),
)

journals = Table(
    "journals", metadata, _text("processor", key=True), Column("lanes", LargeBinary, nullable=False)
)

processors = Table(
    "processors",
    metadata,
    _text("id", key=True),
    *(_text(name) for name in ("kind", "sources", "destinations", "owner", "state", "reason", "actor")),
    *(_text(name) for name in ("since", "created", "feeds", "start", "condition")),
)

processor_ends = Table(
    "processor_ends", metadata, _text("id", key=True), _text("role", key=True), _text("flow", key=True)
)

accounts = Table(
    "accounts",
    metadata,
    _text("name", key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("stored_key", LargeBinary, nullable=False),
    Column("sealed_server_key", LargeBinary, nullable=False),
    *(_text(name) for name in ("home", "groups")),
    Column("operator", Boolean, nullable=False),
    _text("participant"),
    Column("locked", Boolean, nullable=False),
    _text("source"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    *(_text(name) for name in ("time", "actor", "act", "object", "outcome", "detail")),
)

tallies = Table("tallies", metadata, _text("owner", key=True), Column("flows", Integer, nullable=False))
