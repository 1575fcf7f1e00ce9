"""Orders survive the way to the processor whole; what no processor can follow is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from eson.brokers.port import Access
from eson.model.rates import RateLimit
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.messages import OrderError, create_message, read_create, read_reach
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd, ProcessorOrder

ACCESS = Access(
    (Server("kf1.unix.ar", 9092), Server("::1", 9093)), "sasl_ssl", "SCRAM-SHA-256", "u", "secret", "PEM"
)
END = ProcessorEnd(ACCESS, "time.flows.unix.ar", "time.flows.unix.ar", foreign=True)
LIMITED = replace(END, limit=RateLimit(100, 9_999_999_999))
ORDER = ProcessorOrder("p-abcdefg", "bridge", (END,), (LIMITED,), {0: 5, 3: 2**40})


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        replace(ORDER, start="now"),
        replace(ORDER, start="beginning", destinations=(replace(END, limit=RateLimit(None, 1)),)),
        replace(ORDER, kind="collector", sources=(END, END)),
        replace(ORDER, kind="distributor", destinations=(END, LIMITED)),
        replace(ORDER, kind="signal", sources=(END, END), destinations=(END, END)),
    ],
)
def test_an_order_survives_the_way(order: ProcessorOrder) -> None:
    policy = AddressPolicy.of(["10.0.0.0/8"], ["192.0.2.1"], ["fnaa.emiliano.ar"], ["example.org"])
    reach = Reach(policy, Server("192.0.2.53", 53), {"example.org": Server("::1", 5353)})
    sent = create_message(order, "/journal", reach, paused=True).SerializeToString()
    message = pb.Create.FromString(sent)
    assert read_create(message) == order
    assert read_reach(message) == reach
    assert message.paused


def _broken(**fields: object) -> pb.Create:
    message = create_message(ORDER, "/journal")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "message",
    [
        pb.Create(),
        _broken(kind=9),
        _broken(journal=""),
        _broken(processor=""),
        create_message(replace(ORDER, sources=(END, END)), "/journal"),
        create_message(replace(ORDER, destinations=()), "/journal"),
        create_message(replace(ORDER, sources=(replace(END, queue=""),)), "/journal"),
        create_message(
            replace(ORDER, sources=(replace(END, access=replace(ACCESS, servers=())),)), "/journal"
        ),
        create_message(
            replace(ORDER, sources=(replace(END, access=replace(ACCESS, security="tls")),)), "/journal"
        ),
        create_message(
            replace(ORDER, sources=(replace(END, access=Access((Server("kf1", 0),))),)), "/journal"
        ),
    ],
)
def test_what_no_processor_can_follow_is_refused(message: pb.Create) -> None:
    with pytest.raises(OrderError) as raised:
        read_create(message)
    assert "secret" not in str(raised.value)


def test_the_committed_messages_are_those_of_the_schema(tmp_path: Path) -> None:
    """Compared as descriptors: another compiler writes other comments, never another schema."""
    root, set_file = Path(__file__).parents[2], tmp_path / "set"
    compiler = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={set_file}"]
    subprocess.run([*compiler, "eson/processors/core/processor.proto"], cwd=root, check=True, timeout=60)
    (regenerated,) = descriptor_pb2.FileDescriptorSet.FromString(set_file.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(committed)
    regenerated.ClearField("source_code_info")
    # the runtime leaves JSON names out, the compiler writes them
    for message in regenerated.message_type:
        for one in (message, *message.nested_type):
            for field in one.field:
                field.ClearField("json_name")
    for message in committed.message_type:
        for one in (message, *message.nested_type):
            for field in one.field:
                field.ClearField("json_name")
    assert committed == regenerated


def test_the_nearest_domain_says_whom_to_ask() -> None:
    """A host below two domains is asked of the longer one's server; every other host of the resolver."""
    outer, inner, resolver = Server("192.0.2.1", 53), Server("192.0.2.2", 53), Server("192.0.2.3", 53)
    reach = Reach(resolver=resolver, resolve={"unix.ar": outer, "flows.unix.ar": inner})
    assert reach.name_server("kf1.unix.ar") is outer
    assert reach.name_server("KF1.flows.unix.ar.") is inner
    assert reach.name_server("notunix.ar") is resolver
    assert Reach().name_server("unix.ar") is None
