"""Puts the agent together from its ports."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eson.agent import copies, flows, incoming, namespaces, processing
from eson.agent import readers as readers_of_copies
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
from eson.agent.reconciler import Reconciler
from eson.agent.room import Room
from eson.agent.service import Agent
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
    locks, audit, tasks = Locks(), Audit(clock), Tasks(scheduler)
    access = Access(store, hosting)
    parts = Parts(brokers, names)
    room = Room(store, parts, audit)
    streams = OpenStreams(access)
    lineages = Lineages(store)
    journals = KeptJournals(processors, store)
    carriers = Carriers(store, hosting, access, parts, journals, sealing_key)
    readers = Readers(store, parts)
    tellers = Tellers(remotes, tasks)
    provided = Copies(
        store, hosting, parts, room, carriers, tellers, readers, streams, locks, audit, clock, limits
    )
    sessions = Sessions(store, hosting, provided, lineages, remotes)
    calls = Calls(store, sessions, locks, audit, tasks, clock, limits)
    endings = Endings(store, provided, locks)
    local_processors = LocalProcessors(store, access, parts, journals, locks, audit, clock)
    limiting = Limiting(store, carriers, local_processors)
    own_flows = Flows(
        store, hosting, access, parts, room, endings, limiting, streams, locks, audit, clock, limits
    )
    own_namespaces = Namespaces(store, hosting, access, parts, names, own_flows, locks, audit, clock)
    received = Incoming(
        store, hosting, room, own_flows, carriers, lineages, sessions, calls, locks, audit, clock
    )
    endings.incoming = received
    joining = Joining(
        store, received, sessions, calls, lineages, room, locks, tasks, clock, limits, sealing_key
    )
    finding = Finding(store, access)
    between = Processing(
        store,
        hosting,
        access,
        parts,
        room,
        own_flows,
        lineages,
        joining,
        endings,
        local_processors,
        locks,
        audit,
        clock,
        limits,
        kinds,
    )
    endings.processing = between
    pausing = Pausing(store, finding, carriers, local_processors, tellers, locks, audit, clock)
    gaps = Gaps(store, audit)
    growth = Growth(store, own_flows, carriers, received, between, tasks)
    statuses = Statuses(
        store, carriers, local_processors, journals, gaps, growth, received, tellers, locks, tasks, clock
    )
    processors.listen(statuses.changed)
    told = Told(store, tasks, received.check)
    tellers.notified = told.soon
    lists = Lists(store, hosting, access, brokers, names, carriers, local_processors, limits)
    descriptions = Descriptions(
        store,
        hosting,
        access,
        parts,
        brokers,
        names,
        carriers,
        local_processors,
        lineages,
        Leases(store, locks, clock, limits),
    )
    comparing = Comparing(
        store, hosting, parts, names, provided, readers, carriers, local_processors, pausing, locks, tasks
    )
    reconciler = Reconciler(
        store,
        hosting,
        received,
        calls,
        comparing,
        between,
        growth,
        local_processors,
        Lapses(store, provided, clock, scheduler, limits),
        {
            flows.CREATE: own_flows.undo_create,
            flows.UPDATE: own_flows.settle_update,
            flows.DELETE: own_flows.finish_delete,
            namespaces.CREATE: own_namespaces.settle,
            namespaces.DELETE: own_namespaces.settle,
            copies.MAKE: provided.undo,
            copies.APPROVE: provided.undo,
            readers_of_copies.END: provided.finish_end,
            incoming.END: received.finish_end,
            processing.END: between.finish_end,
        },
        locks,
        tasks,
        clock,
        scheduler,
        limits,
    )
    joining.left = received.left = provided.left = reconciler.soon

    async def prepare() -> None:
        stored = await store.namespaces()
        # what the file says wins
        hosting.keep(one for one in stored if not one.configured and hosting.find(one.name) is None)
        await comparing.names()

    return Agent(
        {
            c.CreateFlow: own_flows.create,
            c.UpdateFlow: own_flows.update,
            c.DeleteFlow: own_flows.delete,
            c.CreateNamespace: own_namespaces.create,
            c.UpdateNamespace: own_namespaces.update,
            c.DeleteNamespace: own_namespaces.delete,
            c.Describe: descriptions.describe,
            c.GetNamespaces: lists.namespaces,
            c.GetFlows: lists.flows,
            c.GetSubscriptions: lists.subscriptions,
            c.GetSubscribers: lists.subscribers,
            c.GetItems: lists.items,
            c.GetCredential: Credentials(store, hosting, access, parts, locks, audit, clock, limits).get,
            c.Subscribe: Subscribing(hosting, access, own_flows, provided, joining).subscribe,
            c.Unsubscribe: Unsubscribing(finding, provided, endings, local_processors, between).unsubscribe,
            c.ChangeSubscriber: Subscribers(store, access, finding, provided).change,
            c.ChangeSubscription: pausing.change,
            c.Notify: told.notify,
            c.Replicate: between.replicate,
            c.Collect: between.collect,
            c.Distribute: between.distribute,
            c.Signal: between.signal,
        },
        Reading(access, parts, streams),
        Writing(access, parts, streams, tasks, clock, limits),
        reconciler,
        tasks,
        gaps,
        prepare,
    )
