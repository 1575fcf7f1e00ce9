"""The flow-aware library against a real participant, knowing nothing but names and the CA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from servers.participant import Participant
from servers.twisted_reactor import InReactor

from eson.client import Agent, Client
from eson.errors import AgentUnreachable, AuthenticationFailed, ReplyError, TlsFailed

DOMAIN = "unix.ar"


@pytest.fixture(scope="module")
def unix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Participant]:
    with Participant(DOMAIN, tmp_path_factory.mktemp("client"), draft=False) as participant:
        yield participant.start()


@pytest.fixture
def client(unix: Participant, reactor_thread: Any) -> Client:
    return Client(reactor_thread, nameserver="{}:{}".format(*unix.address("names")), trust=str(unix.ca))


@pytest.fixture
def account(unix: Participant) -> tuple[str, str]:
    agent = yaml.safe_load((unix.directory / "fnua.yaml").read_text())["agents"][0]
    return agent["username"], agent["password"]


def event(number: int) -> dict[str, Any]:
    return {"source": "/test", "type": "tick", "id": str(number)}


async def collected(events: Any, count: int = -1) -> list[str]:
    found: list[str] = []
    async with events:
        async for one in events:
            found.append(one["id"])
            if len(found) == count:
                break
    return found


def test_a_flow_is_found_and_used_by_its_name(
    client: Client, account: tuple[str, str], in_reactor: InReactor
) -> None:
    """Resolve, connect, write, read, follow, subscribe: nothing is configured but the name server and the CA."""
    flow = "lib.flows.unix.ar"

    async def all_of_it() -> None:
        async with await client.connect("flows.unix.ar", *account) as agent:
            await agent.create(flow, visibility="public")
            assert await agent.write(flow, (event(number) for number in range(300))) == 300
            assert await collected(agent.read(flow)) == [str(number) for number in range(300)]
            assert await collected(agent.read(flow, limit=2)) == ["0", "1"]
            assert await collected(agent.read(flow, "298", follow=True), 2) == ["298", "299"]
            subscription = await agent.subscribe(flow, start="BEGINNING")
            assert subscription.copy.endswith("." + flow)
            assert await collected(agent.read(subscription.copy, follow=True), 300)
            await agent.unsubscribe(subscription.copy)
        found = await client.resolve(flow)
        assert found.agent.host == "fnaa.unix.ar"
        assert found.broker is not None
        assert (found.broker.kind, found.broker.queue) == ("kafka", flow)
        async with await client.connect(flow) as stranger:
            assert await collected(stranger.read(flow, limit=1)) == ["0"]
            with pytest.raises(ReplyError):
                await stranger.write(flow, [event(1)])

    in_reactor(all_of_it)


def test_a_flow_at_its_own_broker(client: Client, account: tuple[str, str], in_reactor: InReactor) -> None:
    """With a credential of the flow the agent is needed no more; both ways lead to the same events."""
    flow = "direct.flows.unix.ar"

    async def all_of_it() -> None:
        async with await client.connect("fnaa.unix.ar", *account) as agent:
            await agent.create(flow)
            await agent.write(flow, [event(0)])
            credential = await agent.credential(flow)
            async with await client.open(flow, credential) as direct:
                assert await collected(direct.read()) == ["0"]
                assert await direct.write(event(number) for number in range(1, 1000)) == 999
                assert await collected(direct.read("997", follow=True), 3) == ["997", "998", "999"]
            assert len(await collected(agent.read(flow))) == 1000

    in_reactor(all_of_it)


def test_a_session_that_is_lost_says_so(
    unix: Participant, client: Client, account: tuple[str, str], in_reactor: InReactor
) -> None:
    async def connect(*words: str) -> Agent:
        return await client.connect(*words)

    with pytest.raises(AuthenticationFailed):
        in_reactor(connect, "flows.unix.ar", account[0], "wrong")
    with pytest.raises(AgentUnreachable):
        in_reactor(connect, "flows.example.com")
    strict = Client(client._reactor, nameserver="{}:{}".format(*unix.address("names")))
    with pytest.raises(TlsFailed):
        in_reactor(strict.connect, "flows.unix.ar")


def test_an_agent_by_its_address(
    unix: Participant, client: Client, account: tuple[str, str], in_reactor: InReactor
) -> None:
    """With STARTTLS where the port is the clear one; the certificate must hold the name that was asked for."""
    clear = "{}:{}".format(*unix.address("fnap"))

    async def whoami(name: str) -> bool:
        async with await client.connect(name, *account, address=clear) as agent:
            return bool((await agent.whoami())["tls"])

    assert in_reactor(whoami, "fnaa.unix.ar")
    with pytest.raises(TlsFailed):
        in_reactor(whoami, "fnaa.example.com")
