"""The configured brokers: made, started, stopped, and asked now and then whether they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from eson.agent.parts import protocol
from eson.brokers.embedded.broker import EmbeddedBroker
from eson.brokers.embedded.settings import Settings
from eson.brokers.kafka.broker import KAFKA, KafkaBroker
from eson.brokers.port import Access, Broker, Capability
from eson.config import Config, Places, values
from eson.errors import EsonError
from eson.identity.verifier import hmac_sha256
from eson.model.servers import Server
from eson.tap.certificates import AgentCertificate

PROBE_EVERY = 30.0
PROBE = "eson-probe"
"""A queue that nobody has: asking for it is the cheapest question."""


class Brokers:
    """By their names in the configuration."""

    log = Logger()

    def __init__(
        self, config: Config, reactor: Any, places: Places, certificate: AgentCertificate, decoys: bytes
    ) -> None:
        self._embedded = {
            broker.name: _embedded(broker, config.agent, reactor, places, certificate, decoys)
            for broker in config.brokers
            if isinstance(broker, values.EmbeddedBroker)
        }
        self.all: Mapping[str, Broker] = {
            broker.name: _kafka(broker, reactor)
            if isinstance(broker, values.KafkaBroker)
            else self._embedded[broker.name]
            for broker in config.brokers
        }
        self._failing: set[str] = set()
        self._probing = LoopingCall(self._probe_all)
        self._probing.clock = reactor

    async def start(self) -> None:
        """None of them keeps the agent from starting: what it cannot do now is repeated."""
        for broker in self.all.values():
            try:
                await broker.start()
            except EsonError as error:
                self._fails(broker.name, error)
        self._probing.start(PROBE_EVERY)

    async def stop(self) -> None:
        if self._probing.running:
            self._probing.stop()
        for broker in self.all.values():
            await broker.stop()

    def protocols(self) -> Sequence[str]:
        """What EHLO says of them."""
        return sorted({protocol(broker) for broker in self.all.values()})

    def listeners(self) -> dict[str, Any]:
        """Where the embedded ones listen, by name; null for one that does not yet."""
        return {name: self._listens(broker) for name, broker in self._embedded.items()}

    @staticmethod
    def _listens(broker: EmbeddedBroker) -> list[Any] | None:
        bound = broker.child.bound
        return None if bound is None else list((*bound.listen, *bound.listen_tls)[0])

    def failing(self) -> Sequence[str]:
        """What health says: those that did not answer the last question."""
        return [f"broker {name}" for name in sorted(self._failing)]

    def _probe_all(self) -> None:
        for broker in self.all.values():
            Deferred.fromCoroutine(self._probe(broker))

    async def _probe(self, broker: Broker) -> None:
        try:
            await broker.describe_queue(PROBE)
        except EsonError as error:
            self._fails(broker.name, error)
        else:
            if broker.name in self._failing:
                self._failing.discard(broker.name)
                self.log.info("broker {name} answers again", name=broker.name)

    def _fails(self, name: str, error: EsonError) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self.log.error(
                "broker {name} does not answer: {text} {context!r}",
                name=name,
                text=str(error),
                context=error.context,
            )


def _embedded(
    broker: values.EmbeddedBroker,
    host: str,
    reactor: Any,
    places: Places,
    certificate: AgentCertificate,
    decoys: bytes,
) -> EmbeddedBroker:
    advertise = broker.advertise
    # one of its own: the salt of an unknown name must not be that which the agent or another broker shows
    decoy = hmac_sha256(decoys, b"broker:" + broker.name.encode())
    settings = Settings(
        data=str(places.broker(broker.name)),
        listen=tuple((address.host, address.port) for address in broker.listen),
        listen_tls=tuple((address.host, address.port) for address in broker.listen_tls),
        advertise=None if advertise is None else (advertise.host, advertise.port),
        login=broker.login == "required",
        decoy_secret=decoy.hex(),
        retention_ms=broker.retention // timedelta(milliseconds=1),
        certificate=str(certificate.certificate) if broker.listen_tls else "",
        key=str(certificate.key) if broker.listen_tls else "",
    )
    return EmbeddedBroker(reactor, broker.name, settings, host, certificate.trust)


def _kafka(broker: values.KafkaBroker, reactor: Any) -> KafkaBroker:
    access = Access(
        servers=tuple(Server(address.host, address.port) for address in broker.servers),
        security=broker.security,
        mechanism=broker.mechanism if broker.has_login else "",
        username=broker.username,
        password=broker.password.reveal() if broker.password else "",
        trust="" if broker.trust == "system" else Path(broker.trust).read_text("utf-8"),
    )
    capabilities = KAFKA if broker.issues_credentials else KAFKA & ~Capability.ISSUES_CREDENTIALS
    return KafkaBroker(reactor, broker.name, access, capabilities=capabilities)
