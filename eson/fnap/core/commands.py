"""Commands of FNAP as frozen values (interface section 4, `command`).

Names are canonical: lower case, without scheme and final dot.  What only the session itself answers (EHLO, STARTTLS,
AUTHENTICATE, …) stands in `SessionCommand`; everything else is an `AgentCommand` that the agent executes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eson.model.positions import Position
from eson.model.principals import Principal

Pairs = tuple[tuple[str, str], ...]
DescribedKind = Literal["FLOW", "NAMESPACE", "NAMESERVER", "BROKER", "AGENT", "PROCESSOR"]
ListedKind = Literal["BROKERS", "AGENTS", "PROCESSORS", "NAMESERVERS"]


# What the session answers


@dataclass(frozen=True)
class Ehlo:
    client: str = ""


@dataclass(frozen=True)
class Capabilities:
    pass


@dataclass(frozen=True)
class StartTls:
    pass


@dataclass(frozen=True)
class Authenticate:
    """`initial`: the base64 text behind the mechanism, "=" for an empty response, None if there is none."""

    mechanism: str
    initial: str | None = None


@dataclass(frozen=True)
class Format:
    json: bool


@dataclass(frozen=True)
class WhoAmI:
    pass


@dataclass(frozen=True)
class Help:
    word: str = ""


@dataclass(frozen=True)
class Noop:
    pass


@dataclass(frozen=True)
class Quit:
    pass


# What the agent executes


@dataclass(frozen=True)
class CreateFlow:
    flow: str
    pairs: Pairs = ()


@dataclass(frozen=True)
class CreateNamespace:
    namespace: str
    pairs: Pairs = ()


@dataclass(frozen=True)
class Describe:
    """`name` is an FQDN, a broker's word, or a processor's id."""

    kind: DescribedKind
    name: str


@dataclass(frozen=True)
class UpdateFlow:
    flow: str
    pairs: Pairs


@dataclass(frozen=True)
class UpdateNamespace:
    namespace: str
    pairs: Pairs


@dataclass(frozen=True)
class DeleteFlow:
    flow: str
    force: bool = False


@dataclass(frozen=True)
class DeleteNamespace:
    namespace: str
    force: bool = False


@dataclass(frozen=True)
class Page:
    after: str = ""
    limit: int | None = None


@dataclass(frozen=True)
class GetNamespaces:
    below: str = ""
    page: Page = Page()


@dataclass(frozen=True)
class GetFlows:
    below: str = ""
    page: Page = Page()


@dataclass(frozen=True)
class GetSubscriptions:
    flow: str = ""
    page: Page = Page()


@dataclass(frozen=True)
class GetSubscribers:
    flow: str
    page: Page = Page()


@dataclass(frozen=True)
class GetCredential:
    name: str


@dataclass(frozen=True)
class GetItems:
    kind: ListedKind


@dataclass(frozen=True)
class Subscribe:
    """`local` is canonical; `typed_local` is how the client wrote it, which the reply repeats."""

    flow: str
    local: str = ""
    typed_local: str = ""
    position: Position | None = None
    token: str = ""


@dataclass(frozen=True)
class Unsubscribe:
    id: str


@dataclass(frozen=True)
class ChangeSubscriber:
    """APPROVE, DENY or REMOVE SUBSCRIBER: of a copy, or of a flow and a principal; `reason` is free text."""

    verb: Literal["APPROVE", "DENY", "REMOVE"]
    name: str
    principal: Principal | None = None
    reason: str = ""


@dataclass(frozen=True)
class ChangeSubscription:
    verb: Literal["PAUSE", "RESUME", "STOP"]
    id: str


@dataclass(frozen=True)
class Notify:
    copy: str
    state: str


@dataclass(frozen=True)
class Read:
    flow: str
    position: Position | None = None
    limit: int | None = None
    follow: bool = False


@dataclass(frozen=True)
class Write:
    flow: str


@dataclass(frozen=True)
class Replicate:
    """A bridge from one flow to another."""

    source: str
    destination: str


@dataclass(frozen=True)
class Collect:
    """A collector: many flows into one."""

    sources: tuple[str, ...]
    destination: str


@dataclass(frozen=True)
class Distribute:
    """A distributor: one flow into many."""

    source: str
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Signal:
    """A signal: many flows into many, `when` an expression of CloudEvents SQL ("": always)."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    when: str = ""


SessionCommand = Ehlo | Capabilities | StartTls | Authenticate | Format | WhoAmI | Help | Noop | Quit
AgentCommand = (
    CreateFlow
    | CreateNamespace
    | Describe
    | UpdateFlow
    | UpdateNamespace
    | DeleteFlow
    | DeleteNamespace
    | GetNamespaces
    | GetFlows
    | GetSubscriptions
    | GetSubscribers
    | GetCredential
    | GetItems
    | Subscribe
    | Unsubscribe
    | ChangeSubscriber
    | ChangeSubscription
    | Notify
    | Replicate
    | Collect
    | Distribute
    | Signal
)
Command = SessionCommand | AgentCommand | Read | Write
