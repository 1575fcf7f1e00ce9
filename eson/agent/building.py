"""Puts the agent together from its ports."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from eson.agent import copies, flows, incoming, namespaces, processing, readers
from eson.agent.access import Access
from eson.agent.audit import Audit
from eson.agent.calls import Calls
from eson.agent.carriers import Carriers
from eson.agent.comparing import Comparing
from eson.agent.copies import Copies
from eson.agent.credentials import Credentials
from eson.agent.describing import Descriptions
from eson.agent.endings import Endings, Unsubscribing
from eson.agent.finding import Finding
from eson.agent.flows import Flows
from eson.agent.gaps import Gaps
from eson.agent.growth import Growth
from eson.agent.hosting import Hosting, Limits
from eson.agent.incoming import Incoming
from eson.agent.joining import Joining
from eson.agent.journals import KeptJournals
from eson.agent.leases import Lapses, Leases
from eson.agent.limiting import Limiting
from eson.agent.lineage import Lineages
from eson.agent.listing import Lists
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.agent.namespaces import Namespaces
from eson.agent.parts import Parts
from eson.agent.pausing import Pausing
from eson.agent.ports import Clock, Remotes, Scheduler
from eson.agent.processing import Processing
from eson.agent.readers import Readers
from eson.agent.reading import Reading
from eson.agent.reconciler import Finish, Reconciler
from eson.agent.room import Room
from eson.agent.service import Agent, UseCase
from eson.agent.sessions import Sessions
from eson.agent.statuses import Statuses
from eson.agent.streams import OpenStreams
from eson.agent.subscribers import Subscribers
from eson.agent.subscribing import Subscribing
from eson.agent.tasks import Tasks
from eson.agent.tellers import Tellers, Told
from eson.agent.writing import Writing
from eson.brokers.port import Broker
from eson.fnap.core import commands as c
from eson.names.port import Names
from eson.processors.port import KINDS, Processors
from eson.store.port import Store


@dataclass(frozen=True)
class _Ground:
    """What all use cases stand on: the ports, and what is made of them alone."""

    store: Store
    brokers: Mapping[str, Broker]
    names: Names
    processors: Processors
    hosting: Hosting
    limits: Limits
    sealing_key: bytes
    clock: Clock
    locks: Locks
    audit: Audit
    tasks: Tasks
    access: Access
    parts: Parts
    room: Room
    streams: OpenStreams
    lineages: Lineages
    journals: KeptJournals
    carriers: Carriers
    local_processors: LocalProcessors
    readers: Readers
    tellers: Tellers
    finding: Finding


@dataclass(frozen=True)
class _Owners:
    """Those of which each makes, changes and ends what is its own."""

    flows: Flows
    namespaces: Namespaces
    copies: Copies
    incoming: Incoming
    processing: Processing
    calls: Calls
    joining: Joining
    pausing: Pausing
    endings: Endings


@dataclass(frozen=True)
class _Watchers:
    """Those that hear of what happens elsewhere."""

    growth: Growth
    told: Told
    gaps: Gaps


def build_agent(
    *,
    store: Store,
    brokers: Mapping[str, Broker],
    names: Names,
    processors: Processors,
    remotes: Remotes,
    hosting: Hosting,
    limits: Limits,
    sealing_key: bytes,
    clock: Clock,
    scheduler: Scheduler,
    kinds: Collection[str] = KINDS,
) -> Agent:
    """The agent over its ports, all of them started before `Agent.start` and stopped after `Agent.stop`.

    `brokers` by their names in the configuration; `hosting` holds the configured namespaces (stored ones are added at
    start); `sealing_key`: 32 octets that encrypt credentials at rest; `scheduler`: the reactor; `kinds`: what processors
    can be.
    """
    tasks = Tasks(scheduler)
    ground = _ground(store, brokers, names, processors, remotes, hosting, limits, sealing_key, clock, tasks)
    owners = _owners(ground, remotes, kinds)
    watchers = _watchers(ground, owners)
    comparing = _comparing(ground, owners)
    reconciler = _reconciler(ground, owners, watchers, comparing, scheduler)

    async def prepare() -> None:
        stored = await store.namespaces()
        # what the file says wins
        hosting.keep(one for one in stored if not one.configured and hosting.find(one.name) is None)
        await comparing.names()

    return Agent(
        _use_cases(ground, owners, watchers),
        Reading(ground.access, ground.parts, ground.streams),
        Writing(ground.access, ground.parts, ground.streams, tasks, clock, limits),
        reconciler,
        tasks,
        watchers.gaps,
        prepare,
    )


def _ground(
    store: Store,
    brokers: Mapping[str, Broker],
    names: Names,
    processors: Processors,
    remotes: Remotes,
    hosting: Hosting,
    limits: Limits,
    sealing_key: bytes,
    clock: Clock,
    tasks: Tasks,
) -> _Ground:
    locks, audit = Locks(), Audit(clock)
    access = Access(store, hosting)
    parts = Parts(brokers, names)
    journals = KeptJournals(processors, store)
    return _Ground(
        store=store,
        brokers=brokers,
        names=names,
        processors=processors,
        hosting=hosting,
        limits=limits,
        sealing_key=sealing_key,
        clock=clock,
        locks=locks,
        audit=audit,
        tasks=tasks,
        access=access,
        parts=parts,
        room=Room(store, parts, audit),
        streams=OpenStreams(access),
        lineages=Lineages(store),
        journals=journals,
        carriers=Carriers(store, hosting, access, parts, journals, sealing_key),
        local_processors=LocalProcessors(store, access, parts, journals, locks, audit, clock),
        readers=Readers(store, parts),
        tellers=Tellers(remotes, tasks),
        finding=Finding(store, access),
    )


def _owners(on: _Ground, remotes: Remotes, kinds: Collection[str]) -> _Owners:
    """From the provider's side of a subscription to the subscriber's, and to what stands on both."""
    store, hosting, access, parts, room = on.store, on.hosting, on.access, on.parts, on.room
    carriers, local_processors = on.carriers, on.local_processors
    locks, audit, tasks, clock, limits = on.locks, on.audit, on.tasks, on.clock, on.limits

    copies = Copies(
        store, hosting, parts, room, carriers, on.tellers, on.readers, on.streams, locks, audit, clock, limits
    )
    endings = Endings(store, copies, locks)
    limiting = Limiting(store, carriers, local_processors)
    flows = Flows(
        store, hosting, access, parts, room, endings, limiting, on.streams, locks, audit, clock, limits
    )
    namespaces = Namespaces(store, hosting, access, parts, on.names, flows, locks, audit, clock)
    sessions = Sessions(store, hosting, copies, on.lineages, remotes)
    calls = Calls(store, sessions, locks, audit, tasks, clock, limits)
    incoming = Incoming(
        store, hosting, room, flows, carriers, on.lineages, sessions, calls, locks, audit, clock
    )
    joining = Joining(
        store, incoming, sessions, calls, on.lineages, room, locks, tasks, clock, limits, on.sealing_key
    )
    processing = Processing(
        store,
        hosting,
        access,
        parts,
        room,
        flows,
        on.lineages,
        joining,
        endings,
        local_processors,
        locks,
        audit,
        clock,
        limits,
        kinds,
    )
    # a flow that is deleted ends what was made after it
    endings.incoming, endings.processing = incoming, processing
    pausing = Pausing(store, on.finding, carriers, local_processors, on.tellers, locks, audit, clock)
    return _Owners(flows, namespaces, copies, incoming, processing, calls, joining, pausing, endings)


def _watchers(on: _Ground, owners: _Owners) -> _Watchers:
    """Listens to the processors, and to other agents' NOTIFY."""
    gaps = Gaps(on.store, on.audit)
    growth = Growth(on.store, owners.flows, on.carriers, owners.incoming, owners.processing, on.tasks)
    statuses = Statuses(
        on.store,
        on.carriers,
        on.local_processors,
        on.journals,
        gaps,
        growth,
        owners.incoming,
        on.tellers,
        on.locks,
        on.tasks,
        on.clock,
    )
    on.processors.listen(statuses.changed)
    told = Told(on.store, on.tasks, owners.incoming.check)
    on.tellers.notified = told.soon
    return _Watchers(growth, told, gaps)


def _comparing(on: _Ground, owners: _Owners) -> Comparing:
    return Comparing(
        on.store,
        on.hosting,
        on.parts,
        on.names,
        owners.copies,
        on.readers,
        on.carriers,
        on.local_processors,
        owners.pausing,
        on.locks,
        on.tasks,
    )


def _reconciler(
    on: _Ground, owners: _Owners, watchers: _Watchers, comparing: Comparing, scheduler: Scheduler
) -> Reconciler:
    """Told whenever an owner leaves something."""
    reconciler = Reconciler(
        on.store,
        on.hosting,
        owners.incoming,
        owners.calls,
        comparing,
        owners.processing,
        watchers.growth,
        on.local_processors,
        Lapses(on.store, owners.copies, on.clock, scheduler, on.limits),
        _finish(owners),
        on.locks,
        on.tasks,
        on.clock,
        scheduler,
        on.limits,
    )
    owners.joining.left = owners.incoming.left = owners.copies.left = reconciler.soon
    return reconciler


def _finish(owners: _Owners) -> Mapping[str, Finish]:
    """For each kind of intention, what finishes it or takes it back."""
    return {
        flows.CREATE: owners.flows.undo_create,
        flows.UPDATE: owners.flows.settle_update,
        flows.DELETE: owners.flows.finish_delete,
        namespaces.CREATE: owners.namespaces.settle,
        namespaces.DELETE: owners.namespaces.settle,
        copies.MAKE: owners.copies.undo,
        copies.APPROVE: owners.copies.undo,
        readers.END: owners.copies.finish_end,
        incoming.END: owners.incoming.finish_end,
        processing.END: owners.processing.finish_end,
    }


def _use_cases(on: _Ground, owners: _Owners, watchers: _Watchers) -> Mapping[type[Any], UseCase]:
    """What each command does."""
    store, hosting, access, parts = on.store, on.hosting, on.access, on.parts
    carriers, local_processors = on.carriers, on.local_processors
    locks, clock, limits = on.locks, on.clock, on.limits
    flows, namespaces, copies, processing = owners.flows, owners.namespaces, owners.copies, owners.processing

    leases = Leases(store, locks, clock, limits)
    descriptions = Descriptions(
        store, hosting, access, parts, on.brokers, on.names, carriers, local_processors, on.lineages, leases
    )
    lists = Lists(store, hosting, access, on.brokers, on.names, carriers, local_processors, limits)
    credentials = Credentials(store, hosting, access, parts, locks, on.audit, clock, limits)
    subscribing = Subscribing(hosting, access, flows, copies, owners.joining)
    unsubscribing = Unsubscribing(on.finding, copies, owners.endings, local_processors, processing)
    subscribers = Subscribers(store, access, on.finding, copies)
    return {
        c.CreateFlow: flows.create,
        c.UpdateFlow: flows.update,
        c.DeleteFlow: flows.delete,
        c.CreateNamespace: namespaces.create,
        c.UpdateNamespace: namespaces.update,
        c.DeleteNamespace: namespaces.delete,
        c.Describe: descriptions.describe,
        c.GetNamespaces: lists.namespaces,
        c.GetFlows: lists.flows,
        c.GetSubscriptions: lists.subscriptions,
        c.GetSubscribers: lists.subscribers,
        c.GetItems: lists.items,
        c.GetCredential: credentials.get,
        c.Subscribe: subscribing.subscribe,
        c.Unsubscribe: unsubscribing.unsubscribe,
        c.ChangeSubscriber: subscribers.change,
        c.ChangeSubscription: owners.pausing.change,
        c.Notify: watchers.told.notify,
        c.Replicate: processing.replicate,
        c.Collect: processing.collect,
        c.Distribute: processing.distribute,
        c.Signal: processing.signal,
    }
