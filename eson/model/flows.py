"""Flows and namespaces as the agent knows them."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from eson.errors import Usage
from eson.model.principals import Principal
from eson.model.rates import UNLIMITED, RateLimit


class Visibility(enum.Enum):
    PRIVATE = "private"
    LISTED = "listed"
    PUBLIC = "public"


@dataclass(frozen=True)
class Flow:
    """One flow: FQDN, namespace, the queue that carries it, and what its owner set.

    `topic` is the queue's real name at `broker` (a name of the configuration); `copy_of` is the source flow's name for a
    copy, else "".  `adopted`: the queue was there before the flow, and stays when the flow is deleted.
    `made_for`: the copy or the processor that it was made for as a destination, whose source it follows in partitions; ""
    for a flow that somebody created.
    `retention_ms` and `retention_bytes` are None for the broker's default.  `limit` holds for each processor that fills it
    by itself.  `settings` are the keys that somebody set:
    only these are shown in TEXT beyond the draft's four lines.
    """

    name: str
    namespace: str
    broker: str
    topic: str
    owner: Principal
    created: datetime
    visibility: Visibility = Visibility.LISTED
    description: str = ""
    partitions: int = 1
    retention_ms: int | None = None
    retention_bytes: int | None = None
    mode: str = "binary"
    copy_of: str = ""
    settings: frozenset[str] = field(default_factory=frozenset)
    adopted: bool = False
    limit: RateLimit = UNLIMITED
    made_for: str = ""


@dataclass(frozen=True)
class Namespace:
    """A namespace hosted here; `configured` ones come from the file and cannot be deleted."""

    name: str
    broker: str
    copies: str
    public: str = "embedded"
    private: str = ""
    visibility: Visibility = Visibility.LISTED
    administrators: tuple[Principal, ...] = ()
    configured: bool = True
    owner: Principal | None = None
    created: datetime | None = None


def ancestry_mark(flow: str) -> str:
    """What stands for an ancestor in a lineage: first 16 hex digits of the SHA-256 of its FQDN."""
    return hashlib.sha256(flow.encode("ascii")).hexdigest()[:16]


def parse_visibility(text: str) -> Visibility:
    """`private`, `listed` or `public`, whatever the case.  Raises `Usage`."""
    try:
        return Visibility(text.lower())
    except ValueError:
        raise Usage("Usage: visibility=private | listed | public") from None
