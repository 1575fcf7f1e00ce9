"""A broker that lies, stalls or dribbles costs a processor bounded memory and ends with a reason.

Real sockets would be slow and small here: a socket pair stands for the network, and the loop's clock is moved by hand.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.brokers.kafka.wire.apis import ApiVersionsRequest, ApiVersionsResponse
from eson.brokers.kafka.wire.messages import encode_response
from eson.processors.child.connection import CONTROL_CAP, TIMEOUT, Connection
from eson.processors.child.trouble import Failing, Trouble, Unreachable


class Loop(asyncio.SelectorEventLoop):  # type: ignore[misc, valid-type]
    """Its clock stands `ahead` seconds before the real one."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Pair:
    """A connection, and the broker's end of it."""

    def __init__(self) -> None:
        ours, self.broker = socket.socketpair()
        for one in (ours, self.broker):
            one.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.connection = Connection(ours, "kf1:9092", self.loop)
        self.lost: list[Trouble] = []
        self.connection.lost = self.lost.append

    async def says(self, octets: bytes) -> None:
        await self.loop.sock_sendall(self.broker, octets)
        await asyncio.sleep(0.005)

    def close(self) -> None:
        self.connection.close()
        self.broker.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    loop = Loop()
    try:
        loop.run_until_complete(test)
    finally:
        loop.close()


def answer(correlation: int = 1) -> bytes:
    body = ApiVersionsResponse(error_code=0, api_keys=[], throttle_time_ms=0)
    return bytes(encode_response(body, 0, correlation))


async def asked(pair: Pair) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(pair.connection.ask(ApiVersionsRequest(), 0))
    await asyncio.sleep(0)
    return task


def test_an_answer_arrives_byte_by_byte_and_two_at_once() -> None:
    async def test() -> None:
        pair = Pair()
        first = await asked(pair)
        for octet in answer():
            await pair.loop.sock_sendall(pair.broker, bytes([octet]))
            await asyncio.sleep(0)
        assert (await first).error_code == 0
        second, third = await asked(pair), await asked(pair)
        await pair.says(answer(2) + answer(3))
        assert (await second).error_code == (await third).error_code == 0
        pair.close()

    run(test())


@pytest.mark.parametrize(
    "octets",
    [
        struct.pack(">i", -1),
        struct.pack(">i", -(2**31)),
        struct.pack(">i", 2**31 - 1),
        struct.pack(">i", CONTROL_CAP + 1),
        struct.pack(">i", 0),
        struct.pack(">i", 3) + b"abc",
        answer(2),
        struct.pack(">ii", 4, 1),
        struct.pack(">iihi", 10, 1, 0, 2**31 - 1),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
def test_what_is_not_kafka_is_named_and_costs_nothing(octets: bytes) -> None:
    async def test() -> None:
        pair = Pair()
        task = await asked(pair)
        await pair.says(octets)
        with pytest.raises(Failing, match="kf1:9092 breaks Kafka's protocol"):
            await task
        assert len(pair.connection._buffer) <= 256 << 10
        assert len(pair.lost) == 1
        pair.close()

    run(test())


def test_a_claimed_length_alone_takes_no_memory() -> None:
    async def test() -> None:
        pair = Pair()
        task = await asked(pair)
        await pair.says(struct.pack(">i", CONTROL_CAP) + bytes(1000))
        assert len(pair.connection._buffer) == 64 << 10
        await pair.says(bytes(70_000))
        assert len(pair.connection._buffer) == 256 << 10
        pair.close()
        with pytest.raises(Unreachable):
            await task

    run(test())


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async def test() -> None:
        pair = Pair()
        await pair.says(answer())
        assert isinstance(pair.lost[0], Failing)
        pair.close()

    run(test())


def test_an_answer_that_its_reader_cannot_use_ends_the_connection_at_once() -> None:
    """Else nobody would hear of it before something else is asked, and then the wrong reason."""

    async def test() -> None:
        pair = Pair()
        failing = Failing("a broker breaks Kafka's protocol: a list is missing")

        def answered(frame: memoryview) -> None:
            raise failing

        pair.connection.next_correlation()
        pair.connection.send((b"request",), answered)
        await pair.says(answer())
        assert pair.lost == [failing]
        pair.close()

    run(test())


def test_silence_ends_the_connection() -> None:
    async def test() -> None:
        pair = Pair()
        task = await asked(pair)
        pair.loop.ahead = TIMEOUT + 2  # type: ignore[attr-defined]
        with pytest.raises(Unreachable, match="does not answer"):
            await task
        pair.close()

    run(test())


def test_one_byte_a_second_is_silence() -> None:
    async def test() -> None:
        pair = Pair()
        task = await asked(pair)
        for octet in answer()[:12]:
            await pair.loop.sock_sendall(pair.broker, bytes([octet]))
            pair.loop.ahead += 1.0  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        assert not task.done()
        pair.loop.ahead += TIMEOUT  # type: ignore[attr-defined]
        with pytest.raises(Unreachable, match="does not answer"):
            await task
        pair.close()

    run(test())


def test_the_end_of_the_connection_fails_whoever_waits_and_whoever_asks_later() -> None:
    async def test() -> None:
        pair = Pair()
        task = await asked(pair)
        await pair.loop.sock_recv(pair.broker, 1000)
        pair.broker.close()
        with pytest.raises(Unreachable, match="closed the connection"):
            await task
        with pytest.raises(Unreachable):
            await pair.connection.ask(ApiVersionsRequest(), 0)
        pair.close()

    run(test())


def test_a_slow_reader_gets_everything_in_order() -> None:
    """Parts that the socket did not take at once follow, also behind others."""

    async def test() -> None:
        pair = Pair()
        pair.broker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = b""
        for number in range(40):
            parts = [bytes([number]) * 50_000, memoryview(bytes([100 + number]) * 7)]
            pair.connection.next_correlation()
            pair.connection.send(parts, lambda frame: None)
            sent += b"".join(parts)
        got = b""
        while len(got) < len(sent):
            got += await pair.loop.sock_recv(pair.broker, 65536)
        assert got == sent
        assert not pair.connection.unsent
        pair.close()

    run(test())


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_no_octets_raise_anything_else(octets: bytes) -> None:
    async def test() -> None:
        pair = Pair()
        task = await asked(pair)
        await pair.loop.sock_sendall(pair.broker, octets)
        await asyncio.sleep(0.001)
        pair.broker.close()
        try:
            await task
        except Trouble as trouble:
            assert trouble.reason.startswith("kf1:9092")
        pair.close()

    run(test())
