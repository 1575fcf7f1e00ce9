"""The order in which agents and brokers are looked for."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from eson.errors import AgentUnreachable, NoSuch
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.names.core.lookup import HostAddresses, LookupFailed, Service
from eson.names.discovery import Discovery, attributes, is_host_name, order, parents

T = TypeVar("T")
F = "time.flows.unix.ar"
AGENT = Service(30, 30, 61001, "fnaa.unix.ar")
BROKER = Service(30, 30, 9092, "kf1.unix.ar")


class Records:
    """A DNS of a few records that remembers what was asked.  Names in `broken` answer nothing."""

    def __init__(self, *, broken: frozenset[str] = frozenset(), **kinds: dict[str, Any]) -> None:
        self.kinds = kinds
        self.broken = broken
        self.asked: list[tuple[str, str]] = []

    def _ask(self, kind: str, name: str) -> Any:
        self.asked.append((kind, name))
        if name in self.broken:
            raise LookupFailed(name, "silence")
        return self.kinds.get(kind, {}).get(name, ())

    async def pointers(self, name: str) -> tuple[str, ...]:
        return self._ask("ptr", name)

    async def services(self, name: str) -> tuple[Service, ...]:
        return self._ask("srv", name)

    async def texts(self, name: str) -> tuple[tuple[str, ...], ...]:
        return self._ask("txt", name)

    async def addresses(self, host: str) -> HostAddresses:
        return self._ask("a", host) or HostAddresses(())


def run(steps: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def agent(records: Records, name: str = F) -> Any:
    return run(Discovery(records).discover_agent(name))


def test_a_pointer_leads_to_the_agent() -> None:
    place = f"_flow._tcp.{F}"
    records = Records(ptr={F: (place,)}, srv={place: (AGENT,)}, txt={place: (("tls",),)})
    found = agent(records)
    assert (found.host, found.port, found.tls, found.source, found.domain) == (
        "fnaa.unix.ar",
        61001,
        True,
        place,
        F,
    )
    assert records.asked == [("ptr", F), ("srv", place), ("txt", place)]


def test_a_pointer_may_lead_to_another_name_and_that_names_the_domain() -> None:
    place = "_flow._tcp.flows.syndeno.com"
    found = agent(Records(ptr={F: (place,)}, srv={place: (AGENT,)}))
    assert (found.domain, found.source, found.tls) == ("flows.syndeno.com", place, False)


def test_the_whole_order_is_asked_before_giving_up() -> None:
    records = Records()
    with pytest.raises(AgentUnreachable) as caught:
        agent(records, "a.b.flows.unix.ar")
    assert caught.value.text == "Agent of a.b.flows.unix.ar cannot be reached"
    f = "a.b.flows.unix.ar"
    assert records.asked == [
        ("ptr", f),
        ("srv", f"_flow._tcp.{f}"),
        ("srv", f),
        ("srv", f"fnaa._flow._tcp.{f}"),
        ("srv", "_flow._tcp.b.flows.unix.ar"),
        ("srv", "_flow._tcp.flows.unix.ar"),
        ("srv", "_flow._tcp.unix.ar"),
    ]


@pytest.mark.parametrize(
    ("place", "domain"),
    [
        (f"_flow._tcp.{F}", F),
        (F, F),
        (f"fnaa._flow._tcp.{F}", F),
        ("_flow._tcp.flows.unix.ar", "flows.unix.ar"),
        ("_flow._tcp.unix.ar", "unix.ar"),
    ],
)
def test_each_place_answers_when_those_before_it_do_not(place: str, domain: str) -> None:
    found = agent(Records(srv={place: (AGENT,)}, txt={place: (("tls",),)}))
    assert (found.source, found.domain, found.tls) == (place, domain, True)


def test_nearer_places_win() -> None:
    places = [f"_flow._tcp.{F}", F, f"fnaa._flow._tcp.{F}", "_flow._tcp.flows.unix.ar", "_flow._tcp.unix.ar"]
    for index in range(len(places)):
        assert agent(Records(srv=dict.fromkeys(places[index:], (AGENT,)))).source == places[index]


def test_a_pointer_that_leads_nowhere_does_not_end_the_search() -> None:
    place = "_flow._tcp.flows.unix.ar"
    assert agent(Records(ptr={F: ("_flow._tcp.gone.unix.ar",)}, srv={place: (AGENT,)})).source == place


def test_pointers_to_other_things_are_left_out_and_few_are_followed() -> None:
    strange = (
        "_http._tcp.unix.ar",
        "printer.unix.ar",
        "_flow._tcp.a b.unix.ar",
        "_flow._tcp.a\\000.ar",
        "_flow._tcp.",
    )
    many = tuple(f"_flow._tcp.x{n}.unix.ar" for n in range(50))
    records = Records(ptr={F: strange + many + (f"_flow._tcp.{F}",)})
    with pytest.raises(AgentUnreachable):
        agent(records)
    pointed = [name for kind, name in records.asked if kind == "srv"][:4]
    assert pointed == [f"_flow._tcp.{F}", *many[:3]]
    assert records.asked[5] == ("srv", F)


@pytest.mark.parametrize(
    "target", ["", "127.0.0.1", "10.1", "1", "a b.ar", "-a.ar", "a-.ar", "a..ar", "é.ar", "_x.ar", "::1"]
)
def test_a_service_that_is_not_offered_or_no_host_ends_the_search(target: str) -> None:
    records = Records(
        srv={f"_flow._tcp.{F}": (Service(0, 0, 1, target),), "_flow._tcp.unix.ar": (AGENT,)},
    )
    with pytest.raises(AgentUnreachable) as caught:
        agent(records)
    assert "offers nothing" in str(caught.value.context["why"])


@pytest.mark.parametrize("name", [F, f"_flow._tcp.{F}", f"fnaa._flow._tcp.{F}"])
def test_silence_ends_the_search_instead_of_leading_elsewhere(name: str) -> None:
    records = Records(srv={"_flow._tcp.unix.ar": (AGENT,)}, broken=frozenset([name]))
    with pytest.raises(AgentUnreachable) as caught:
        agent(records)
    assert caught.value.text == f"Agent of {F} cannot be reached"
    assert caught.value.context["why"] == f"{name} cannot be resolved at the moment: silence"
    assert records.asked[-1][1] == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.unix.ar", ["unix.ar"]),
        ("unix.ar", []),
        (
            "a.b.c.d.e.f.g.h.unix.ar",
            [
                "b.c.d.e.f.g.h.unix.ar",
                "c.d.e.f.g.h.unix.ar",
                "d.e.f.g.h.unix.ar",
                "e.f.g.h.unix.ar",
                "f.g.h.unix.ar",
                "g.h.unix.ar",
            ],
        ),
        ("time.flows.example.co.uk", ["flows.example.co.uk", "example.co.uk"]),
        ("x.emiliano.github.io", ["emiliano.github.io"]),
        ("emiliano.github.io", []),
        ("github.io", []),
        ("co.uk", []),
        ("com", []),
        ("time.flows.home.arpa", ["flows.home.arpa"]),
        ("a.b.unheard-of", ["b.unheard-of"]),
    ],
)
def test_parents_end_at_the_registered_domain(name: str, expected: list[str]) -> None:
    assert parents(name) == expected


def test_the_agent_of_a_participant_is_named_by_its_own_domain_alone() -> None:
    records = Records(srv={"_flow._tcp.unix.ar": (AGENT,)})
    assert run(Discovery(records).discover_participant_agent("unix.ar")).domain == "unix.ar"
    with pytest.raises(AgentUnreachable):
        run(Discovery(records).discover_participant_agent("flows.unix.ar"))


def test_a_broker_is_found_with_its_kind_servers_and_queue() -> None:
    place = f"_queue._flow._tcp.{F}"
    records = Records(
        srv={place: (BROKER,)}, txt={place: (("broker-type=kafka", "tls", "queue=Q", "topic=Q"),)}
    )
    found = run(Discovery(records).discover_broker(F))
    assert (found.kind, found.servers, found.tls, found.queue) == (
        "kafka",
        (Server("kf1.unix.ar", 9092),),
        True,
        "Q",
    )


def test_the_queue_is_called_like_the_flow_if_nothing_else_is_said() -> None:
    place = f"_queue._flow._tcp.{F}"
    found = run(
        Discovery(
            Records(srv={place: (BROKER,)}, txt={place: (("broker-type=kafka tls",),)})
        ).discover_broker(F)
    )
    assert (found.kind, found.tls, found.queue) == ("kafka", True, F)


def test_a_broker_is_looked_for_where_the_pointer_leads() -> None:
    place = "_queue._flow._tcp.flows.syndeno.com"
    records = Records(
        ptr={F: ("_flow._tcp.flows.syndeno.com",)},
        srv={place: (BROKER,)},
        txt={place: (("broker-type=amqp",),)},
    )
    assert run(Discovery(records).discover_broker(F)).kind == "amqp"


@pytest.mark.parametrize("texts", [(), (("tls",),), (("broker-type",),), (("broker-type=",),)])
def test_a_broker_without_a_kind_is_none(texts: tuple[tuple[str, ...], ...]) -> None:
    place = f"_queue._flow._tcp.{F}"
    with pytest.raises(NoSuch):
        run(Discovery(Records(srv={place: (BROKER,)}, txt={place: texts})).discover_broker(F))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([["broker-type=kafka", "tls"]], {"broker-type": "kafka", "tls": ""}),
        ([["broker-type=kafka tls"]], {"broker-type": "kafka", "tls": ""}),
        ([["broker-type=kafka"], ["tls"]], {"broker-type": "kafka", "tls": ""}),
        ([["Broker-Type=Kafka", "broker-type=amqp"]], {"broker-type": "Kafka"}),
        ([["queue=a=b"]], {"queue": "a=b"}),
        ([[""]], {}),
        ([], {}),
    ],
)
def test_words_are_read_from_one_string_or_several(texts: list[list[str]], expected: dict[str, str]) -> None:
    assert attributes(texts) == expected


def test_lower_priorities_are_tried_first() -> None:
    services = [Service(20, 0, 3, "c.ar"), Service(10, 0, 1, "a.ar"), Service(20, 0, 2, "b.ar")]
    assert order(services)[0] == Server("a.ar", 1)
    assert set(order(services)[1:]) == {Server("b.ar", 2), Server("c.ar", 3)}


def test_weights_decide_how_often_a_server_comes_first() -> None:
    services = [
        Service(0, 10, 1, "a.ar"),
        Service(0, 30, 1, "b.ar"),
        Service(0, 60, 1, "c.ar"),
        Service(0, 0, 1, "d.ar"),
    ]
    drawn = random.Random(7)
    first = Counter(order(services, drawn.random)[0].host for _ in range(10_000))
    for host, weight in {"a.ar": 0.1, "b.ar": 0.3, "c.ar": 0.6}.items():
        assert abs(first[host] / 10_000 - weight) < 0.03
    assert first["d.ar"] < 50
    assert all(len(set(order(services, drawn.random))) == 4 for _ in range(100))


@pytest.mark.parametrize("drawn", [0.0, 0.999999999999])
def test_the_ends_of_the_draw_lose_no_server(drawn: float) -> None:
    services = [Service(0, weight, 1, f"h{weight}.ar") for weight in (0, 1, 65535)]
    assert len(order(services, lambda: drawn)) == 3


def test_a_long_list_of_servers_is_cut() -> None:
    assert len(order([Service(0, 0, n, "a.ar") for n in range(1, 300)])) == 16


def test_port_zero_and_repetitions_are_left_out() -> None:
    assert order([Service(0, 0, 0, "a.ar"), Service(0, 0, 1, "a.ar"), Service(0, 0, 1, "a.ar")]) == (
        Server("a.ar", 1),
    )


def test_a_name_that_ends_in_a_number_is_no_host() -> None:
    assert not is_host_name("1.2.3.4")
    assert is_host_name("4.example")


def test_addresses_are_filtered_by_the_policy_and_aliases_refused() -> None:
    records = Records(
        a={
            "kf1.unix.ar": HostAddresses(("2606:4700::1", "::1", "8.8.8.8", "127.0.0.1")),
            "alias.unix.ar": HostAddresses(("8.8.8.8",), aliased=True),
            "kf1.emiliano.ar": HostAddresses(("127.0.0.1",)),
        }
    )
    discovery = Discovery(records, AddressPolicy.of(domains=["emiliano.ar"]))
    assert run(discovery.addresses("kf1.unix.ar")) == ("2606:4700::1", "8.8.8.8")
    assert run(discovery.addresses("alias.unix.ar")) == ()
    assert run(discovery.addresses("kf1.emiliano.ar")) == ("127.0.0.1",)
    assert run(discovery.addresses("nowhere.unix.ar")) == ()
