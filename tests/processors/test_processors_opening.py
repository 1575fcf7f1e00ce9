"""Logins of a processor at a broker that somebody else runs."""

from __future__ import annotations

import base64

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
