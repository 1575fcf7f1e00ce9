"""How a processor reaches brokers: whom it asks for addresses, and which addresses it may connect to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eson.model.names import is_at_or_below
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy


@dataclass(frozen=True)
class Reach:
    """`policy` holds for foreign ends.

    `resolver` is the name server asked for every host (None: the system's resolver); `resolve` those asked for a domain
    and all below it.
    """

    policy: AddressPolicy = AddressPolicy()  # noqa: RUF009 (frozen)
    resolver: Server | None = None
    resolve: Mapping[str, Server] = field(default_factory=dict)

    def name_server(self, host: str) -> Server | None:
        """Whom to ask for `host`; None: the system."""
        name = host.lower().removesuffix(".")
        domains = [domain for domain in self.resolve if is_at_or_below(name, domain)]
        return self.resolve[max(domains, key=len)] if domains else self.resolver
