"""Clients of the measurements: blocking sockets that cost little, so that the server is what is measured."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Sequence
from itertools import islice

Address = tuple[str, int]


def connect(
    address: Address, tls: ssl.SSLContext | None = None, name: str = "", source: str = ""
) -> socket.socket:
    """An open session that was greeted."""
    sock = socket.create_connection(address, 30, (source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname=name)
    greeting = line(sock)
    assert greeting.startswith(b"220 "), greeting
    return sock


def line(sock: socket.socket) -> bytes:
    """The next line, when nothing follows it unasked."""
    octets = b""
    while not octets.endswith(b"\n"):
        more = sock.recv(65536)
        assert more, f"the server closed after {octets!r}"
        octets += more
    return octets


def ask(sock: socket.socket, command: bytes) -> bytes:
    sock.sendall(command)
    return line(sock)


class Scram:
    """Logins of one user by SCRAM-SHA-256.  A salt is stretched once: that is the client's work, not the server's."""

    def __init__(self, username: str, password: str) -> None:
        self._username, self._password = username, password.encode()
        self._keys: dict[tuple[bytes, int], tuple[bytes, bytes]] = {}
        self._first = f"n={username},r=fyko+d2lbbFgONRv9qkxdawL"
        message = base64.b64encode(b"n,," + self._first.encode())
        self._hello = b"AUTHENTICATE SCRAM-SHA-256 " + message + b"\r\n"

    @property
    def iterations(self) -> int:
        return max(count for _, count in self._keys)

    def login(self, sessions: Sequence[socket.socket], window: int = 8) -> None:
        """Logs all in, `window` of them at a time: an agent evaluates only ten of one address at once."""
        waiting = iter(sessions)
        while some := list(islice(waiting, window)):
            for sock in some:
                sock.sendall(self._hello)
            for sock in some:
                sock.sendall(self._proof(line(sock)))
            for sock in some:
                reply = line(sock)
                assert reply.startswith(b"334 "), reply
                sock.sendall(b"\r\n")
            for sock in some:
                reply = line(sock)
                assert reply == b"220 Authenticated\r\n", reply

    def _proof(self, challenge: bytes) -> bytes:
        assert challenge.startswith(b"334 "), challenge
        server_first = base64.b64decode(challenge[4:]).decode()
        nonce, salt, count = (field[2:] for field in server_first.split(",")[:3])
        client_key, stored_key = self._stretched(base64.b64decode(salt), int(count))
        final = f"c=biws,r={nonce}"
        signed = f"{self._first},{server_first},{final}".encode()
        signature = hmac.digest(stored_key, signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return base64.b64encode(f"{final},p={base64.b64encode(proof).decode()}".encode()) + b"\r\n"

    def _stretched(self, salt: bytes, count: int) -> tuple[bytes, bytes]:
        if (salt, count) not in self._keys:
            salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, count)
            client_key = hmac.digest(salted, b"Client Key", "sha256")
            self._keys[salt, count] = client_key, hashlib.sha256(client_key).digest()
        return self._keys[salt, count]


def pipelined(sock: socket.socket, command: bytes, reply: bytes, seconds: float) -> tuple[int, float]:
    """Commands answered, and the seconds that took, with up to 2,000 of them under way."""
    part, window = 500, 2000
    chunk, answered, sent = command * part, 0, 0
    began = time.monotonic()
    while (now := time.monotonic()) - began < seconds or answered < sent * len(reply):
        if now - began < seconds and sent * len(reply) - answered <= (window - part) * len(reply):
            sock.sendall(chunk)
            sent += part
        else:
            answered += len(sock.recv(1 << 18))
    assert answered == sent * len(reply), "replies of another length"
    return sent, time.monotonic() - began


def one_at_a_time(sock: socket.socket, command: bytes, reply: bytes, seconds: float) -> tuple[int, float]:
    """The same, each command sent after the reply to the last."""
    count = 0
    began = time.monotonic()
    end = began + seconds
    while time.monotonic() < end:
        for _ in range(100):
            sock.sendall(command)
            found = sock.recv(4096)
            assert found == reply, found
        count += 100
    return count, time.monotonic() - began
