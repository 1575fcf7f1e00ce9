"""The agent's certificate while it runs: of its own CA or of files, read again when they change, watched for its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import Logger

from eson.config import Config, Places
from eson.config.values import EmbeddedBroker
from eson.errors import EsonError
from eson.identity.own_certificate import own_certificate
from eson.identity.tls import BadTlsFile, ServerTls, load_chain

EVERY = timedelta(hours=12)
WARN_BEFORE = timedelta(days=14)


class AgentCertificate:
    """Paths of the certificate and its key, and the servers' TLS made from them.  Raises `EsonError`."""

    log = Logger()

    def __init__(
        self, config: Config, places: Places, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._config = config
        self._places = places
        self._now = now
        self.certificate, self.key = self._files()
        self.tls = ServerTls(self.certificate, self.key, config.fnap.tls)
        self._read = self._text()

    def _files(self) -> tuple[Path, Path]:
        fnap = self._config.fnap
        if fnap.certificate is not None and fnap.key is not None:
            return fnap.certificate, fnap.key
        # the domains are there for clients that DNS alone led to the agent: whoever holds them vouches for it
        domains = [self._config.participant, *(namespace.name for namespace in self._config.namespaces)]
        names = list(dict.fromkeys([self._config.agent, *domains, *self._advertised()]))
        addresses = [str(address) for address in self._config.address]
        made = own_certificate(self._places.keys, names, addresses, now=self._now())
        return made.certificate, made.key

    def _advertised(self) -> list[str]:
        """Hosts beside the agent's that clients of our brokers connect to over TLS."""
        hosts = {
            broker.advertise.host
            for broker in self._config.brokers
            if isinstance(broker, EmbeddedBroker) and broker.listen_tls and broker.advertise is not None
        }
        return sorted(host for host in hosts if host != self._config.agent and not _is_address(host))

    def _text(self) -> str:
        try:
            return self.certificate.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadTlsFile(f"{self.certificate} cannot be read: {error}") from None

    @property
    def trust(self) -> str:
        """PEM of the CA that clients need: the root that ends our chain; "" where the system's CAs do."""
        last = load_chain(self._read)[-1]
        return last.public_bytes(Encoding.PEM).decode() if _is_root(last) else ""

    def refresh(self, asked: bool = False) -> bool:
        """Renews our own and reads the files again; whether they changed.  What goes wrong is logged: the old ones stay.

        `asked`: somebody waits for a word, also if nothing has changed.
        """
        try:
            self._files()
            text = self._text()
            changed = text != self._read
            if changed:
                self.tls.reload()
                self._read = text
                self.log.info("certificate {path} was read again", path=str(self.certificate))
            elif asked:
                self.log.info("certificate {path} was read: it has not changed", path=str(self.certificate))
        except EsonError as error:
            self.log.error("the certificate was not read again: {text}", text=str(error))
            return False
        self.warn()
        return changed

    def warn(self) -> None:
        """Tells the log of an end that is near."""
        end = load_chain(self._read)[0].not_valid_after_utc
        if end - self._now() < WARN_BEFORE:
            self.log.warn(
                "certificate {path} ends on {end}: renew it, then send SIGHUP",
                path=str(self.certificate),
                end=f"{end:%Y-%m-%d}",
            )


def _is_root(certificate: x509.Certificate) -> bool:
    if certificate.issuer != certificate.subject:
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
