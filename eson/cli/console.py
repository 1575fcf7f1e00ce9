"""What all commands of `fnua` share: the user's file, the session with the right agent, how data is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from eson.cli.dialogue import DraftDialogue
from eson.cli.lines import PENDING, exit_status
from eson.cli.output import Style, show_list, show_object
from eson.cli.profile import AgentProfile, Profile, load_profile
from eson.cli.running import ReactorRunner, Runner, Work
from eson.cli.secrets import with_secret
from eson.client import Agent, Client
from eson.client.bodies import Item, description, listing
from eson.fnap.core import commands as c
from eson.fnap.net.client import Reply

_T = TypeVar("_T")


@dataclass
class Console:
    """The options before the verb, and what follows from them."""

    file: str | None = None
    agent_name: str = ""
    nameserver: str = ""
    debug: bool = False
    style: Style = "table"
    runner: Runner | None = None
    profile: Profile = field(default_factory=Profile)
    dialogue: DraftDialogue | None = None

    def prepare(self) -> None:
        """Reads the user's file.  Raises `ProfileError`."""
        self.profile = load_profile(self.file, os.environ)
        if self.debug:
            self.dialogue = DraftDialogue(sys.stderr)
            if self.profile.path is not None:
                self.dialogue.tell(f"Using config file: {self.profile.path}")

    # Running

    def run(self, work: Work[_T]) -> _T:
        return self.world.run(work)

    @property
    def world(self) -> Runner:
        if self.runner is None:
            self.runner = ReactorRunner()
        return self.runner

    def client(self) -> Client:
        """Raises `Usage` for a name server that is none."""
        dialogue = self.dialogue
        if dialogue is None:
            return Client(self.world.reactor, self.nameserver or self.profile.nameserver)
        return Client(
            self.world.reactor,
            self.nameserver or self.profile.nameserver,
            dialogue=dialogue.line,
            trace=dialogue.tell,
        )

    # Agents

    def chosen(self, below: str = "") -> AgentProfile:
        """The agent of -a, else the one that serves `below`, else the default.  Raises `ProfileError`."""
        return self.profile.agent(self.agent_name, below.lower().removeprefix("flow://").removesuffix("."))

    async def agent(self, below: str = "") -> Agent:
        """A session with the chosen agent."""
        profile = with_secret(self.chosen(below))
        if profile.username and not profile.password:
            self.tell(f"No password is known for {profile.username} at {profile.fqdn}: asking as a stranger")
        return await self.connect(profile)

    async def connect(self, profile: AgentProfile) -> Agent:
        """A session as the profile's user; without a password as a stranger."""
        if self.dialogue is not None:
            self.dialogue.tell(f"Agent selected: {profile.name}")
        return await self.client().connect(
            profile.fqdn,
            profile.username if profile.password else "",
            profile.password,
            address=profile.address,
            tls=profile.tls,
            trust=profile.trust,
        )

    async def ask(self, command: c.Command | str, below: str = "") -> Reply:
        """One command in a session of its own."""
        async with await self.agent(below) as agent:
            return await agent.execute(command)

    # Showing

    def show_list(self, rows: Sequence[Item]) -> None:
        show_list(rows, self.style)

    def show_object(self, row: Item) -> None:
        show_object(row, self.style)

    def show_name(self, key: str, name: str) -> None:
        """A name that came of a command: alone on its line, so that scripts can take it."""
        if self.style == "table":
            click.echo(name)
        else:
            self.show_object({key: name})

    def tell(self, text: str) -> None:
        """What is no data."""
        click.echo(text, err=True)

    def leave_if_pending(self, reply: Reply) -> None:
        """Ends the program with the status of its own for what is accepted and not done yet (202)."""
        if exit_status(reply.code) == PENDING:
            self.tell(
                "It is not done yet, and goes on by itself: `fnua get subscriptions` shows how it stands"
            )
            click.get_current_context().exit(PENDING)

    def show_listing(self, reply: Reply) -> None:
        self.show_list(listing(reply.lines))

    def show_description(self, reply: Reply) -> None:
        self.show_object(description(reply.lines))


pass_console = click.make_pass_decorator(Console)


def shown(value: Any) -> str:
    """A count in words that fit it."""
    return f"{value} event" + ("" if value == 1 else "s")
