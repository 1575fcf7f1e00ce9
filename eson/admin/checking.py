"""A configuration with the files that it names: what `eson check`, `twistd eson --check` and each start look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from eson.agent.accounts import check_new_password
from eson.config import Config, load
from eson.config.values import KafkaBroker
from eson.errors import ConfigError, EsonError, Fault, Usage
from eson.identity.tls import BadTlsFile, ClientTls, ServerTls, load_chain


def checked(path: Path) -> Config:
    """The configuration in the file.  Raises `ConfigError`: first of the file itself, then of what it names."""
    config = load(path)
    faults = [fault for check in _CHECKS for fault in check(config)]
    if faults:
        raise ConfigError(faults, str(path))
    return config


def _certificate(config: Config) -> Iterator[Fault]:
    """The agent's certificate: whole, of its key, for its name, not over."""
    fnap = config.fnap
    if fnap.certificate is None or fnap.key is None:
        return
    try:
        ServerTls(fnap.certificate, fnap.key, fnap.tls)
        certificate = load_chain(fnap.certificate.read_text("utf-8"))[0]
    except (BadTlsFile, OSError, UnicodeDecodeError) as error:
        yield Fault(0, "fnap.certificate", str(error), "Give the PEM chain, the agent's first, and its key")
        return
    if config.agent not in _dns_names(certificate):
        yield Fault(
            0,
            "fnap.certificate",
            f"{fnap.certificate} is not for {config.agent}",
            "Other agents would refuse it: get one that holds the agent's name",
        )
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        yield Fault(
            0,
            "fnap.certificate",
            f"{fnap.certificate} ended on {certificate.not_valid_after_utc:%Y-%m-%d}",
            "Renew it",
        )


def _dns_names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return {name.lower() for name in names.get_values_for_type(x509.DNSName)}


def _trust(config: Config) -> Iterator[Fault]:
    """Files with CAs."""
    named = [("fnap.trust", config.fnap.trust)]
    named += [(f"brokers: {b.name}: trust", b.trust) for b in config.brokers if isinstance(b, KafkaBroker)]
    named += [(f"remotes: {remote.agent}: trust", remote.trust) for remote in config.remotes]
    for key, trust in named:
        try:
            ClientTls("localhost", trust)
        except EsonError as error:
            yield Fault(0, key, error.text, "Give a PEM file with the certificates of CAs, or system")


def _passwords(config: Config) -> Iterator[Fault]:
    for account in config.identity.accounts:
        try:
            check_new_password(account.password.reveal() if account.password else "")
        except Usage as error:
            yield Fault(0, f"identity.accounts: {account.name}: password", error.text, "Set another")


_CHECKS: tuple[Callable[[Config], Iterator[Fault]], ...] = (_certificate, _trust, _passwords)
