"""Names of flows and namespaces: DNS names in canonical form.

A name is canonical when it is lower case, without the `flow://` scheme and without the final dot
(interface section 4, `flow` and `fqdn`).  Limits are those of RFC 1035 section 2.3.4 and, for flows, the room that the
records of their copies need (interface section 7).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator

from eson.errors import NameNotAllowed

SCHEME = "flow://"
MAX_FQDN = 253
MAX_FLOW = 227
COPY_LABEL = re.compile(r"[a-z][a-z0-9]{6}\Z")
PROCESSOR_ID = re.compile(r"p-[a-z0-9]{7}\Z")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_FIRST = "abcdefghijklmnopqrstuvwxyz"
_REST = _FIRST + "0123456789"


def canonical(name: str, limit: int = MAX_FQDN) -> str:
    """The canonical form of an FQDN of at least two labels.  Raises `NameNotAllowed`."""
    text = name.lower().removesuffix(".")
    if not text or len(text) > limit or not name.isascii():
        raise NameNotAllowed(f"{shown(name)} must be ASCII of 1 to {limit} octets")
    labels = text.split(".")
    if len(labels) < 2:
        raise NameNotAllowed(f"{shown(name)} needs at least two labels")
    for label in labels:
        if not _LABEL.match(label):
            raise NameNotAllowed(
                f"{shown(name)} has a label that is not 1 to 63 letters, digits or inner hyphens"
            )
    return text


def canonical_flow(name: str, limit: int = MAX_FLOW) -> str:
    """The canonical form of a flow's name, `flow://` removed; at most 227 octets.  Raises `NameNotAllowed`."""
    bare = name[len(SCHEME) :] if name[: len(SCHEME)].lower() == SCHEME else name
    return canonical(bare, limit)


def shown(name: str) -> str:
    """A peer's text cut to 64 printable characters, for error texts."""
    cut = "".join(c if c.isprintable() else "?" for c in name[:64])
    return cut + ("…" if len(name) > 64 else "") if cut else "an empty name"


def is_below(name: str, ancestor: str) -> bool:
    """Whether `name` lies strictly below `ancestor` on label borders."""
    return name.endswith("." + ancestor)


def is_at_or_below(name: str, ancestor: str) -> bool:
    """Whether `name` is `ancestor` or lies below it."""
    return name == ancestor or is_below(name, ancestor)


def parent(name: str) -> str:
    """The name without its first label; empty for a single label."""
    return name.partition(".")[2]


def ancestors(name: str) -> Iterator[str]:
    """All proper ancestors, nearest first, the last with one label."""
    rest = parent(name)
    while rest:
        yield rest
        rest = parent(rest)


def longest_namespace(name: str, namespaces: Iterable[str]) -> str | None:
    """The longest of `namespaces` below which `name` lies, on label borders; None if there is none."""
    best: str | None = None
    for namespace in namespaces:
        if is_below(name, namespace) and (best is None or len(namespace) > len(best)):
            best = namespace
    return best


def new_copy_label() -> str:
    """A fresh label of a copy: 7 characters `[a-z][a-z0-9]{6}` from a secure source; not a secret."""
    return secrets.choice(_FIRST) + "".join(secrets.choice(_REST) for _ in range(6))


def new_processor_id() -> str:
    """A fresh processor id, `p-` and 7 letters or digits."""
    return "p-" + "".join(secrets.choice(_REST) for _ in range(7))
