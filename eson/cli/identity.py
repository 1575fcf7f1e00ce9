"""`login`, `whoami`, `resolve`: who I am, and where a flow is."""

from __future__ import annotations

from dataclasses import replace

import click

from eson.cli import secrets
from eson.cli.console import Console, pass_console
from eson.client import FlowLocation
from eson.client.bodies import Item, description
from eson.fnap.core.commands import WhoAmI


@click.command()
@click.option("--user", "-u", metavar="NAME", help="As whom.  [default: what the user agent's file says]")
@pass_console
def login(console: Console, user: str | None) -> None:
    """Ask for the password, try it, and keep it in the system's keyring where there is one."""
    agent = console.chosen()
    name = user or agent.username or click.prompt(f"User name at {agent.fqdn}", err=True)
    agent = replace(agent, username=name)
    asked = not (agent.password or agent.password_command) or bool(user)
    password = secrets.ask_password(agent) if asked else agent.secret()
    agent = replace(agent, password=password, password_command="")

    async def try_it() -> Item:
        async with await console.connect(agent) as session:
            return description((await session.execute(WhoAmI())).lines)

    console.show_object(console.run(try_it()))
    if not asked:
        console.tell(f"The password of {name} at {agent.fqdn} is right")
    elif secrets.keep(agent):
        console.tell(f"Logged in; the keyring keeps the password of {name} at {agent.fqdn}")
    else:
        console.tell(
            "Logged in. There is no keyring to keep the password: install the package `keyring`, or set "
            "`password:` or `password_command:` in the user agent's file"
        )


@click.command()
@pass_console
def whoami(console: Console) -> None:
    """Show as whom the agent knows you."""
    console.show_description(console.run(console.ask(WhoAmI())))


@click.command()
@click.argument("flow")
@pass_console
def resolve(console: Console, flow: str) -> None:
    """Show what DNS says of a flow: its agent and its broker.  No agent is asked."""
    console.show_object(_item(console.run(console.client().resolve(flow))))


def _item(found: FlowLocation) -> Item:
    item: dict[str, object] = {
        "flow": found.flow,
        "agent": [str(server) for server in found.agent.servers],
        "agent-tls": found.agent.tls,
        "found-at": found.agent.source,
    }
    if found.broker is not None:
        item |= {
            "type": found.broker.kind,
            "topic": found.broker.queue,
            "server": [str(server) for server in found.broker.servers],
            "server-tls": found.broker.tls,
        }
    return item


COMMANDS: tuple[click.Command, ...] = (login, whoami, resolve)
