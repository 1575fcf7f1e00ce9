"""CREATE, DESCRIBE, UPDATE and DELETE of flows and namespaces, and who sees what."""

from __future__ import annotations

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent

from eson.agent.hosting import Limits
from eson.model.principals import ANONYMOUS, Caller, user
from eson.model.subscriptions import Side

ANYBODY = Caller(ANONYMOUS)
OPERATOR = Caller(user("root"), account="root", operator=True)
F = "time.flows.unix.ar"


def test_the_drafts_description_has_four_lines() -> None:
    """A flow on a broker without TLS and login, with nothing set, is described by the draft's lines and nothing else."""
    world = World()
    assert world.say(TEST, f"CREATE FLOW flow://{F.upper()}.") == f"220 OK {F}"
    assert world.say(TEST, f"DESC FLOW {F}") == (
        f"220 DATA\nflow={F}\ntype=kafka\ntopic={F}\nserver=kf1.unix.ar:9092\n220 OK"
    )
    assert F in world.unix.broker.queues
    assert world.unix.names.flows[F].queue == F


def test_what_somebody_set_is_shown_in_order() -> None:
    world = World()
    said = 'visibility=public retention=7d,1GiB description="Each second" partitions=3 mode=structured limit=9/S,8b/s'
    assert world.say(TEST, f"CREATE FLOW {F} {said}") == f"220 OK {F}"
    assert world.say(BOB, f"DESCRIBE FLOW {F}").split("\n")[5:] == [
        "visibility=public",
        'description="Each second"',
        "partitions=3",
        "retention=7d,1GiB",
        "mode=structured",
        "limit=9/s,8B/s",
        "220 OK",
    ]
    queue = world.unix.broker.queues[F].settings
    assert (queue.partitions, queue.retention_ms, queue.retention_bytes) == (3, 604_800_000, 1 << 30)


def test_json_has_every_key() -> None:
    world = World()
    world.flow(F)
    reply = world.say(TEST, f"DESCRIBE FLOW {F}", as_json=True)
    assert reply == (
        f'220 DATA\n{{"flow":"{F}","type":"kafka","topic":"{F}","server":["kf1.unix.ar:9092"],"agent":"fnaa.unix.ar",'
        '"namespace":"flows.unix.ar","owner":"user:test","visibility":"listed","partitions":1,"mode":"binary",'
        '"guarantee":"exactly-once","created":"2026-11-25T12:00:00.000Z"}\n220 OK'
    )


@pytest.mark.parametrize(
    "line, reply",
    [
        (f"CREATE FLOW {F}", f"554 Conflict: {F} exists"),
        (f"CREATE FLOW tick.{F}", f"553 Name not allowed: tick.{F} lies directly below the flow {F}"),
        ("CREATE FLOW a.b.flows.unix.ar", "220 OK a.b.flows.unix.ar"),
        ("CREATE FLOW x.flows.elsewhere.ar", "551 Not hosted here: x.flows.elsewhere.ar"),
        ("CREATE FLOW flows.unix.ar", "551 Not hosted here: flows.unix.ar"),
        (
            "CREATE FLOW y.flows.unix.ar colour=red",
            "501 Usage: keys are visibility, description, partitions, retention, mode, limit, topic",
        ),
        ("CREATE FLOW y.flows.unix.ar partitions=0", "501 Usage: partitions=1 to 1000"),
        ("CREATE FLOW y.flows.unix.ar mode=loud", "504 mode is binary or structured"),
        (
            "CREATE FLOW y.flows.unix.ar topic=a/b",
            "501 Usage: topic=NAME of 1 to 249 letters, digits, dots, _ and -",
        ),
        ("CREATE FLOW y.flows.unix.ar topic=orders", "557 Not allowed: administer on local"),
        (f"UPDATE FLOW {F} topic=orders", "504 a flow keeps its topic"),
        ("DELETE FLOW none.flows.unix.ar", "550 No such flow: none.flows.unix.ar"),
    ],
)
def test_refusals_say_why(line: str, reply: str) -> None:
    world = World()
    world.flow(F)
    assert world.say(TEST, line) == reply


def test_nobody_creates_a_flow_directly_above_a_flow() -> None:
    world = World()
    world.flow("a.b.flows.unix.ar")
    assert world.say(TEST, "CREATE FLOW b.flows.unix.ar") == (
        "553 Name not allowed: b.flows.unix.ar lies directly above the flow a.b.flows.unix.ar"
    )


def test_a_strangers_create_is_refused_before_existence_is_looked_at() -> None:
    world = World()
    world.flow(f"{F} visibility=private")
    for name in (F, "none.flows.unix.ar"):
        assert world.say(BOB, f"CREATE FLOW {name}") == "557 Not allowed: administer on flows.unix.ar"
        assert world.say(ANYBODY, f"CREATE FLOW {name}") == "557 Not allowed: administer on flows.unix.ar"


@pytest.mark.parametrize(
    "line",
    [
        "DESCRIBE FLOW {}", "UPDATE FLOW {} visibility=public", "DELETE FLOW {} FORCE", "SUBSCRIBE {}",
        "GET SUBSCRIBERS {}", "GET CREDENTIAL {}", "APPROVE SUBSCRIBER {} user:bob", "SUBSCRIBE {} LOCAL x.flows.unix.ar",
    ],
)  # fmt: skip
def test_a_hidden_flow_and_a_missing_one_look_alike(line: str) -> None:
    world = World()
    world.flow(f"{F} visibility=private")
    for caller in (BOB, ANYBODY):
        hidden = world.say(caller, line.format(F))
        missing = world.say(caller, line.format("none.flows.unix.ar"))
        assert hidden == missing.replace("none.flows.unix.ar", F) == f"550 No such flow: {F}"


def test_a_hidden_subscription_and_a_missing_one_look_alike() -> None:
    world = World()
    copy = world.subscribed()
    missing = f"aaaaaaa.{F}"
    for line in ("UNSUBSCRIBE {}", "PAUSE SUBSCRIPTION {}", "REMOVE SUBSCRIBER {}", "DENY SUBSCRIBER {}"):
        hidden = world.say(BOB, line.format(copy))
        assert hidden == world.say(BOB, line.format(missing)).replace(missing, copy)
        assert hidden == f"550 No such subscription: {copy}"
    assert world.say(BOB, f"DESCRIBE FLOW {copy}") == f"550 No such flow: {copy}"
    assert world.say(BOB, f"DESCRIBE PROCESSOR {copy}") == f"550 No such processor: {copy}"


def test_private_flows_have_no_records_and_are_in_nobodys_list() -> None:
    world = World()
    world.flow(f"{F} visibility=private")
    assert world.unix.names.published() == []
    assert world.say(BOB, "GET FLOWS") == "220 DATA\n220 OK"
    assert world.say(TEST, "GET FLOWS") == f"220 DATA\nflow={F}\n220 OK"
    assert "\nflows=0\n" in world.say(BOB, "DESCRIBE NAMESPACE flows.unix.ar")
    assert "\nflows=1\n" in world.say(TEST, "DESCRIBE NAMESPACE flows.unix.ar")
    assert world.say(TEST, f"UPDATE FLOW {F} visibility=listed") == f"220 OK {F}"
    assert world.unix.names.published() == [F]
    assert world.say(BOB, "GET FLOWS") == f"220 DATA\nflow={F}\n220 OK"


def test_a_copy_of_a_private_flow_has_no_records() -> None:
    """Its name would tell the flow's."""
    world = World()
    world.flow(f"{F} visibility=private")
    copy = world.say(TEST, f"SUBSCRIBE {F}").split()[2]
    assert world.unix.names.published() == []
    world.say(TEST, f"UPDATE FLOW {F} visibility=listed")
    assert world.unix.names.published() == sorted([F, copy])


def test_copies_follow_the_partitions_of_their_flow() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(TEST, f"UPDATE FLOW {F} partitions=5") == f"220 OK {F}"
    assert world.unix.broker.queues[copy].settings.partitions == 5
    world.settle(300)
    assert world.emiliano.broker.queues["time.flows.emiliano.ar"].settings.partitions == 5
    assert (
        world.say(TEST, f"UPDATE FLOW {F} partitions=2")
        == "504 a flow cannot have fewer partitions than it has"
    )


def test_a_queue_that_was_there_before_is_taken_as_it_is_and_kept_when_the_rest_fails() -> None:
    world = World()
    run(world.unix.broker.create_queue(F, 7))
    assert world.say(TEST, f"CREATE FLOW {F}") == f"220 OK {F}"
    assert run(world.unix.store.flow(F)).partitions == 7
    run(world.unix.broker.create_queue("old.flows.unix.ar", 3))
    assert world.say(TEST, "CREATE FLOW old.flows.unix.ar partitions=9").startswith("554 Conflict")
    assert world.unix.broker.queues["old.flows.unix.ar"].settings.partitions == 3


def test_a_queue_that_was_there_before_outlives_its_flow() -> None:
    world = World()
    run(world.unix.broker.create_queue(F, 3, retention_ms=-1))
    assert world.say(TEST, f"CREATE FLOW {F}") == f"220 OK {F}"
    assert world.say(TEST, f"UPDATE FLOW {F} description=old") == f"220 OK {F}"
    assert world.say(TEST, f"DELETE FLOW {F}") == f"220 OK {F}"
    queue = world.unix.broker.queues[F].settings
    assert (queue.partitions, queue.retention_ms) == (3, -1), "kept as it was"
    assert F not in world.unix.names.flows
    assert world.say(TEST, f"CREATE FLOW {F} retention=2d") == f"220 OK {F}"
    assert world.unix.broker.queues[F].settings.retention_ms == 172_800_000, "what somebody says is done"
    world.flow("new.flows.unix.ar")
    assert world.say(TEST, "DELETE FLOW new.flows.unix.ar") == "220 OK new.flows.unix.ar"
    assert "new.flows.unix.ar" not in world.unix.broker.queues, "one that we made goes with its flow"


def test_an_operator_gives_a_queue_of_any_name_the_name_of_a_flow() -> None:
    world = World()
    run(world.unix.broker.create_queue("orders", 2))
    assert world.say(OPERATOR, f"CREATE FLOW {F} topic=orders") == f"220 OK {F}"
    assert world.say(TEST, f"DESCRIBE FLOW {F}").split("\n")[3] == "topic=orders"
    assert world.unix.names.flows[F].queue == "orders"
    assert F not in world.unix.broker.queues
    assert world.say(OPERATOR, f"DELETE FLOW {F}") == f"220 OK {F}"
    assert list(world.unix.broker.queues) == ["orders"]


@pytest.mark.parametrize(
    "topic, reply",
    [
        ("orders", f"554 Conflict: orders is the queue of {F}"),
        ("none", "550 No such queue: none"),
        ("__consumer_offsets", "553 Name not allowed: __consumer_offsets is the broker's own"),
        (F, f"553 Name not allowed: {F} is the queue of the flow of that name"),
    ],
)
def test_a_queue_has_one_flow(topic: str, reply: str) -> None:
    world = World()
    run(world.unix.broker.create_queue("orders", 2))
    assert world.say(OPERATOR, f"CREATE FLOW {F} topic=orders") == f"220 OK {F}"
    assert world.say(OPERATOR, f"CREATE FLOW other.flows.unix.ar topic={topic}") == reply


def test_delete_refuses_while_there_are_subscribers_and_force_ends_them() -> None:
    world = World()
    copy = world.subscribed()
    assert (
        world.say(TEST, f"DELETE FLOW {F}") == f"554 Conflict: {F} has subscribers: 1; FORCE ends them first"
    )
    assert world.say(TEST, f"DELETE FLOW {F} FORCE") == f"220 OK {F}"
    assert not world.unix.broker.queues
    world.settle(1)
    ended = run(world.emiliano.store.subscription(Side.SUBSCRIBER, copy))
    assert (ended.state.value, ended.reason) == ("ended", "flow-deleted")
    assert "time.flows.emiliano.ar" in world.emiliano.broker.queues


def test_a_broker_that_is_down_changes_nothing() -> None:
    world = World()
    world.flow(F)
    world.unix.broker.down = True
    for line in (
        f"DELETE FLOW {F}",
        "CREATE FLOW new.flows.unix.ar",
        f"SUBSCRIBE {F}",
        f"UPDATE FLOW {F} retention=1d",
    ):
        assert world.say(TEST, line).startswith("451 ")
    world.unix.broker.down = False
    world.settle(180)
    assert world.say(TEST, "GET FLOWS") == f"220 DATA\nflow={F}\n220 OK"
    assert list(world.unix.broker.queues) == [F]
    assert run(world.unix.store.intentions()) == []
    assert world.say(TEST, f"DESCRIBE FLOW {F}").count("\n") == 5


def test_flows_per_account() -> None:
    world = World(Limits(flows_per_account=2))
    for name in ("a", "b"):
        world.flow(f"{name}.flows.unix.ar")
    assert world.say(TEST, "CREATE FLOW c.flows.unix.ar") == "452 Limit reached: flows per account"
    assert world.say(OPERATOR, "CREATE FLOW c.flows.unix.ar") == "220 OK c.flows.unix.ar"
    world.say(TEST, "DELETE FLOW a.flows.unix.ar")
    assert world.say(TEST, "CREATE FLOW d.flows.unix.ar") == "220 OK d.flows.unix.ar"


def test_create_asks_the_store_for_single_things_only() -> None:
    """Its time does not grow with the number of flows."""
    world = World()
    for number in range(20):
        world.flow(f"f{number}.flows.unix.ar")
    asked: list[str] = []
    store = world.unix.store

    class Watched:
        def __getattr__(self, name: str) -> object:
            if name not in ("_tables",):
                asked.append(name)
            return getattr(store, name)

    world.unix.store = Watched()
    agent = start_agent(world.unix, world.network)
    asked.clear()
    assert world.say(TEST, "CREATE FLOW one-more.flows.unix.ar", agent).startswith("220")
    assert set(asked) <= {"flow", "flow_directly_below", "count_flows", "intention", "apply"}
    assert len(asked) <= 8


def test_a_page_of_flows() -> None:
    world = World()
    for name in ("a", "b", "c", "d"):
        world.flow(f"{name}.flows.unix.ar")
    assert world.say(BOB, "GET FLOWS flows.unix.ar AFTER a.flows.unix.ar LIMIT 2") == (
        "220 DATA\nflow=b.flows.unix.ar\nflow=c.flows.unix.ar\n220 OK"
    )


def test_namespaces() -> None:
    world = World()
    assert (
        world.say(BOB, "CREATE NAMESPACE deep.flows.unix.ar")
        == "557 Not allowed: administer on flows.unix.ar"
    )
    assert (
        world.say(TEST, "CREATE NAMESPACE deep.flows.unix.ar visibility=public")
        == "220 OK deep.flows.unix.ar"
    )
    assert "deep.flows.unix.ar" in world.unix.names.namespaces
    assert (
        world.say(TEST, "GET NS") == "220 DATA\nnamespace=deep.flows.unix.ar\nnamespace=flows.unix.ar\n220 OK"
    )
    world.flow("x.deep.flows.unix.ar")
    assert run(world.unix.store.flow("x.deep.flows.unix.ar")).namespace == "deep.flows.unix.ar"
    assert world.say(TEST, "DESCRIBE NAMESPACE deep.flows.unix.ar") == (
        "220 DATA\nnamespace=deep.flows.unix.ar\nbroker=local\ncopies=local\npublic=embedded\nagent=fnaa.unix.ar\n"
        "flows=1\n220 OK"
    )
    assert world.say(TEST, "DELETE NAMESPACE deep.flows.unix.ar") == (
        "554 Conflict: deep.flows.unix.ar is not empty: x.deep.flows.unix.ar; FORCE deletes its flows first"
    )
    world.say(TEST, "CREATE NAMESPACE more.deep.flows.unix.ar")
    assert world.say(TEST, "DELETE NAMESPACE deep.flows.unix.ar FORCE") == (
        "554 Conflict: deep.flows.unix.ar has namespaces: more.deep.flows.unix.ar; delete those first"
    )
    assert world.say(TEST, "DELETE NAMESPACE more.deep.flows.unix.ar") == "220 OK more.deep.flows.unix.ar"
    assert world.say(TEST, "DELETE NAMESPACE flows.unix.ar").startswith("504 ")
    assert world.say(TEST, "DELETE NAMESPACE deep.flows.unix.ar FORCE") == "220 OK deep.flows.unix.ar"
    assert world.unix.broker.queues == {}
    assert "deep.flows.unix.ar" not in world.unix.names.namespaces


def test_namespaces_made_by_command_are_there_after_a_restart() -> None:
    world = World()
    world.say(TEST, "CREATE NAMESPACE deep.flows.unix.ar")
    world.flow("x.deep.flows.unix.ar")
    run(world.provider.stop())
    world.unix.names.namespaces.clear()
    world.unix.names.flows.clear()
    world.provider = start_agent(world.unix, world.network)
    run(world.provider.start())
    assert world.unix.names.namespaces == {"deep.flows.unix.ar", "flows.unix.ar"}
    assert world.unix.names.published() == ["x.deep.flows.unix.ar"]
    assert world.say(TEST, "DESCRIBE FLOW x.deep.flows.unix.ar").startswith("220 DATA")


def test_brokers_agents_and_processors_are_described() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(TEST, "DESCRIBE BROKER local") == (
        "220 DATA\nbroker=local\ntype=kafka\nkind=embedded\nserver=kf1.unix.ar:9092\nissues-credentials=yes\n"
        "guarantee=exactly-once\n220 OK"
    )
    assert world.say(TEST, "DESCRIBE BROKER kf1.unix.ar").startswith("220 DATA\nbroker=local\n")
    world.unix.broker.told = ("idle is 0: too long",)
    assert world.say(OPERATOR, "DESCRIBE BROKER local").endswith('\nwarning="idle is 0: too long"\n220 OK')
    assert "warning" not in world.say(TEST, "DESCRIBE BROKER local"), "a stranger need not know"
    assert world.say(TEST, "GET BROKERS") == (
        "220 DATA\nbroker=local type=kafka kind=embedded issues-credentials=yes guarantee=exactly-once\n220 OK"
    )
    server = "nameserver=ns1.unix.ar host=ns1.unix.ar:53 kind=embedded zones=flows.unix.ar serial=1"
    assert world.say(TEST, "GET NAMESERVERS") == f"220 DATA\n{server}\n220 OK"
    assert world.say(TEST, "DESCRIBE NAMESERVER ns1.unix.ar") == (
        "220 DATA\n{}\n220 OK".format(server.replace(" ", "\n"))
    )
    assert world.say(TEST, "DESCRIBE NAMESERVER ns2.unix.ar") == "550 No such nameserver: ns2.unix.ar"
    assert world.say(TEST, "DESCRIBE AGENT flows.unix.ar") == (
        "220 DATA\nagent=fnaa.unix.ar\nparticipant=unix.ar\naddress=127.0.0.1\nport=61001\ntls=yes\n220 OK"
    )
    assert world.say(TEST, f"DESCRIBE PROCESSOR {copy}").startswith(
        f"220 DATA\nprocessor={copy}\nkind=bridge\nsource={F}\ndestination={copy}\nstate=running\n"
    )
    assert world.say(EMILIANO, f"DESCRIBE PROCESSOR {copy}").startswith(
        f"220 DATA\nprocessor={copy}\nkind=bridge\nsource={copy}\ndestination=time.flows.emiliano.ar\nstate=running\n"
    )
    assert world.say(TEST, "DESCRIBE BROKER none") == "550 No such broker: none"


def test_the_audit_log_tells_who_did_what() -> None:
    world = World()
    copy = world.subscribed()
    world.say(TEST, f'REMOVE SUBSCRIBER {copy} "not paid"')
    told = [(one.actor, one.act, one.object, one.detail) for one in run(world.unix.store.audit())]
    assert told == [
        ("user:test", "create flow", F, ""),
        ("user:emiliano@emiliano.ar", "subscribe", copy, "for user:emiliano@emiliano.ar"),
        ("user:emiliano@emiliano.ar", "issue credential", copy, ""),
        ("user:test", "end subscription: removed", copy, "not paid"),
    ]
