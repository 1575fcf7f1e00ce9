"""The keys of `eson.yaml` and what reads each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from eson.config import values
from eson.config.files import file, path, pin_or_trust, private_file, secret, secret_file, trust
from eson.config.reading import Convert, Entry, many, mapping, section
from eson.config.scalars import (
    address,
    choice,
    domain,
    domain_name,
    duration,
    flag,
    host_label,
    ip,
    listener,
    network,
    not_yet,
    nullable,
    number,
    off,
    one_or_more_ips,
    principal,
    size,
    text,
    word,
)
from eson.model.flows import Namespace, Visibility
from eson.model.principals import Principal

_listeners = nullable(many(listener), ())

_FNAP = section(
    values.Fnap,
    {
        "listen": _listeners,
        "listen_tls": _listeners,
        "certificate": nullable(file),
        "key": nullable(private_file),
        "trust": trust,
        "login_in_clear": choice("loopback", "never"),
        "tls": choice("modern", "intermediate"),
    },
)
_ACCOUNT = section(
    values.Account,
    {
        "name": word,
        "password": secret,
        "password_file": secret_file,
        "home": nullable(domain, ""),
        "groups": many(word),
        "operator": flag,
        "participant": nullable(domain, ""),
    },
    password_file="password",
)
_IDENTITY = section(
    values.Identity,
    {
        "mechanisms": many(
            choice(
                "SCRAM-SHA-256",
                "PLAIN",
                "ANONYMOUS",
                later=("EXTERNAL", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "GSSAPI"),
            )
        ),
        "accounts": many(_ACCOUNT),
        "oauth": off,
        "gssapi": off,
    },
)
_ZONE = section(values.Zone, {"name": domain, "hosts": mapping(host_label, one_or_more_ips)})
_seconds = number(0, 604800)
_TTL = section(values.Ttl, {"flow": _seconds, "copy": _seconds, "negative": _seconds})


def _dnssec(entry: Entry) -> bool:
    if flag(entry):
        raise not_yet("signing", "Leave the key out")
    return False


_NAMES = section(
    values.Names,
    {
        "listen": _listeners,
        "zones": many(_ZONE),
        "secondaries": off,
        "servers": off,
        "resolver": nullable(address),
        "resolve": mapping(domain_name, address),
        "dnssec": _dnssec,
        "poc_records": flag,
        "catalogue": number(0, 2000),
        "ttl": _TTL,
    },
)
_EMBEDDED: Mapping[str, Convert] = {
    "name": word,
    "type": text,
    "listen": _listeners,
    "listen_tls": _listeners,
    "advertise": nullable(address),
    "login": choice("required", "none"),
    "sync": choice("always"),
    "retention": duration,
}
_KAFKA: Mapping[str, Convert] = {
    "name": word,
    "type": text,
    "servers": many(address),
    "security": choice("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
    "mechanism": choice("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"),
    "username": text,
    "password": secret,
    "password_file": secret_file,
    "trust": trust,
    "credentials": choice("issue", "none"),
}
_BROKER_TYPES = choice(
    "embedded", "kafka", later=("amqp", "nats", "mqtt", "sqs", "pubsub", "pulsar", "eventhubs")
)
_read_embedded = section(values.EmbeddedBroker, _EMBEDDED)
_read_kafka = section(values.KafkaBroker, _KAFKA, password_file="password")


def _broker(entry: Entry) -> values.Broker:
    """One of `brokers`: its `type` decides which keys it has.  Of an unknown type only the name is read."""
    given = entry.pairs()
    kind: str | None = given["type"].read(_BROKER_TYPES, None) if "type" in given else "embedded"
    if kind is None:
        name = given["name"].read(word, "") if "name" in given else ""
        return values.KafkaBroker(name)
    mine, other = (_EMBEDDED, _KAFKA) if kind == "embedded" else (_KAFKA, _EMBEDDED)
    strange = [key for key in given if key not in mine and key in other]
    for key in strange:
        entry.faults.add(
            given[key].path, f"is no key of brokers of type {kind}", "Remove it, or change the type"
        )
    own = entry.without(strange)
    return _read_embedded(own) if kind == "embedded" else _read_kafka(own)


def _visibility(entry: Entry) -> Visibility:
    return Visibility(choice("private", "listed", "public")(entry))


def _only_embedded(entry: Entry) -> str:
    if text(entry) != "embedded":
        raise not_yet("any name server but the embedded one", "Write embedded, or leave the key out")
    return "embedded"


def _no_private(entry: Entry) -> str:
    off(entry)
    return ""


@dataclass(frozen=True)
class _Namespace:
    """One of `namespaces` as written; brokers that are left out are filled in when all are known."""

    name: str
    broker: str = ""
    copies: str = ""
    public: str = "embedded"
    private: str = ""
    visibility: Visibility = Visibility.LISTED
    administrators: tuple[Principal, ...] = ()


_read_namespace = section(
    _Namespace,
    {
        "name": domain,
        "broker": word,
        "copies": word,
        "public": _only_embedded,
        "private": _no_private,
        "visibility": _visibility,
        "administrators": many(principal),
    },
)


def _namespace(entry: Entry) -> Namespace:
    written = _read_namespace(entry)
    namespace = Namespace(**{field.name: getattr(written, field.name) for field in fields(written)})
    return entry.faults.made(namespace, entry.path)


_REMOTE = section(
    values.Remote,
    {
        "agent": domain,
        "address": nullable(address),
        "tls": choice("implicit", "starttls", "none"),
        "trust": pin_or_trust,
        "mechanism": choice(
            "SCRAM-SHA-256", "PLAIN", "ANONYMOUS", later=("EXTERNAL", "SCRAM-SHA-256-PLUS", "OAUTHBEARER")
        ),
        "username": text,
        "password": secret,
        "password_file": secret_file,
        "as": choice("account", "user"),
    },
    password_file="password",
    **{"as": "login_as"},
)


_positive = number(1)
_LIMITS = section(
    values.Limits,
    {
        "line": size(512, 2**20),
        "sasl_line": size(512, 2**16),
        "event": size(1024, 2**30),
        "login": duration,
        "sasl_step": duration,
        "idle": duration,
        "command": duration,
        "bad_commands": section(values.BadCommands, {"before_login": _positive, "after": _positive}),
        "connections": section(
            values.Connections, {"total": _positive, "per_address": _positive, "per_user": _positive}
        ),
        "flows_per_account": number(0),
        "subscriptions_per_participant": number(0),
        "pending": number(0),
    },
)


def _web_listeners(entry: Entry) -> tuple[()]:
    off(entry)
    return ()


CONFIG = section(
    values.Config,
    {
        "participant": domain,
        "agent": domain,
        "state": path,
        "address": many(ip),
        "fnap": _FNAP,
        "identity": _IDENTITY,
        "names": _NAMES,
        "brokers": many(_broker),
        "namespaces": many(_namespace),
        "copies": section(values.Copies, {"retention": duration, "bytes": size(1), "lease": duration}),
        "remotes": many(_REMOTE),
        "allow_private": many(network),
        "processors": section(
            values.Processors,
            {
                "per_process": number(1, 1000),
                "start_rate": number(1, 10000),
                "launcher": choice("spawn", later=("kubernetes",)),
            },
        ),
        "limits": _LIMITS,
        "web": section(values.Web, {"listen": _web_listeners, "metrics": _listeners}),
        "log": section(
            values.Log,
            {"level": choice("debug", "info", "warn", "error", "critical"), "format": choice("text", "json")},
        ),
    },
)
