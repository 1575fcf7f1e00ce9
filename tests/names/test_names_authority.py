"""Flows and namespaces as records, and the zones that hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.errors import NameNotAllowed, NotHosted
from eson.model.servers import Server
from eson.names.core.authority import Authority, Settings
from eson.names.core.records import Agent, Ttl
from eson.names.core.responder import Responder
from eson.names.port import FlowNames

AGENT = Agent("fnaa.unix.ar", 61001, True, 61000)
SETTINGS = Settings(
    participant="unix.ar",
    agent=AGENT,
    agent_addresses=("127.0.0.1",),
    zones={"unix.ar": {"kf1": ("127.0.0.2", "::2"), "ns1": ("127.0.0.3",), "@": ("127.0.0.4",)}},
    nameservers=("ns1.unix.ar",),
)
NO_ZONES = replace(SETTINGS, zones={})
INNER_ZONE = replace(SETTINGS, zones={"x.flows.unix.ar": {"kf1": ("127.0.0.2",)}})


def flow(name: str = "time.flows.unix.ar", namespace: str = "flows.unix.ar", **changes: Any) -> FlowNames:
    names = FlowNames(name, namespace, "kafka", (Server("kf1.unix.ar", 9092),), False, name)
    return replace(names, **changes)


class Served:
    """An authority and what it answers, in the words of zone files."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.now = 1000.0
        self.authority = Authority(settings, lambda: self.now)
        self.responder = Responder(self.authority)

    def reply(self, name: str, kind: str) -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        wire = self.responder.respond(query.to_wire(), stream=True)
        assert wire is not None
        return dns.message.from_wire(wire)

    def data(self, name: str, kind: str) -> list[str]:
        return sorted(one.to_text() for rrset in self.reply(name, kind).answer for one in rrset)

    def ttl(self, name: str, kind: str) -> int:
        return self.reply(name, kind).answer[0].ttl

    def rcode(self, name: str, kind: str = "PTR") -> str:
        return dns.rcode.to_text(self.reply(name, kind).rcode())


@pytest.fixture
def served() -> Served:
    served = Served()
    served.authority.put_namespace("flows.unix.ar")
    return served


def test_a_flow_has_the_records_of_the_draft(served: Served) -> None:
    served.authority.put_flow(flow(broker_tls=True))
    f = "time.flows.unix.ar"
    assert served.data(f, "PTR") == [f"_flow._tcp.{f}."]
    assert served.data(f"_flow._tcp.{f}", "SRV") == ["30 30 61001 fnaa.unix.ar."]
    assert served.data(f"_flow._tcp.{f}", "TXT") == ['"tls"']
    assert served.data(f"_queue._flow._tcp.{f}", "SRV") == ["30 30 9092 kf1.unix.ar."]
    assert served.data(f"_queue._flow._tcp.{f}", "TXT") == ['"broker-type=kafka" "tls"']
    assert served.ttl(f, "PTR") == served.ttl(f"_queue._flow._tcp.{f}", "TXT") == 900


def test_a_broker_without_tls_does_not_say_tls(served: Served) -> None:
    served.authority.put_flow(flow())
    assert served.data("_queue._flow._tcp.time.flows.unix.ar", "TXT") == ['"broker-type=kafka"']


def test_an_agent_without_tls_has_an_empty_text() -> None:
    served = Served(replace(SETTINGS, agent=Agent("fnaa.unix.ar", 61000, False)))
    served.authority.put_flow(flow())
    assert served.data("_flow._tcp.time.flows.unix.ar", "TXT") == ['""']


def test_each_server_of_a_broker_has_a_record(served: Served) -> None:
    served.authority.put_flow(flow(servers=(Server("kf1.unix.ar", 9092), Server("kf2.unix.ar", 9093))))
    data = served.data("_queue._flow._tcp.time.flows.unix.ar", "SRV")
    assert data == ["30 30 9092 kf1.unix.ar.", "30 30 9093 kf2.unix.ar."]


def test_the_queues_real_name_is_said_only_where_it_differs(served: Served) -> None:
    served.authority.put_flow(flow(queue="time_flows_unix_ar"))
    data = served.data("_queue._flow._tcp.time.flows.unix.ar", "TXT")
    assert data == ['"broker-type=kafka" "queue=time_flows_unix_ar" "topic=time_flows_unix_ar"']


def test_the_longest_queue_of_a_broker_fits(served: Served) -> None:
    queue = "q" * 249
    served.authority.put_flow(flow(queue=queue))
    assert served.data("_queue._flow._tcp.time.flows.unix.ar", "TXT") == [
        f'"broker-type=kafka" "queue={queue}" "topic={queue}"'
    ]
    with pytest.raises(ValueError):
        served.authority.put_flow(flow("other.flows.unix.ar", queue="q" * 250))
    assert served.rcode("other.flows.unix.ar") == "NXDOMAIN"
    assert served.authority.flows() == ["time.flows.unix.ar"]


def test_the_longest_flow_and_its_copy_fit(served: Served) -> None:
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 20, "flows.unix.ar"])[-227:].lstrip(".")
    copy = "ksdj898." + name
    served.authority.put_flow(flow(copy, queue=copy, copy=True, catalogued=False))
    assert served.data(f"_queue._flow._tcp.{copy}", "SRV") == ["30 30 9092 kf1.unix.ar."]


def test_a_copy_has_short_times_and_no_place_in_the_catalogue(served: Served) -> None:
    copy = "ksdj898.time.flows.unix.ar"
    served.authority.put_flow(flow())
    served.authority.put_flow(flow(copy, copy=True, catalogued=False))
    assert served.data(copy, "PTR") == [f"_flow._tcp.{copy}."]
    assert {
        served.ttl(copy, "PTR"),
        served.ttl(f"_flow._tcp.{copy}", "SRV"),
        served.ttl(f"_queue._flow._tcp.{copy}", "TXT"),
    } == {60}
    assert served.data("_flow._tcp.flows.unix.ar", "PTR") == ["time.flows.unix.ar."]
    served.authority.remove_flow("time.flows.unix.ar")
    assert served.rcode("time.flows.unix.ar") == "NOERROR", "the copy lies below it"
    assert served.data("time.flows.unix.ar", "PTR") == []


def test_a_withdrawn_flow_leaves_nothing(served: Served) -> None:
    before = served.authority.zone("unix.ar").names()
    kept = set(before)
    served.authority.put_flow(flow())
    served.authority.remove_flow("time.flows.unix.ar")
    served.authority.remove_flow("time.flows.unix.ar")
    assert set(served.authority.zone("unix.ar").names()) == kept
    assert served.rcode("time.flows.unix.ar") == "NXDOMAIN"
    assert served.rcode("_tcp.time.flows.unix.ar") == "NXDOMAIN"
    assert served.authority.flows() == []


def test_a_changed_flow_is_answered_as_it_now_is(served: Served) -> None:
    served.authority.put_flow(flow())
    place = "_queue._flow._tcp.time.flows.unix.ar"
    assert served.data(place, "SRV") == ["30 30 9092 kf1.unix.ar."]
    serial = served.authority.zone("unix.ar").serial()
    served.authority.put_flow(flow(servers=(Server("kf2.unix.ar", 1),)))
    assert served.data(place, "SRV") == ["30 30 1 kf2.unix.ar."]
    assert served.authority.zone("unix.ar").serial() == serial + 1
    served.authority.put_flow(flow(servers=(Server("kf2.unix.ar", 1),)))
    assert served.authority.zone("unix.ar").serial() == serial + 1


def test_a_namespace_names_its_agent(served: Served) -> None:
    assert served.data("_flow._tcp.flows.unix.ar", "SRV") == ["30 30 61001 fnaa.unix.ar."]
    assert served.data("_flow._tcp.flows.unix.ar", "TXT") == ['"tls"']
    assert served.data("_flow._tcp.flows.unix.ar", "PTR") == []


def test_the_participant_names_the_agent_that_speaks_for_it(served: Served) -> None:
    assert served.data("_flow._tcp.unix.ar", "SRV") == ["30 30 61001 fnaa.unix.ar."]
    served.authority.put_namespace("unix.ar")
    served.authority.put_flow(flow("f.unix.ar", "unix.ar"))
    assert served.data("_flow._tcp.unix.ar", "PTR") == ["f.unix.ar."]
    served.authority.remove_namespace("unix.ar")
    assert served.data("_flow._tcp.unix.ar", "SRV") == ["30 30 61001 fnaa.unix.ar."]
    assert served.data("_flow._tcp.unix.ar", "PTR") == []


def test_the_catalogue_points_at_the_first_flows_by_name() -> None:
    served = Served(replace(SETTINGS, catalogue=3))
    for letter in "dbeac":
        served.authority.put_flow(flow(f"{letter}.flows.unix.ar"))
    catalogue = lambda: [one[0] for one in served.data("_flow._tcp.flows.unix.ar", "PTR")]  # noqa: E731
    assert catalogue() == ["a", "b", "c"]
    served.authority.remove_flow("b.flows.unix.ar")
    assert catalogue() == ["a", "c", "d"]
    served.authority.put_flow(flow("a.flows.unix.ar", catalogued=False))
    assert catalogue() == ["c", "d", "e"]
    served.authority.put_flow(flow("a.flows.unix.ar"))
    assert catalogue() == ["a", "c", "d"]


def test_no_catalogue_at_all() -> None:
    served = Served(replace(SETTINGS, catalogue=0))
    served.authority.put_flow(flow())
    assert served.data("_flow._tcp.flows.unix.ar", "PTR") == []


def test_a_catalogue_ends_where_a_message_does() -> None:
    served = Served(replace(SETTINGS, catalogue=2000))
    long = [f"{number:04}{'x' * 59}.{'y' * 63}.flows.unix.ar" for number in range(700)]
    for name in long:
        served.authority.put_flow(flow(name))
    listed = served.data("_flow._tcp.flows.unix.ar", "PTR")
    assert 350 < len(listed) < 700
    assert listed == [f"{name}." for name in long[: len(listed)]]


def test_a_namespace_too_long_for_its_records_is_refused(served: Served) -> None:
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 28, "unix.ar"])
    assert len(name) == 228
    with pytest.raises(NameNotAllowed):
        served.authority.put_namespace(name)
    served.authority.put_namespace(name[1:])
    assert served.data(f"_flow._tcp.{name[1:]}", "SRV") == ["30 30 61001 fnaa.unix.ar."]


def test_the_records_of_the_proof_of_concept_are_there_only_if_asked_for(served: Served) -> None:
    served.authority.put_flow(flow())
    assert served.data("time.flows.unix.ar", "SRV") == []
    assert served.data("fnaa.unix.ar", "SRV") == []
    served = Served(replace(SETTINGS, poc_records=True))
    served.authority.put_flow(flow())
    assert served.data("time.flows.unix.ar", "SRV") == ["0 0 61000 fnaa.unix.ar."]
    assert served.data("fnaa.unix.ar", "SRV") == ["0 0 61000 fnaa.unix.ar."]
    assert served.data("time.flows.unix.ar", "PTR") == ["_flow._tcp.time.flows.unix.ar."]


def test_hosts_of_a_zone_and_the_agent_have_addresses(served: Served) -> None:
    assert served.data("kf1.unix.ar", "A") == ["127.0.0.2"]
    assert served.data("kf1.unix.ar", "AAAA") == ["::2"]
    assert served.data("unix.ar", "A") == ["127.0.0.4"]
    assert served.data("fnaa.unix.ar", "A") == ["127.0.0.1"]


def test_a_static_host_of_the_agents_name_wins() -> None:
    served = Served(replace(SETTINGS, zones={"unix.ar": {"fnaa": ("127.0.0.9",)}}))
    assert served.data("fnaa.unix.ar", "A") == ["127.0.0.9"]


def test_a_flow_may_have_the_name_of_a_host(served: Served) -> None:
    served.authority.put_namespace("unix.ar")
    served.authority.put_flow(flow("kf1.unix.ar", "unix.ar"))
    assert served.data("kf1.unix.ar", "A") == ["127.0.0.2"]
    assert served.data("kf1.unix.ar", "PTR") == ["_flow._tcp.kf1.unix.ar."]
    served.authority.remove_flow("kf1.unix.ar")
    assert served.data("kf1.unix.ar", "A") == ["127.0.0.2"]
    assert served.data("kf1.unix.ar", "PTR") == []


def test_a_server_given_by_address_gets_a_name(served: Served) -> None:
    served.authority.put_flow(flow(servers=(Server("192.0.2.7", 9092), Server("2001:db8::7", 9092))))
    data = served.data("_queue._flow._tcp.time.flows.unix.ar", "SRV")
    assert data == [
        "30 30 9092 ip-192-0-2-7.unix.ar.",
        "30 30 9092 ip-2001-0db8-0000-0000-0000-0000-0000-0007.unix.ar.",
    ]
    assert served.data("ip-192-0-2-7.unix.ar", "A") == ["192.0.2.7"]
    assert served.data("ip-2001-0db8-0000-0000-0000-0000-0000-0007.unix.ar", "AAAA") == ["2001:db8::7"]


def test_the_apex_has_name_servers_and_soa(served: Served) -> None:
    assert served.data("unix.ar", "NS") == ["ns1.unix.ar."]
    assert served.data("unix.ar", "SOA") == ["ns1.unix.ar. hostmaster.unix.ar. 1000 1200 180 1209600 60"]
    assert [one.to_text() for one in served.reply("unix.ar", "NS").additional] == [
        "ns1.unix.ar. 900 IN A 127.0.0.3"
    ]


def test_without_name_servers_the_agents_host_is_one() -> None:
    assert Served(replace(SETTINGS, nameservers=())).data("unix.ar", "NS") == ["fnaa.unix.ar."]


def test_a_namespace_outside_all_zones_is_a_zone() -> None:
    served = Served(NO_ZONES)
    assert served.authority.zones() == []
    assert served.rcode("time.flows.unix.ar") == "REFUSED"
    served.authority.put_flow(flow())
    assert served.authority.zones() == ["flows.unix.ar"]
    assert served.data("flows.unix.ar", "NS") == ["ns1.unix.ar."]
    assert served.data("time.flows.unix.ar", "PTR") == ["_flow._tcp.time.flows.unix.ar."]
    assert served.rcode("unix.ar", "SOA") == "REFUSED"
    served.authority.remove_namespace("flows.unix.ar")
    assert served.authority.zones() == []
    assert served.authority.flows() == []
    assert served.rcode("time.flows.unix.ar") == "REFUSED"


def test_the_agents_host_stands_in_a_namespace_that_is_a_zone() -> None:
    served = Served(replace(NO_ZONES, agent=Agent("fnaa.flows.unix.ar", 1, False)))
    served.authority.put_namespace("flows.unix.ar")
    assert served.data("fnaa.flows.unix.ar", "A") == ["127.0.0.1"]


def test_a_namespace_above_takes_in_the_zones_below_it_and_gives_them_back() -> None:
    served = Served(NO_ZONES)
    served.authority.put_flow(flow("a.x.flows.unix.ar", "x.flows.unix.ar"))
    served.authority.put_flow(flow("a.y.flows.unix.ar", "y.flows.unix.ar"))
    assert served.authority.zones() == ["x.flows.unix.ar", "y.flows.unix.ar"]
    served.authority.put_flow(flow("a.flows.unix.ar"))
    assert served.authority.zones() == ["flows.unix.ar"]
    for name in ("a.x.flows.unix.ar", "a.y.flows.unix.ar", "a.flows.unix.ar"):
        assert served.data(name, "PTR") == [f"_flow._tcp.{name}."]
    assert served.data("_flow._tcp.x.flows.unix.ar", "PTR") == ["a.x.flows.unix.ar."]
    served.authority.remove_namespace("flows.unix.ar")
    assert served.authority.zones() == ["x.flows.unix.ar", "y.flows.unix.ar"]
    assert served.rcode("a.flows.unix.ar") == "REFUSED"
    assert served.data("a.x.flows.unix.ar", "PTR") == ["_flow._tcp.a.x.flows.unix.ar."]
    assert served.data("x.flows.unix.ar", "NS") == ["ns1.unix.ar."]


def test_a_configured_zone_stays_one_below_a_namespace_that_is_a_zone() -> None:
    served = Served(INNER_ZONE)
    served.authority.put_flow(flow("a.x.flows.unix.ar", "x.flows.unix.ar"))
    served.authority.put_flow(flow("a.flows.unix.ar"))
    assert served.authority.zones() == ["flows.unix.ar", "x.flows.unix.ar"]
    assert served.data("kf1.x.flows.unix.ar", "A") == ["127.0.0.2"]
    assert served.data("a.x.flows.unix.ar", "PTR") == ["_flow._tcp.a.x.flows.unix.ar."]
    assert served.data("x.flows.unix.ar", "NS") == ["ns1.unix.ar."]
    served.authority.remove_namespace("flows.unix.ar")
    served.authority.remove_namespace("x.flows.unix.ar")
    assert served.authority.zones() == ["x.flows.unix.ar"]
    assert served.data("kf1.x.flows.unix.ar", "A") == ["127.0.0.2"]
    assert served.rcode("_flow._tcp.x.flows.unix.ar") == "NXDOMAIN"


def test_a_namespace_that_is_withdrawn_takes_its_flows_and_leaves_the_zone_configured(served: Served) -> None:
    served.authority.put_flow(flow())
    served.authority.put_flow(flow("ksdj898.time.flows.unix.ar", copy=True, catalogued=False))
    served.authority.remove_namespace("flows.unix.ar")
    served.authority.remove_namespace("flows.unix.ar")
    assert served.authority.zones() == ["unix.ar"]
    assert served.rcode("_flow._tcp.flows.unix.ar") == "NXDOMAIN"
    assert served.rcode("ksdj898.time.flows.unix.ar") == "NXDOMAIN"


def test_a_namespace_with_the_name_of_a_flow_keeps_its_agent(served: Served) -> None:
    served.authority.put_flow(flow("sub.flows.unix.ar"))
    served.authority.put_flow(flow("a.sub.flows.unix.ar", "sub.flows.unix.ar"))
    assert served.data("_flow._tcp.sub.flows.unix.ar", "PTR") == ["a.sub.flows.unix.ar."]
    served.authority.put_flow(flow("sub.flows.unix.ar", broker_tls=True))
    assert served.data("_flow._tcp.sub.flows.unix.ar", "PTR") == ["a.sub.flows.unix.ar."]
    served.authority.remove_flow("sub.flows.unix.ar")
    assert served.data("_flow._tcp.sub.flows.unix.ar", "SRV") == ["30 30 61001 fnaa.unix.ar."]
    assert served.data("_flow._tcp.sub.flows.unix.ar", "PTR") == ["a.sub.flows.unix.ar."]


def test_names_of_others_are_refused(served: Served) -> None:
    for name in ("emiliano.ar", "ar", ".", "xunix.ar", "_flow._tcp.emiliano.ar"):
        reply = served.reply(name, "SRV")
        assert reply.rcode() == dns.rcode.REFUSED
        assert not reply.flags & dns.flags.AA
    with pytest.raises(NotHosted):
        served.authority.zone("emiliano.ar")


def test_times_to_live_are_those_of_the_configuration() -> None:
    served = Served(replace(SETTINGS, ttl=Ttl(flow=7, copy=3, negative=5)))
    served.authority.put_flow(flow())
    served.authority.put_flow(flow("ksdj898.time.flows.unix.ar", copy=True))
    assert served.ttl("time.flows.unix.ar", "PTR") == 7
    assert served.ttl("ksdj898.time.flows.unix.ar", "PTR") == 3
    assert served.reply("nothing.flows.unix.ar", "PTR").authority[0].ttl == 5


def test_a_change_touches_few_names_however_many_flows_there_are() -> None:
    """What is rendered anew does not grow: a thousand more flows, the same few names."""
    touched = []
    for count in (10, 1010):
        authority = Authority(replace(SETTINGS, catalogue=5), lambda: 1000.0)
        for number in range(count):
            authority.put_flow(flow(f"f{number:05}.flows.unix.ar"))
        authority.zone("unix.ar").serial()
        changed: list[bytes | None] = []
        authority.watch(changed.append)
        authority.put_flow(flow("z.flows.unix.ar"))
        authority.put_flow(flow("z.flows.unix.ar", queue="other"))
        authority.remove_flow("z.flows.unix.ar")
        touched.append(changed)
    assert touched[0] == touched[1]
    assert None not in touched[0]
    assert len(touched[0]) <= 8


NAMESPACES = ["flows.unix.ar", "x.flows.unix.ar", "y.x.flows.unix.ar", "unix.ar"]
FLOWS = [(f"{label}.{namespace}", namespace) for namespace in NAMESPACES for label in ("a", "x", "b.c")]
STEP = st.one_of(
    st.tuples(st.just("put_flow"), st.sampled_from(FLOWS)),
    st.tuples(st.just("remove_flow"), st.sampled_from(FLOWS)),
    st.tuples(st.just("put_namespace"), st.sampled_from(NAMESPACES)),
    st.tuples(st.just("remove_namespace"), st.sampled_from(NAMESPACES)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=25), st.sampled_from([SETTINGS, NO_ZONES, INNER_ZONE]))
def test_what_is_answered_depends_on_what_is_published_and_not_on_the_way_there(
    steps: list[tuple[str, Any]], setting: Settings
) -> None:
    """Also proves that no kept answer outlives what it says: each step is followed by questions that keep answers."""
    served = Served(setting)
    questions = [(name, kind) for name, _ in FLOWS for kind in ("PTR", "SOA", "ANY")]
    questions += [
        (f"_flow._tcp.{name}", kind)
        for name in [*NAMESPACES, *(one for one, _ in FLOWS)]
        for kind in ("SRV", "PTR")
    ]
    for verb, value in steps:
        argument = flow(*value) if verb == "put_flow" else value[0] if verb == "remove_flow" else value
        getattr(served.authority, verb)(argument)
        for name, kind in questions[:: len(steps)]:
            served.reply(name, kind)
    fresh = Served(setting)
    for namespace in served.authority.namespaces():
        fresh.authority.put_namespace(namespace)
    for name in served.authority.flows():
        fresh.authority.put_flow(flow(name, dict(FLOWS)[name]))
    assert served.authority.zones() == fresh.authority.zones()
    served.now = fresh.now = 5000.0
    for one in (served, fresh):
        for zone in one.authority.zones():
            one.authority.put_flow(flow(f"zz.{zone}", zone))
            one.authority.remove_flow(f"zz.{zone}")
    for name, kind in questions:
        first, second = served.reply(name, kind), fresh.reply(name, kind)
        first.id = second.id
        assert first == second, (name, kind)
