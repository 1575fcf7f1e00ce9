"""A zone: which names exist, and how its serial moves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from eson.names.core.wire import NS, SOA, A, RRset, encode_name
from eson.names.core.zone import Apex, Zone

NODE = (RRset(A, 60, (b"\x7f\0\0\1",)),)
OTHER = (RRset(A, 60, (b"\x7f\0\0\2",)),)


class Clock:
    now = 1000.7

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None) -> tuple[Zone, list[bytes]]:
    forgotten: list[bytes] = []
    return Zone("unix.ar", Apex(("ns1.unix.ar",)), clock or Clock(), forgotten.append), forgotten


def test_names_above_a_record_exist_and_end_with_it() -> None:
    zone, _ = make()
    deep = encode_name("_queue._flow._tcp.time.flows.unix.ar")
    above = [
        encode_name(one)
        for one in (
            "_flow._tcp.time.flows.unix.ar",
            "_tcp.time.flows.unix.ar",
            "time.flows.unix.ar",
            "flows.unix.ar",
        )
    ]
    assert all(zone.get(one) is None for one in above)
    zone.put(deep, NODE)
    assert zone.get(deep) == NODE
    assert all(zone.get(one) == () for one in above)
    zone.remove(deep)
    assert all(zone.get(one) is None for one in [deep, *above])


def test_a_name_with_records_and_names_below_it_stays_while_either_is_there() -> None:
    zone, _ = make()
    upper, lower = encode_name("a.unix.ar"), encode_name("b.a.unix.ar")
    zone.put(lower, NODE)
    zone.put(upper, NODE)
    zone.remove(lower)
    assert zone.get(upper) == NODE
    zone.put(lower, NODE)
    zone.remove(upper)
    assert zone.get(upper) == ()
    zone.remove(lower)
    assert zone.get(upper) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("ab"), min_size=1, max_size=4)), max_size=60)
)
def test_existence_follows_the_records_whatever_the_order(steps: list[tuple[bool, list[str]]]) -> None:
    zone, _ = make()
    there: set[str] = set()
    for put, labels in steps:
        name = ".".join([*labels, "unix.ar"])
        if put:
            zone.put(encode_name(name), NODE)
            there.add(name)
        else:
            zone.remove(encode_name(name))
            there.discard(name)
    for depth in range(1, 5):
        for number in range(2**depth):
            labels = ["ab"[number >> bit & 1] for bit in range(depth)]
            name = ".".join([*labels, "unix.ar"])
            node = zone.get(encode_name(name))
            if name in there:
                assert node == NODE
            elif any(one.endswith("." + name) for one in there):
                assert node == ()
            else:
                assert node is None
    assert set(zone.names()) == {encode_name(one) for one in [*there, "unix.ar"]}


def test_the_origin_has_its_name_servers_whatever_is_put_or_removed() -> None:
    zone, _ = make()
    kinds = lambda: [one.kind for one in zone.get(zone.origin) or ()]  # noqa: E731
    assert kinds() == [NS]
    zone.put(zone.origin, NODE)
    assert kinds() == [NS, A]
    zone.remove(zone.origin)
    assert kinds() == [NS]


def test_the_serial_is_the_time_and_rises_with_each_change_that_is_seen() -> None:
    clock = Clock()
    zone, _ = make(clock)
    assert zone.serial() == 1000
    assert zone.serial() == 1000
    zone.put(encode_name("a.unix.ar"), NODE)
    assert zone.serial() == 1001
    zone.put(encode_name("a.unix.ar"), OTHER)
    zone.put(encode_name("b.unix.ar"), OTHER)
    assert zone.serial() == 1002
    zone.remove(encode_name("b.unix.ar"))
    clock.now = 2000
    assert zone.serial() == 2000


def test_what_changes_nothing_moves_no_serial() -> None:
    zone, _ = make()
    zone.put(encode_name("a.unix.ar"), NODE)
    before = zone.serial()
    zone.put(encode_name("a.unix.ar"), NODE)
    zone.remove(encode_name("b.unix.ar"))
    zone.remove(encode_name("unix.ar"))
    assert zone.serial() == before


def test_a_clock_that_went_back_does_not_take_the_serial_with_it() -> None:
    clock = Clock()
    zone, _ = make(clock)
    assert zone.serial() == 1000
    clock.now = 10
    zone.put(encode_name("a.unix.ar"), NODE)
    assert zone.serial() == 1001


def test_the_soa_says_the_serial_and_is_forgotten_when_it_moves() -> None:
    zone, forgotten = make()
    assert zone.soa().kind == SOA
    assert zone.soa().ttl == 60
    first = zone.soa().rdatas[0]
    del forgotten[:]
    zone.put(encode_name("a.unix.ar"), NODE)
    assert forgotten == [zone.origin, encode_name("a.unix.ar")]
    assert zone.soa().rdatas[0] != first
