"""Logins of a processor at a broker that somebody else runs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading

import pytest

from eson.brokers.port import Access
from eson.identity.mechanisms import MechanismError
from eson.model.servers import Server
from eson.processors.child.opening import Opener
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize(("iterations", "fits"), [(4096, True), (100_001, False), (999_999_999, False)])
def test_a_broker_cannot_keep_the_process_computing(mechanism: str, iterations: int, fits: bool) -> None:
    """The arithmetic is done in the loop, and neighbours may share it."""
    access = Access(
        (Server("kf1.unix.ar", 9092),), "sasl_ssl", mechanism=mechanism, username="u", password="p"
    )
    login = Opener(ProcessorEnd(access, "time", "time"), Reach())._mechanism()
    nonce = (login.initial() or b"").rpartition(b"r=")[2]
    challenge = b"r=%sserver,s=%s,i=%d" % (nonce, base64.b64encode(b"salt" * 4), iterations)
    if fits:
        assert b",p=" in login.answer(challenge)
    else:
        with pytest.raises(MechanismError):
            login.answer(challenge)


def test_nothing_that_was_not_delivered_arrives_after_the_end() -> None:
    """A path that was dead meanwhile and lives again would bring old batches to a broker at any time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        access = Access((Server(host, port),))

        async def test() -> int:
            sock = await Opener(ProcessorEnd(access, "time", "time"), Reach())._connect(access.servers[0])
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += sock.send(bytes(1 << 16))
            sock.close()
            return sent

        peer: list[socket.socket] = []
        accepting = threading.Thread(target=lambda: peer.append(listening.accept()[0]))
        accepting.start()
        sent = asyncio.run(test())
        accepting.join()
        arrived = 0
        with peer[0], pytest.raises(ConnectionResetError):
            while octets := peer[0].recv(1 << 16):
                arrived += len(octets)
        assert arrived < sent
