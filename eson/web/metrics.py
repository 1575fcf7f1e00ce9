"""Metrics in Prometheus' text format, and health.

`GET /metrics` shows what processors say of their progress, never what "the process runs" would suggest; `GET /health` is
200 while nothing fails, 503 with the names of what does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from eson.processors.port import STATES, Processors, ProcessorStatus


@dataclass(frozen=True)
class Observed:
    """What is shown; each part is asked anew for every request.

    `missing`: records that a processor's sources lost, by its id, None while none was seen: not what the process remembers,
    which is less after a start and after many gaps; `sessions`: open FNAP sessions; `outcomes`: how ended sessions ended;
    `queries`: answered DNS queries by transport; `failing`: names of parts that do not work, such as a broker that cannot
    be reached, or the store that cannot be written.
    """

    processors: Processors
    missing: Callable[[str], int | None]
    sessions: Callable[[], int]
    outcomes: Callable[[], Mapping[str, int]]
    queries: Callable[[], Mapping[str, int]]
    failing: Callable[[], Sequence[str]]


class _Observations(Collector):
    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterable[Metric]:
        statuses = list(_statuses(self._observed.processors))
        yield from _of_processors(statuses, self._observed.missing)
        yield GaugeMetricFamily("eson_sessions", "Open FNAP sessions.", value=self._observed.sessions())
        yield _counted(
            "eson_sessions_ended", "FNAP sessions by how they ended.", "outcome", self._observed.outcomes()
        )
        yield _counted(
            "eson_names_answers", "Answered DNS queries by transport.", "transport", self._observed.queries()
        )


def _statuses(processors: Processors) -> Iterator[ProcessorStatus]:
    for id in processors.ids():
        status = processors.status(id)
        if status is not None:
            yield status


def _of_processors(
    statuses: Sequence[ProcessorStatus], missing: Callable[[str], int | None]
) -> Iterator[Metric]:
    states = GaugeMetricFamily("eson_processors", "Processors by state.", labels=["state"])
    counted: Counter[str] = Counter(status.state for status in statuses)
    for state in STATES:
        states.add_metric([state], counted[state])
    yield states
    state_of = GaugeMetricFamily(
        "eson_processor_state",
        "1 for the state that it is in, else 0.",
        labels=["processor", "kind", "state"],
    )
    lag = GaugeMetricFamily(
        "eson_processor_lag_records", "Records not yet carried.", labels=["processor", "kind"]
    )
    rate = GaugeMetricFamily(
        "eson_processor_records_per_second",
        "Records carried in a second, lately.",
        labels=["processor", "kind"],
    )
    last = GaugeMetricFamily(
        "eson_processor_last_event_timestamp_seconds",
        "Time of the last event carried.",
        labels=["processor", "kind"],
    )
    restarts = CounterMetricFamily(
        "eson_processor_restarts", "How often the processor was started again.", labels=["processor", "kind"]
    )
    gaps = CounterMetricFamily(
        "eson_processor_missing_records", "Records that the source had lost.", labels=["processor", "kind"]
    )
    for status in statuses:
        labels = [status.id, status.kind]
        for state in STATES:
            state_of.add_metric([*labels, state], status.state == state)
        if status.lag is not None:
            lag.add_metric(labels, status.lag)
        if status.rate is not None:
            rate.add_metric(labels, status.rate)
        if status.last_event is not None:
            last.add_metric(labels, status.last_event.timestamp())
        restarts.add_metric(labels, status.restarts)
        lost = missing(status.id)
        if lost is None and status.lag is not None and not status.gaps:
            lost = 0  # whoever tells its lag tells all gaps that it knows
        if lost is not None:
            gaps.add_metric(labels, lost)
    yield from (state_of, lag, rate, last, restarts, gaps)


def _counted(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key in sorted(values):
        family.add_metric([key], values[key])
    return family


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, observed: Observed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(_Observations(observed))

    def render_GET(self, request: Request) -> bytes:
        request.setHeader("content-type", CONTENT_TYPE_LATEST)
        return generate_latest(self._registry)


class _Health(Resource):
    isLeaf = True

    def __init__(self, observed: Observed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._observed = observed

    def render_GET(self, request: Request) -> bytes:
        failing = sorted(
            {
                *self._observed.failing(),
                *(
                    f"processor {one.id}"
                    for one in _statuses(self._observed.processors)
                    if one.state == "failing"
                ),
            }
        )
        request.setHeader("content-type", "application/json")
        request.setResponseCode(503 if failing else 200)
        return json.dumps({"healthy": not failing, "failing": failing}).encode() + b"\n"


def metrics_site(observed: Observed) -> Site:
    """The site with both pages; nothing else is there."""
    root = Resource()
    root.putChild(b"metrics", _Metrics(observed))  # type: ignore[arg-type]  # zope interfaces
    root.putChild(b"health", _Health(observed))  # type: ignore[arg-type]  # as above
    return Site(root)
