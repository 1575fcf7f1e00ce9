"""`subscribe` and what follows it, at the subscriber's side and at the owner's."""

from __future__ import annotations

import click

from eson.cli import lines
from eson.cli.arguments import word
from eson.cli.console import Console, pass_console
from eson.cli.lines import PENDING
from eson.client import Agent, Subscription
from eson.client.agent import subscription
from eson.client.bodies import description, text
from eson.errors import ReplyError
from eson.fnap.core.commands import WhoAmI
from eson.model.names import COPY_LABEL

_NOT_HOSTED = 551


@click.command()
@click.argument("flow", type=word)
@click.argument("local", type=word, required=False)
@click.option(
    "--from", "start", type=word, metavar="POSITION", help="BEGINNING, NOW (default), a time, an offset."
)
@click.option("--token", type=word, help="The same token gives the same copy again.")
@pass_console
def subscribe(console: Console, flow: str, local: str | None, start: str | None, token: str | None) -> None:
    """Subscribe to FLOW, wherever it is; its events are carried into LOCAL.

    LOCAL: else the agent's prefix and FLOW, else the flow's name below your home namespace.
    """
    made = console.run(_subscribe(console, lines.checked_flow(flow), local, start, token))
    row = {"flow": flow, "copy": made.copy, "local": made.local}
    if made.pending:
        row["state"] = "pending"
        console.tell(
            "It waits for the approval of the flow's owner, or for its first events: "
            "`fnua get subscriptions` shows how it stands"
        )
    console.show_object({key: value for key, value in row.items() if value})
    if made.pending:
        click.get_current_context().exit(PENDING)


async def _subscribe(
    console: Console, flow: str, local: str | None, start: str | None, token: str | None
) -> Subscription:
    profile = console.chosen(local or "")
    async with await console.agent(local or "") as agent:
        home = "" if local or profile.prefix or await _hosts(agent, flow) else await _home(agent)
        line = lines.subscribe(flow, local, start, profile.prefix, home, token)
        words = line.split(" ")
        typed = words[words.index("LOCAL") + 1] if "LOCAL" in words else ""
        return subscription(flow, typed, await agent.execute(line))


async def _hosts(agent: Agent, flow: str) -> bool:
    """Whether the flow is hosted at this agent, so that a copy alone is enough."""
    try:
        await agent.execute(f"DESCRIBE FLOW {flow}")
    except ReplyError as error:
        return error.reply_code != _NOT_HOSTED
    return True


async def _home(agent: Agent) -> str:
    return text(description((await agent.execute(WhoAmI())).lines), "home")


def _below(id: str) -> str:
    """Whose agent is asked: a copy lies in its provider's namespace, but the subscription is at one's own agent."""
    return "" if COPY_LABEL.match(id.partition(".")[0]) else id


@click.command()
@click.argument("id", type=word)
@pass_console
def unsubscribe(console: Console, id: str) -> None:
    """End a subscription (its copy, local flow or flow) or a processor (p-…).  The local flow stays."""
    console.run(console.ask(f"UNSUBSCRIBE {id}", _below(id)))
    console.tell(f"Unsubscribed {id}")


_DONE = {
    "pause": "Paused",
    "resume": "Resumed",
    "stop": "Stopped",
    "approve": "Approved",
    "deny": "Denied",
    "remove": "Removed",
}


def _change(verb: str, help: str) -> click.Command:
    @click.command(verb, help=help)
    @click.argument("words", type=word, nargs=-1, required=True, metavar="[subscription] ID")
    @pass_console
    def change(console: Console, words: tuple[str, ...]) -> None:
        (id,) = _without("subscription", words, 1)
        console.leave_if_pending(console.run(console.ask(f"{verb.upper()} SUBSCRIPTION {id}", _below(id))))
        console.tell(f"{_DONE[verb]} {id}")

    return change


pause = _change("pause", "Hold a subscription or processor; it keeps its place and its process.")
resume = _change("resume", "Go on from where it was paused or stopped.")
stop = _change("stop", "Hold it and give its process back; it keeps its place.")


def _decide(verb: str, help: str) -> click.Command:
    @click.command(verb, help=help)
    @click.argument("words", type=word, nargs=-1, required=True, metavar="[subscriber] NAME [PRINCIPAL]")
    @click.option("--reason", help="What the subscriber is told.")
    @pass_console
    def decide(console: Console, words: tuple[str, ...], reason: str | None) -> None:
        name, *principal = _without("subscriber", words, 2)
        line = lines.subscriber(verb, name, principal[0] if principal else None, reason)
        console.leave_if_pending(console.run(console.ask(line, name)))
        console.tell(f"{_DONE[verb]} {name}")

    return decide


approve = _decide(
    "approve", "Let a subscriber in who waits for it.  NAME: the copy, or your flow with a PRINCIPAL."
)
deny = _decide("deny", "Refuse a subscriber who waits for approval.")
remove = _decide("remove", "Cut a subscriber off: right, credential, copy and processor go at once.")


def _without(word: str, words: tuple[str, ...], most: int) -> tuple[str, ...]:
    """The arguments, the grammar's own word left out if it was typed."""
    rest = words[1:] if len(words) > 1 and words[0].lower() == word else words
    if len(rest) > most:
        raise click.UsageError(f"Got unexpected extra argument ({rest[most]})")
    return rest


COMMANDS: tuple[click.Command, ...] = (subscribe, unsubscribe, pause, resume, stop, approve, deny, remove)
