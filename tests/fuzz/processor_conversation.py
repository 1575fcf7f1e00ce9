"""Target: what supervisor and processor say to each other, read by either.

Input: an octet that says how it is cut into pieces, then the stream.
"""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import DecodeError

from eson.brokers.port import Access
from eson.model.rates import RateLimit
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.framing import MAX_FRAME, FrameError, FrameReader, frame
from eson.processors.core.messages import OrderError, create_message, read_create, read_reach
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd, ProcessorOrder


def seeds() -> dict[str, bytes]:
    access = Access(
        (Server("kf1.unix.ar", 9092), Server("::1", 9092)), "sasl_ssl", "SCRAM-SHA-256", "u", "p", "PEM"
    )
    source, copy = (
        ProcessorEnd(access, "source", "time.flows.unix.ar", True),
        ProcessorEnd(access, "copy", "c", limit=RateLimit(100, 1000)),
    )
    order = ProcessorOrder("p-1", "bridge", (source,), (copy,), {0: 7, 1: 9})
    reach = Reach(
        AddressPolicy.of(["10.0.0.0/8"], ["192.0.2.1"], ["fnaa.unix.ar"], ["unix.ar"]),
        Server("127.0.0.1", 53),
        {"unix.ar": Server("127.0.0.2", 53)},
    )
    orders = {
        "hello": pb.Order(id=1, hello=pb.Hello(version=1)),
        "create": pb.Order(id=2, create=create_message(order, "/journal", reach)),
        "update": pb.Order(id=3, update=pb.Update(create=create_message(replace(order, start="now"), "/j"))),
        "collector": pb.Order(
            create=create_message(
                replace(order, kind="collector", sources=(source, source), start="beginning"), "/journal"
            )
        ),
        "signal": pb.Order(create=create_message(replace(order, kind="signal", when="type = 'a'"), "/j")),
        "pause": pb.Order(id=4, pause=pb.Named(processor="p-1")),
        "destroy": pb.Order(id=5, destroy=pb.Named(processor="p-1")),
    }
    progress = pb.Progress(processor="p-1", records=9, rate=1.5, last_event=-1)
    progress.positions.add(source=0, partition=1, offset=3, end=4)
    progress.gaps.add(source=0, partition=1, first=3, last=4)
    reports = {
        "answer": pb.Report(answer=pb.Answer(id=1, error="no")),
        "ready": pb.Report(ready=pb.Ready(processor="p-1", guarantee="exactly-once")),
        "progress": pb.Report(progress=progress),
        "unreachable": pb.Report(unreachable=pb.Unreachable(processor="p-1", since=1, reason="it is far")),
        "failure": pb.Report(error=pb.Failure(processor="p-1", reason="it fails", stopped=True)),
    }
    framed = {
        name: bytes([number % 4]) + frame(message.SerializeToString())
        for number, (name, message) in enumerate((orders | reports).items())
    }
    framed["conversation"] = b"\1" + b"".join(one[1:] for one in framed.values())
    framed["too-long"] = b"\0" + (MAX_FRAME + 1).to_bytes(4, "big") + b"more"
    return framed


def one_input(octets: bytes) -> None:
    reader, step = FrameReader(), (1, 3, 64, 4096)[octets[0] & 3] if octets else 1
    payloads: list[bytes] = []
    try:
        for at in range(1, len(octets), step):
            payloads += reader.feed(octets[at : at + step])
    except FrameError:
        pass
    assert sum(map(len, payloads)) <= len(octets)
    for payload in payloads:
        _order(payload)
        _report(payload)


def _order(payload: bytes) -> None:
    try:
        order = pb.Order.FromString(payload)
    except DecodeError:
        return
    for message in (order.create, order.update.create):
        try:
            read, reach = read_create(message), read_reach(message)
        except OrderError:
            continue
        again = create_message(read, message.journal, reach, message.paused)
        assert read_create(again) == read
        assert read_reach(again) == reach


def _report(payload: bytes) -> None:
    try:
        report = pb.Report.FromString(payload)
    except DecodeError:
        return
    kind = report.WhichOneof("report")
    if kind is not None and kind != "answer":
        assert isinstance(getattr(report, kind).processor, str)
