"""Target: a session of the agent, as octets of a client.

Input: an octet of switches (logged in before, size of pieces), then what the client sends.
"""

from __future__ import annotations

import re

from fnap.test_fnap_server_session import FLOW, Shell, make_policy

from eson.fnap.core.replies import Description, Listing, Ok, Pending, Subscribed
from eson.fnap.core.server import ServerSession

LOGGED_IN, ALL_AT_ONCE, IN_CLEAR = 1, 2, 4
LOGIN = b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n"
_LINE = re.compile(rb"(\d{3}[ -]|[^\d\r\n])[^\r\n]*|", re.DOTALL)
_HELD = 1 << 20
"""Octets that a session of lines may hold beside its input: 64 kB of a line, and what a reply takes."""


def seeds() -> dict[str, bytes]:
    event = b'{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"a":[1,2.5,null,"\\u00e4"]}}'
    said = {
        "nothing": b"",
        "ehlo": b"EHLO me\r\nSTARTTLS\r\n",
        "login": b"EHLO me\r\n" + LOGIN + b"LIST FLOWS\r\nQUIT\r\n",
        "plain-in-two": b"AUTHENTICATE PLAIN\r\nAHRlc3QAdGVzdA==\r\n",
        "scram": b"AUTHENTICATE SCRAM-SHA-256\r\nbiwsbj10ZXN0LHI9YWJj\r\nYz1iaXdzLHI9YWJj\r\n",
        "cancelled": b"AUTHENTICATE PLAIN\r\n*\r\nNOOP\r\n",
        "bare-line-end": b"NOOP\nNOOP\rNOOP\r\n",
        "too-long": b"CREATE FLOW " + b"a" * 9000 + b"\r\nNOOP\r\n",
        "not-text": b"\xff\xfe\0NOOP\r\n",
    }
    lines = {
        "create": b'CREATE FLOW time.flows.unix.ar WITH partitions=4 description="a \\"b\\""\r\n',
        "describe": b"DESCRIBE FLOW time.flows.unix.ar\r\nFORMAT JSON\r\nDESCRIBE FLOW time.flows.unix.ar\r\n",
        "subscribe": b"SUBSCRIBE time.flows.unix.ar AS local.flows.unix.ar\r\n",
        "subscribe-token": b"SUBSCRIBE time.flows.unix.ar AS 0123456789abcdef FROM BEGINNING\r\n",
        "lists": b"LIST FLOWS\r\nLIST SUBSCRIPTIONS\r\nLIST PROCESSORS\r\nHELP\r\nNOOP\r\n",
        "credential": b"GET CREDENTIAL time.flows.unix.ar\r\n",
        "read": b"READ time.flows.unix.ar LIMIT 1 FROM BEGINNING\r\n",
        "follow": b"READ time.flows.unix.ar FOLLOW\r\nNOOP\r\nNOOP\r\n",
        "write": b"WRITE time.flows.unix.ar\r\n" + event + b"\r\n" + event + b"\r\n.\r\nNOOP\r\n",
        "write-wrong": b"WRITE time.flows.unix.ar\r\n{}\r\n[[[[[[[[\r\n.\r\n",
        "write-deep": b"WRITE time.flows.unix.ar\r\n" + b'{"a":' * 500 + b"\r\n.\r\n",
        "remove": b"REVOKE x.time.flows.unix.ar\r\nDELETE FLOW time.flows.unix.ar\r\nUNSUBSCRIBE a.b\r\n",
    }
    found = {name: b"\0" + octets for name, octets in said.items()}
    return found | {name: bytes([LOGGED_IN | ALL_AT_ONCE]) + octets for name, octets in lines.items()}


def one_input(octets: bytes) -> None:
    switches, said = (octets[0], octets[1:]) if octets else (0, b"")
    answers = [
        Ok("time.flows.unix.ar"),
        Description(FLOW, frozenset({"flow"})),
        Listing([FLOW, FLOW]),
        Subscribed("x.a.b", "c.d"),
        Pending("x.a.b"),
        KeyError("a fault of ours"),
    ] * 9
    session = ServerSession(make_policy(), clear_is_safe=not switches & IN_CLEAR)
    agent = Shell(session, answers, [b'{"id":"1"}\r\n'])
    if switches & LOGGED_IN:
        agent.feed(LOGIN)
    step = len(said) or 1 if switches & ALL_AT_ONCE else 7
    for at in range(0, len(said), step):
        agent.feed(said[at : at + step])
        assert len(agent.lines) <= len(said) + 1
    for line in agent.said().removesuffix(b"\r\n").split(b"\r\n"):
        # only whole lines leave, and each is a reply or part of a body
        assert _LINE.fullmatch(line), line
        assert len(line) < _HELD
