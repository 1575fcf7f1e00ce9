"""What no single key can tell: contradictions between keys, and names that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from eson.config import values
from eson.config.reading import Faults
from eson.config.values import Address, Config
from eson.model.flows import Namespace

_Named = tuple[str, str]
"""A path in the file, and the name that stands there."""


def complete(config: Config) -> Config:
    """The configuration with the brokers that its namespaces leave out: the first, and for copies the same."""
    first = config.brokers[0].name if config.brokers else ""
    return replace(
        config, namespaces=tuple(_with_brokers(namespace, first) for namespace in config.namespaces)
    )


def _with_brokers(namespace: Namespace, first: str) -> Namespace:
    broker = namespace.broker or first
    return replace(namespace, broker=broker, copies=namespace.copies or broker)


def check(config: Config, faults: Faults) -> None:
    """Adds the faults of a configuration as it was read (before `complete`)."""
    for one in _CHECKS:
        one(config, faults)


def _names(config: Config, faults: Faults) -> None:
    """Names that must differ, and names that must not be our own."""
    for what, named in (
        ("brokers", [(faults.path_of(one), one.name) for one in config.brokers]),
        ("namespaces", [(faults.path_of(one), one.name) for one in config.namespaces]),
        ("accounts", [(faults.path_of(one), one.name) for one in config.identity.accounts]),
        ("zones", [(faults.path_of(one), one.name) for one in config.names.zones]),
        ("remotes", [(faults.path_of(one), one.agent) for one in config.remotes]),
    ):
        _no_twins(what, named, faults)
    for remote in config.remotes:
        if remote.agent and remote.agent == config.agent:
            faults.add(
                f"{faults.path_of(remote)}.agent", "is this agent itself", "Name another participant's agent"
            )
    for account in config.identity.accounts:
        if account.participant and account.participant == config.participant:
            path = f"{faults.path_of(account)}.participant"
            faults.add(path, "is this participant itself", "Leave the key out for your own users")


def _no_twins(what: str, named: Sequence[_Named], faults: Faults) -> None:
    seen: set[str] = set()
    for path, name in named:
        if name and name in seen:
            faults.add(path, f"`{name}` is there twice among {what}", "Give each its own name")
        seen.add(name)


def _nothing_missing(config: Config, faults: Faults) -> None:
    """Lists that must not be empty."""
    fnap = config.fnap
    for path, empty, reason, remedy in (
        ("brokers", not config.brokers, "has no broker", "Give one, or leave the key out"),
        ("address", not config.address, "has no address", "Give one, or leave the key out"),
        (
            "identity.mechanisms",
            not config.identity.mechanisms,
            "lets nobody in",
            "Give one, or leave it out",
        ),
        ("fnap", not fnap.listen and not fnap.listen_tls, "has no listener", "Set listen or listen_tls"),
    ):
        if empty and not faults.found_in(path):
            faults.add(path, reason, remedy)


def _mechanisms(config: Config, faults: Faults) -> None:
    given = config.identity.mechanisms
    if len(set(given)) < len(given):
        faults.add("identity.mechanisms", "names one twice", "Name each once, the best first")


def _certificate(config: Config, faults: Faults) -> None:
    fnap = config.fnap
    if (fnap.certificate is None) != (fnap.key is None) and not faults.found_in("fnap"):
        key, other = ("key", "certificate") if fnap.certificate is None else ("certificate", "key")
        faults.add(
            f"fnap.{key}", f"is set without `{other}`", "Set both, or neither for one made by the agent"
        )
    if fnap.certificate is not None or faults.found_in("fnap.certificate"):
        return
    exposed = [
        *(("fnap.listen", one) for one in fnap.listen),
        *(("fnap.listen_tls", one) for one in fnap.listen_tls),
    ]
    for broker in config.brokers:
        if isinstance(broker, values.EmbeddedBroker):
            exposed += [(f"{faults.path_of(broker)}.listen_tls", one) for one in broker.listen_tls]
    for path, address in exposed:
        if not address.is_loopback:
            faults.add(
                path,
                f"{address} faces other machines without a certificate",
                "Set fnap.certificate and fnap.key, or listen on 127.0.0.1",
            )


def _listeners(config: Config, faults: Faults) -> None:
    """No two listeners on one port."""
    taken: list[_Listener] = []
    for path, kind, address in _all_listeners(config, faults):
        for other, other_kind, there in taken:
            if kind == other_kind and _clash(address, there):
                faults.add(
                    path, f"{address} is taken by {other} ({there})", "Give each listener its own port"
                )
                break
        taken.append((path, kind, address))


_Listener = tuple[str, str, Address]


def _all_listeners(config: Config, faults: Faults) -> Iterator[_Listener]:
    """Path, transport and address; the name server's UDP clashes with nothing but itself."""
    pairs = [("fnap.listen", config.fnap.listen), ("fnap.listen_tls", config.fnap.listen_tls)]
    pairs.append(("names.listen", config.names.listen))
    for broker in config.brokers:
        if isinstance(broker, values.EmbeddedBroker):
            path = faults.path_of(broker) or "brokers"
            pairs += [(f"{path}.listen", broker.listen), (f"{path}.listen_tls", broker.listen_tls)]
    pairs += [("web.listen", config.web.listen), ("web.metrics", config.web.metrics)]
    for path, addresses in pairs:
        for address in addresses:
            yield path, "tcp", address


def _clash(one: Address, other: Address) -> bool:
    if not one.port or one.port != other.port or (":" in one.host) != (":" in other.host):
        return False
    return one.host == other.host or one.is_wildcard or other.is_wildcard


def _brokers(config: Config, faults: Faults) -> None:
    for broker in config.brokers:
        path = faults.path_of(broker)
        if isinstance(broker, values.EmbeddedBroker):
            _embedded(broker, path, faults)
        elif broker.name and faults.has(f"{path}.type"):
            _kafka(broker, path, faults)


def _embedded(broker: values.EmbeddedBroker, path: str, faults: Faults) -> None:
    if not broker.listen and not broker.listen_tls:
        faults.add(f"{path}.listen", "leaves the broker without a listener", "Set listen or listen_tls")
    if broker.login == "none":
        for one in (*broker.listen, *broker.listen_tls):
            if not one.is_loopback:
                faults.add(
                    f"{path}.login",
                    f"is none, and {one} faces other machines: anyone could do anything",
                    "Use required, or listen on 127.0.0.1",
                )


def _kafka(broker: values.KafkaBroker, path: str, faults: Faults) -> None:
    if not broker.servers and not faults.found_in(f"{path}.servers"):
        faults.add(f"{path}.servers", "has no server", 'Give one or more, such as "kf1.unix.ar:9092"')
    if broker.has_login:
        if not _says_login(path, faults):
            faults.add(
                path, f"has security {broker.security} without a login", "Set username and password_file"
            )
    else:
        for key in ("mechanism", "username", "password", "password_file"):
            if faults.has(f"{path}.{key}"):
                faults.add(
                    f"{path}.{key}",
                    f"is of no use with security {broker.security}",
                    "Set security to sasl_ssl, or remove it",
                )
        if broker.credentials == "issue":
            faults.add(
                f"{path}.credentials",
                f"cannot be issued with security {broker.security}",
                "Set security to sasl_ssl, or credentials to none",
            )
    if not broker.has_tls and faults.has(f"{path}.trust"):
        faults.add(
            f"{path}.trust",
            f"is of no use with security {broker.security}",
            "Set security to ssl or sasl_ssl",
        )


def _says_password(path: str, faults: Faults) -> bool:
    """Whether the file sets one, even one that cannot be read: that fault is reported already."""
    return faults.has(f"{path}.password") or faults.has(f"{path}.password_file")


def _says_login(path: str, faults: Faults) -> bool:
    return faults.has(f"{path}.username") and _says_password(path, faults)


def _namespaces(config: Config, faults: Faults) -> None:
    known = {broker.name for broker in config.brokers}
    some_unread = faults.found_in("brokers")
    for namespace in config.namespaces:
        for key in ("broker", "copies"):
            name = getattr(namespace, key)
            if name and name not in known and not some_unread:
                faults.add(
                    f"{faults.path_of(namespace)}.{key}",
                    f"`{name}` is no broker of this file",
                    f"Brokers are: {', '.join(sorted(known))}",
                )


def _accounts(config: Config, faults: Faults) -> None:
    for account in config.identity.accounts:
        path = faults.path_of(account)
        if not _says_password(path, faults):
            faults.add(path, "has no password", "Set password_file (or password)")
        if account.operator and account.participant:
            faults.add(
                f"{path}.operator",
                "is true for another participant's agent",
                "Keep one of operator and participant",
            )


def _remotes(config: Config, faults: Faults) -> None:
    for remote in config.remotes:
        path = faults.path_of(remote)
        if remote.tls == "none":
            if remote.address is None or not remote.address.is_loopback:
                faults.add(
                    f"{path}.tls",
                    "is none for another machine",
                    "Use implicit or starttls, or a loopback address",
                )
            if faults.has(f"{path}.trust"):
                faults.add(f"{path}.trust", "is of no use with tls none", "Remove it, or use TLS")
        if remote.mechanism in ("SCRAM-SHA-256", "PLAIN"):
            if not _says_login(path, faults):
                faults.add(path, f"uses {remote.mechanism} without a login", "Set username and password_file")
        elif remote.username or remote.password is not None:
            faults.add(
                path,
                "has a login that no mechanism uses",
                "Set mechanism to SCRAM-SHA-256, or remove the login",
            )
        elif remote.login_as == "user":
            faults.add(f"{path}.as", "is user, without a login", "Set mechanism, username and password_file")


_CHECKS: Sequence[Callable[[Config, Faults], None]] = (
    _names,
    _nothing_missing,
    _mechanisms,
    _certificate,
    _listeners,
    _brokers,
    _namespaces,
    _accounts,
    _remotes,
)
