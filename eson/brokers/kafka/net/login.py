"""The client's side of SASL, as Kafka carries it: which mechanism, and its steps."""

from __future__ import annotations

import re

from kafka.net.sasl.scram import ScramClient as Scram512

from eson.brokers.port import Access
from eson.identity.mechanisms import ClientMechanism, MechanismError
from eson.identity.mechanisms.plain import PlainClient
from eson.identity.mechanisms.scram import ScramClient
from eson.identity.verifier import BROKERS_ITERATIONS, MIN_ITERATIONS

_ITERATIONS = re.compile(rb"(?:^|,)i=(\d{1,9})(?:,|$)")


class ScramSha512Client:
    """SCRAM-SHA-512, whose arithmetic is kafka-python's."""

    name = "SCRAM-SHA-512"

    def __init__(self, username: str, password: str) -> None:
        escaped = username.replace("=", "=3D").replace(",", "=2C")
        self._scram = Scram512(escaped, password, self.name)
        self._step = 0

    def initial(self) -> bytes | None:
        message: bytes = self._scram.first_message()
        return message

    def answer(self, challenge: bytes) -> bytes:
        self._step += 1
        try:
            if self._step > 1:
                self._scram.process_server_final_message(challenge)
                return b""
            asked = _ITERATIONS.search(challenge)
            if asked is None or not MIN_ITERATIONS <= int(asked[1]) <= BROKERS_ITERATIONS:
                raise ValueError("the server asks for too few or too many iterations")
            self._scram.process_server_first_message(challenge)
            message: bytes = self._scram.final_message()
            return message
        except (ValueError, KeyError) as error:
            raise MechanismError(f"{self.name}: {error}") from None

    def finished(self) -> bool:
        return self._step > 1


def client_mechanism(access: Access) -> ClientMechanism:
    """The mechanism that `access` names.  Raises `ValueError` for one that is not known."""
    match access.mechanism:
        case "SCRAM-SHA-256":
            return ScramClient(access.username, access.password, max_iterations=BROKERS_ITERATIONS)
        case "SCRAM-SHA-512":
            return ScramSha512Client(access.username, access.password)
        case "PLAIN":
            return PlainClient(access.username, access.password)
        case other:
            raise ValueError(f"mechanism {other!r} is not known: SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN are")
