"""A zone as a master file, read back by dnspython."""

from __future__ import annotations

import dns.name
import dns.zone

from eson.model.servers import Server
from eson.names.core.authority import Authority, Settings
from eson.names.core.records import Agent
from eson.names.core.zonefile import zone_text
from eson.names.port import FlowNames


def test_all_records_stand_in_the_file_the_soa_first() -> None:
    hosts = {"kf1": ("127.0.0.2", "::2")}
    authority = Authority(
        Settings("unix.ar", Agent("fnaa.unix.ar", 61001, True), ("127.0.0.1",), {"unix.ar": hosts}),
        lambda: 1000.0,
    )
    flow = "time.flows.unix.ar"
    authority.put_flow(
        FlowNames(flow, "flows.unix.ar", "kafka", (Server("kf1.unix.ar", 9092),), True, 'a "quoted" queue')
    )
    text = zone_text(authority.zone("unix.ar"))
    assert text.startswith(
        "unix.ar. 60 IN SOA fnaa.unix.ar. hostmaster.unix.ar. 1000 1200 180 1209600 60\nunix.ar. 900 IN NS fnaa.unix.ar.\n"
    )
    zone = dns.zone.from_text(text, "unix.ar", relativize=False)
    for owner, kind, count in [
        ("unix.ar.", "SOA", 1),
        ("kf1.unix.ar.", "AAAA", 1),
        (f"{flow}.", "PTR", 1),
        (f"_queue._flow._tcp.{flow}.", "TXT", 1),
    ]:
        assert len(zone.get_rdataset(owner, kind) or ()) == count
    texts = zone.get_rdataset(f"_queue._flow._tcp.{flow}.", "TXT")
    assert texts is not None
    assert texts[0].strings[2] == b'queue=a "quoted" queue'
    assert len(text.splitlines()) == sum(len(rdataset) for _, rdataset in zone.iterate_rdatasets())
