"""Agents of other participants over real sockets: the honest are reached, the lying found out, all failures look alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from servers.certificates import Authority
from servers.lying_agent import LyingAgent, body
from servers.twisted_reactor import InReactor, Listen

from eson.agent.remotes import RemoteAgents
from eson.config.values import Address, Remote, Secret
from eson.errors import AgentUnreachable, RemoteRefused
from eson.identity.tls import load_chain, public_key_pin
from eson.model.names import parent
from eson.model.positions import Beginning
from eson.model.principals import user
from eson.names.core.addresses import AddressPolicy
from eson.names.core.lookup import HostAddresses, LookupFailed, Service
from eson.names.discovery import Discovery

FLOW = "time.flows.unix.ar"
COPY = f"ksdj898.{FLOW}"
AGENT = "fnaa.unix.ar"
OPEN = AddressPolicy.of(["127.0.0.0/8"])
EMILIANO = user("emiliano")


class Records:
    """A `Lookup` that knows one agent for everything below unix.ar, and the addresses of some hosts."""

    def __init__(self, port: int, hosts: Mapping[str, str], tls: bool = True) -> None:
        self._port, self._hosts, self._tls = port, hosts, tls

    async def pointers(self, name: str) -> tuple[str, ...]:
        return ()

    async def services(self, name: str) -> tuple[Service, ...]:
        return (Service(0, 0, self._port, AGENT),) if name == "_flow._tcp.flows.unix.ar" else ()

    async def texts(self, name: str) -> tuple[tuple[str, ...], ...]:
        return (("tls",),) if self._tls else ()

    async def addresses(self, host: str) -> HostAddresses:
        if host not in self._hosts:
            raise LookupFailed(host, "nobody knows it")
        return HostAddresses((self._hosts[host],))


class World:
    """An agent of unix.ar on loopback, and the agent of emiliano.ar that wants to talk with it."""

    def __init__(self, reactor: Any, in_reactor: InReactor, listen: Listen, directory: Path) -> None:
        self.reactor, self.run, self.listen = reactor, in_reactor, listen
        self.authority = Authority(directory)
        self.own = self.authority.issue("fnaa.emiliano.ar", "emiliano.ar")
        self.hosts: Any = {AGENT: "127.0.0.1", "kf1.unix.ar": "127.0.0.1"}

    def remotes(
        self, port: int, policy: AddressPolicy = OPEN, tls: bool = True, **named: Any
    ) -> RemoteAgents:
        discovery = Discovery(Records(port, self.hosts, tls), policy)
        settings = {
            "trust": str(self.authority.certificate),
            "connect_timeout": 3.0,
            "command_timeout": 3.0,
        } | named
        return RemoteAgents(self.reactor, discovery, policy, "emiliano.ar", **settings)

    def serve(self, agent: LyingAgent, *names: str) -> int:
        return self.listen(agent.over_tls(self.authority.issue(*(names or (AGENT, "flows.unix.ar")))))

    def session(self, agent: LyingAgent, **named: Any) -> Any:
        return self.run(self.remotes(self.serve(agent), **named).connect, FLOW, EMILIANO)

    def unreachable(self, remotes: RemoteAgents) -> str:
        """Connecting fails with the one text; the reason, as only the operator sees it."""
        with pytest.raises(AgentUnreachable) as failed:
            self.run(remotes.connect, FLOW, EMILIANO)
        assert failed.value.text == f"Agent of {FLOW} cannot be reached"
        return str(failed.value.context["why"])


@pytest.fixture
def world(reactor_thread: Any, in_reactor: InReactor, listen: Listen, tmp_path: Path) -> World:
    return World(reactor_thread, in_reactor, listen, tmp_path)


def credential(**changes: Any) -> bytes:
    item = {
        "copy": COPY,
        "type": "kafka",
        "server": ["kf1.unix.ar:9092"],
        "security": "sasl_plaintext",
        "mechanism": "SCRAM-SHA-256",
        "username": COPY,
        "password": "secret-of-the-copy",
        "group": COPY,
        "trust": "system",
        "expires": "2026-12-02T10:00:00.000Z",
    }
    return body(json.dumps({key: value for key, value in (item | changes).items() if value is not None}))


# The honest


def test_a_subscription_with_an_honest_agent(world: World) -> None:
    agent = LyingAgent(
        {
            "SUBSCRIBE": body(json.dumps({"copy": COPY})),
            "DESCRIBE": body(
                json.dumps(
                    {"flow": COPY, "partitions": 3, "state": "active", "lineage": "0" * 16, "copy-of": FLOW}
                )
            ),
            "GET CREDENTIAL": credential(),
            "GET SUBSCRIPTIONS": body(
                json.dumps({"subscription": COPY, "flow": FLOW, "copy": COPY, "token": "t-1"})
            ),
            "UNSUBSCRIBE": b"220 OK\r\n",
            "NOTIFY": b"220 OK\r\n",
            "PAUSE": b"220 OK\r\n",
        }
    )
    session = world.session(agent)
    assert world.run(session.subscribe, FLOW, Beginning(), "t-1") == (COPY, False)
    seen = world.run(session.describe_flow, COPY)
    assert (seen.partitions, seen.state, seen.lineage, seen.copy_of) == (3, "active", ("0" * 16,), FLOW)
    given = world.run(session.get_credential, COPY)
    assert (given.kind, given.security, given.username, given.password) == (
        "kafka",
        "sasl_plaintext",
        COPY,
        "secret-of-the-copy",
    )
    assert [str(server) for server in given.servers] == ["kf1.unix.ar:9092"]
    assert "secret-of-the-copy" not in repr(given)
    assert world.run(session.find_by_token, FLOW, "t-1") == COPY
    assert world.run(session.find_by_token, FLOW, "t-2") is None
    world.run(session.change, "PAUSE", COPY)
    world.run(session.notify, COPY, "ended")
    world.run(session.unsubscribe, COPY)
    world.run(session.quit)
    assert agent.heard[-9:] == [
        f"SUBSCRIBE {FLOW} FROM BEGINNING AS t-1",
        f"DESCRIBE FLOW {COPY}",
        f"GET CREDENTIAL {COPY}",
        f"GET SUBSCRIPTIONS {FLOW}",
        f"GET SUBSCRIPTIONS {FLOW}",
        f"PAUSE SUBSCRIPTION {COPY}",
        f"NOTIFY {COPY} ended",
        f"UNSUBSCRIBE {COPY}",
        "QUIT",
    ]
    assert agent.connections == 1


def test_what_is_gone_is_unsubscribed(world: World) -> None:
    session = world.session(LyingAgent({"UNSUBSCRIBE": f"550 No such flow: {COPY}\r\n".encode()}))
    world.run(session.unsubscribe, COPY)


def test_a_pending_subscription(world: World) -> None:
    session = world.session(LyingAgent({"SUBSCRIBE": f"202 Pending {COPY}\r\n".encode()}))
    assert world.run(session.subscribe, FLOW, None, "t") == (COPY, True)


def test_the_published_proof_of_concept_is_understood(world: World) -> None:
    """It knows no EHLO and no JSON, sends spaces behind its replies and bare LF inside bodies."""
    agent = LyingAgent(
        {
            "EHLO": b"404 Command not found\r\n",
            "AUTHENTICATE PLAIN": b"220 OK\r\n",
            base64.b64encode(b"\0eson\0pw").decode(): b"220 Authenticated\r\n",
            "SUBSCRIBE": f"220 DATA \r\n{COPY}\n220 OK \r\n".encode(),
            "DESCRIBE": f"220 DATA \r\nflow={COPY}\ntype=kafka\ntopic={COPY}\nserver=kf1.unix.ar:9092\n220 OK \r\n".encode(),
        }
    )
    account = Remote(
        AGENT,
        mechanism="PLAIN",
        username="eson",
        password=Secret("pw"),
        trust=str(world.authority.certificate),
    )
    session = world.session(agent, remotes=[account])
    assert world.run(session.subscribe, FLOW, None, "t") == (COPY, False)
    assert world.run(session.describe_flow, COPY).partitions == 1
    assert "FORMAT JSON" not in agent.heard


# Who we are


@pytest.mark.parametrize(("login_as", "authorisation"), [("account", b""), ("user", b"emiliano@emiliano.ar")])
def test_an_account_of_remotes(world: World, login_as: Any, authorisation: bytes) -> None:
    agent = LyingAgent()
    port = world.serve(agent)
    account = Remote(
        AGENT,
        address=Address("127.0.0.1", port),
        trust=str(world.authority.certificate),
        username="eson",
        password=Secret("pw"),
        login_as=login_as,
    )
    world.run(world.remotes(1, AddressPolicy(), remotes=[account]).connect, FLOW, EMILIANO)
    assert agent.sasl() == [authorisation + b"\0eson\0pw"]


def test_the_certificate_says_who_we_are(world: World) -> None:
    agent = LyingAgent({"EHLO": b"250-fnaa.unix.ar\r\n250 AUTH EXTERNAL ANONYMOUS\r\n"})
    world.session(agent, certificate=world.own[0], key=world.own[1])
    assert agent.sasl() == [b"emiliano@emiliano.ar"]


def test_where_no_certificate_is_taken_we_are_strangers(world: World) -> None:
    agent = LyingAgent()
    world.session(agent)
    assert any(line.startswith("AUTHENTICATE ANONYMOUS") for line in agent.heard)


def test_a_participant_is_found_by_remotes_alone_too(world: World) -> None:
    agent = LyingAgent({"NOTIFY": b"220 OK\r\n"})
    known = Remote(
        AGENT, address=Address("127.0.0.1", world.serve(agent)), trust=str(world.authority.certificate)
    )
    session = world.run(world.remotes(1, remotes=[known]).connect_participant, "unix.ar")
    world.run(session.notify, f"abcdefg.{FLOW}", "paused")
    assert session.participant == "unix.ar"
    with pytest.raises(AgentUnreachable):
        world.run(world.remotes(1, remotes=[known]).connect_participant, "emiliano.com")


# Whom we believe to be the agent


def test_tls_in_the_session(world: World) -> None:
    """Where DNS does not say `tls`, STARTTLS is a must."""
    agent = LyingAgent().with_starttls(world.authority.issue(AGENT, "unix.ar"))
    world.run(world.remotes(world.listen(agent), tls=False).connect, FLOW, EMILIANO)
    assert agent.heard[:2] == ["EHLO", "STARTTLS"]
    stripped = LyingAgent({"EHLO": b"250-fnaa.unix.ar\r\n250 AUTH ANONYMOUS\r\n"})
    assert "STARTTLS" in world.unreachable(world.remotes(world.listen(stripped), tls=False))
    assert not any(line.startswith("AUTH") for line in stripped.heard)
    injected = LyingAgent({"STARTTLS": b"220 Ready to start TLS\r\n250 AUTH ANONYMOUS\r\n"})
    injected.with_starttls(world.authority.issue(AGENT, "unix.ar"))
    world.unreachable(world.remotes(world.listen(injected), tls=False))
    assert not any(line.startswith("AUTH") for line in injected.heard)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("fnaa.example.com", "flows.unix.ar"), "not for fnaa.unix.ar"),
        ((AGENT,), "not for flows.unix.ar or a domain above it"),
        ((AGENT, "other.unix.ar"), "not for flows.unix.ar or a domain above it"),
    ],
)
def test_the_certificate_must_hold_the_agent_and_a_domain_of_the_flow(
    world: World, names: tuple[str, ...], reason: str
) -> None:
    """Else whoever answers our questions to DNS first would be the agent of every flow."""
    agent = LyingAgent()
    assert reason in world.unreachable(world.remotes(world.serve(agent, *names)))
    assert agent.heard == []


def test_a_domain_that_the_operator_resolves_needs_no_voucher(world: World) -> None:
    port = world.serve(LyingAgent(), AGENT)
    policy = AddressPolicy.of(domains=["unix.ar"])
    world.run(world.remotes(port, policy).connect, FLOW, EMILIANO)


def test_strange_and_expired_certificates(world: World, tmp_path: Path) -> None:
    agent = LyingAgent()
    (tmp_path / "other").mkdir()
    strange = Authority(tmp_path / "other").issue(AGENT, "unix.ar")
    assert "not trusted" in world.unreachable(world.remotes(world.listen(agent.over_tls(strange))))
    expired = world.authority.issue(AGENT, "unix.ar", lifetime=timedelta(days=-1))
    assert "expired" in world.unreachable(world.remotes(world.listen(agent.over_tls(expired))))
    assert agent.heard == []


def test_a_pinned_key(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    issued = Authority(tmp_path / "other").issue("whatever.example")
    pin = public_key_pin(load_chain(issued[0].read_text())[0])
    agent = LyingAgent()
    port = world.listen(agent.over_tls(issued))
    world.run(world.remotes(port, remotes=[Remote(AGENT, trust=pin)]).connect, FLOW, EMILIANO)
    wrong = "pin-sha256:" + base64.b64encode(bytes(32)).decode()
    assert "pinned" in world.unreachable(world.remotes(port, remotes=[Remote(AGENT, trust=wrong)]))


def test_without_tls_only_on_loopback(world: World) -> None:
    agent = LyingAgent()
    port = world.listen(agent)
    account = Remote(AGENT, tls="none", username="eson", password=Secret("pw"))
    world.run(world.remotes(port, remotes=[account]).connect, FLOW, EMILIANO)
    assert agent.sasl() == [b"\0eson\0pw"]
    world.hosts[AGENT] = "192.0.2.1"
    world.unreachable(world.remotes(port, remotes=[account]))


# Where we connect to


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"])
def test_names_of_others_do_not_lead_into_our_network(world: World, address: str) -> None:
    agent = LyingAgent()
    world.hosts[AGENT] = address
    world.unreachable(world.remotes(world.serve(agent), AddressPolicy()))
    assert agent.connections == 0


class Rebinding(dict[str, str]):
    """Hosts whose address is another one each time that somebody asks, as whoever holds the zone likes."""

    def __init__(self, *addresses: str) -> None:
        super().__init__({AGENT: ""})
        self.addresses, self.asked = addresses, 0

    def __getitem__(self, host: str) -> str:
        self.asked += 1
        return self.addresses[min(self.asked, len(self.addresses)) - 1]


def test_a_name_that_leads_elsewhere_once_it_was_checked_leads_nowhere(world: World) -> None:
    """What is connected to is the address that was checked; what DNS says a moment later counts for nothing."""
    agent = LyingAgent()
    world.hosts = Rebinding("127.0.0.2", "127.0.0.1")
    remotes = world.remotes(world.serve(agent), AddressPolicy.of(["127.0.0.2/32"]))
    world.unreachable(remotes)
    assert world.hosts.asked == 1, "asked again, the name would have led to us"
    world.unreachable(remotes)
    assert world.hosts.asked == 2, "the next time it is checked anew"
    assert agent.connections == 0


def test_not_even_to_ourselves(world: World) -> None:
    agent = LyingAgent()
    policy = AddressPolicy.of(own=["127.0.0.1"])
    world.unreachable(world.remotes(world.serve(agent), policy))
    assert agent.connections == 0


def test_nobody_there(world: World) -> None:
    world.hosts.clear()
    world.unreachable(world.remotes(1))
    world.hosts[AGENT] = "127.0.0.1"
    world.unreachable(world.remotes(1))


# What breaks the protocol


@pytest.mark.parametrize(
    "agent",
    [
        LyingAgent(greeting=b""),
        LyingAgent(greeting=b"SSH-2.0-OpenSSH_9.2\r\n"),
        LyingAgent(greeting=b"421 Busy\r\n"),
        LyingAgent(greeting=b"x" * 500_000),
        LyingAgent(greeting=b"\xff\x00\r\n"),
        LyingAgent({"EHLO": b"250-" + b"x\r\n250-" * 1000}),
        LyingAgent({"EHLO": b""}),
        LyingAgent({"AUTHENTICATE": b"535 Authentication failed\r\n"}),
        LyingAgent({"AUTHENTICATE": b"334 " + b"A" * 100_000 + b"\r\n"}),
        LyingAgent({"EHLO": b"250-fnaa.unix.ar\r\n250 AUTH GSSAPI\r\n"}),
    ],
    ids=[
        "silent",
        "ssh",
        "busy",
        "endless",
        "garbage",
        "ehlo-endless",
        "ehlo-silent",
        "refused",
        "challenge",
        "no-mechanism",
    ],
)
def test_what_is_no_agent_is_left_in_time(world: World, agent: LyingAgent) -> None:
    remotes = world.remotes(world.serve(agent), connect_timeout=1.0, command_timeout=1.0)
    assert world.unreachable(remotes)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 OK\r\n",
        body(),
        body("ksdj898.other.flows.unix.ar"),
        body(f"a.b.{FLOW}"),
        body(FLOW),
        body(COPY, COPY),
        body(f"g.flows.emiliano.ar SUBSCRIBED TO {FLOW}"),
        body(json.dumps({"copy": f"-.{FLOW}"})),
        b"202 Pending\r\n",
        b"202 Pending ksdj898.other.flows.unix.ar\r\n",
        b"220 DATA\r\n" + b"x" * 200_000,
        b"220 DATA\r\nab",
        b"250 fine\r\n",
        b"451 Broker down\r\n",
        b"421 Shutting down\r\n",
    ],
)
def test_answers_to_subscribe_that_cannot_be_true(world: World, answer: bytes) -> None:
    session = world.session(LyingAgent({"SUBSCRIBE": answer}), command_timeout=1.0)
    with pytest.raises(AgentUnreachable) as failed:
        world.run(session.subscribe, FLOW, None, "t")
    assert failed.value.text == f"Agent of {FLOW} cannot be reached"


def test_a_token_leads_to_no_foreign_copy(world: World) -> None:
    listed = json.dumps({"copy": "ksdj898.other.flows.unix.ar", "token": "t"})
    session = world.session(LyingAgent({"GET SUBSCRIPTIONS": body(listed)}))
    with pytest.raises(AgentUnreachable):
        world.run(session.find_by_token, FLOW, "t")


@pytest.mark.parametrize(
    "changes",
    [
        {"flow": FLOW},
        {"flow": None},
        {"partitions": 0},
        {"partitions": 10**9},
        {"partitions": "many"},
        {"partitions": "٣"},
        {"state": "splendid"},
        {"state": "ended", "reason": "x" * 1000},
        {"lineage": ["0" * 16] * 17},
        {"lineage": "zz"},
        {"copy-of": "-"},
    ],
)
def test_descriptions_that_cannot_be_true(world: World, changes: dict[str, Any]) -> None:
    item = {"flow": COPY, "partitions": 1} | changes
    agent = LyingAgent(
        {"DESCRIBE": body(json.dumps({key: value for key, value in item.items() if value is not None}))}
    )
    session = world.session(agent)
    with pytest.raises(AgentUnreachable):
        world.run(session.describe_flow, COPY)


def test_a_copy_in_trouble_is_believed(world: World) -> None:
    """Its reason is text for people; only that of an end is one of those that we know."""
    item = {"flow": COPY, "partitions": 1, "state": "failing", "reason": "broker unreachable: kf1 is away"}
    session = world.session(LyingAgent({"DESCRIBE": body(json.dumps(item))}))
    seen = world.run(session.describe_flow, COPY)
    assert (seen.state, seen.reason) == ("failing", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"copy": f"abcdefg.{FLOW}"},
        {"copy": None},
        {"type": "../kafka"},
        {"type": None},
        {"server": []},
        {"server": ["kf1.unix.ar"]},
        {"server": ["kf1.unix.ar:0"]},
        {"server": ["kf1.unix.ar:99999"]},
        {"server": ["kf1 .unix.ar:9092"]},
        {"server": ["kf1.unix.ar:9092"] * 17},
        {"server": ["10.0.0.7:9092"]},
        {"server": ["inside.unix.ar:9092"]},
        {"server": ["2130706433:9092"]},
        {"security": "none"},
        {"mechanism": "GSSAPI"},
        {"username": "a b"},
        {"password": "x" * 256},
        {"password": "line\nend"},
        {"group": "\x00"},
        {"trust": "no base64"},
        {"trust": base64.b64encode(bytes(20_000)).decode()},
        {"expires": "tomorrow"},
    ],
)
def test_credentials_that_cannot_be_true(world: World, changes: dict[str, Any]) -> None:
    world.hosts["inside.unix.ar"] = "192.168.0.7"
    session = world.session(LyingAgent({"GET CREDENTIAL": credential(**changes)}))
    with pytest.raises(AgentUnreachable):
        world.run(session.get_credential, COPY)


def test_of_several_servers_those_inside_are_left_out(world: World) -> None:
    servers = ["10.0.0.7:9092", "kf1.unix.ar:9092"]
    session = world.session(LyingAgent({"GET CREDENTIAL": credential(server=servers)}))
    assert [str(one) for one in world.run(session.get_credential, COPY).servers] == ["kf1.unix.ar:9092"]


def test_a_broker_that_the_operator_resolves_keeps_its_name(world: World) -> None:
    """TLS needs the name, and processors ask the same name servers as the agent."""
    policy = AddressPolicy.of(domains=["unix.ar"])
    session = world.session(LyingAgent({"GET CREDENTIAL": credential()}), policy=policy)
    assert [str(one) for one in world.run(session.get_credential, COPY).servers] == ["kf1.unix.ar:9092"]


# What it refuses


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("550 No such flow: x", "No such flow: x"),
        ("557 \x1b[31mred", "?[31mred"),
        ("554 220 OK", "220_OK"),
        ("554 " + "é" * 300, "é" * 200 + "…"),
        ("501", ""),
    ],
)
def test_a_refusal_is_told_in_its_words_but_tamed(world: World, said: str, told: str) -> None:
    session = world.session(LyingAgent({"SUBSCRIBE": f"{said}\r\n".encode()}))
    with pytest.raises(RemoteRefused) as refused:
        world.run(session.subscribe, FLOW, None, "t")
    assert refused.value.text == f"Remote agent refused: {told}"


def test_a_lie_ends_the_session(world: World) -> None:
    agent = LyingAgent({"SUBSCRIBE": body(FLOW), "NOTIFY": b"220 OK\r\n"})
    session = world.session(agent)
    with pytest.raises(AgentUnreachable):
        world.run(session.subscribe, FLOW, None, "t")
    with pytest.raises(AgentUnreachable):
        world.run(session.notify, COPY, "ended")
    world.run(session.quit)
    assert parent(COPY) == FLOW
