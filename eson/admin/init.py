"""`eson init`: a participant's first files."""

from __future__ import annotations

import os
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import click

from eson.admin import initial
from eson.admin.demo.programs import typed
from eson.admin.opened import opened_accounts, this_person, wait
from eson.agent.accounts import Terms, check_name
from eson.config import Places, load
from eson.config.loading import USUAL
from eson.errors import Conflict, NameNotAllowed, Usage
from eson.identity.certificates import make_request
from eson.identity.own_certificate import own_certificate, write_private, write_public
from eson.model.names import MAX_FLOW, canonical

CERTIFICATE_LIFE = timedelta(days=366)
"""Of one that no agent renews: the longest that clients are told to take."""


def _address(_context: click.Context, _parameter: click.Parameter, value: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(value)
    except ValueError:
        raise click.BadParameter("give an IP address, such as 192.0.2.1") from None
    if address.is_unspecified or address.is_multicast:
        raise click.BadParameter("give the address under which others reach this machine")
    return address


@click.command()
@click.argument("domain")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=USUAL.parent,
    show_default=True,
    help="Where to write.",
)
@click.option(
    "--draft", is_flag=True, help="The draft's own example, on loopback: account test, password test."
)
@click.option(
    "--address",
    default="127.0.0.1",
    callback=_address,
    show_default=True,
    metavar="IP",
    help="Listen here; DNS says it of the agent.",
)
@click.option("--account", default="admin", show_default=True, help="Name of the first account, an operator.")
@click.option("--csr", is_flag=True, help="Write a request for a public CA instead of making a private CA.")
def init(
    domain: str,
    directory: Path,
    draft: bool,
    address: IPv4Address | IPv6Address,
    account: str,
    csr: bool,
) -> None:
    """Write a working configuration for the participant DOMAIN, with keys, certificates and one account."""
    name = _domain(domain)
    check_name(account)
    if draft and (csr or not address.is_loopback):
        raise click.UsageError("--draft is an example for loopback: leave --csr and --address out")
    if csr and address.is_loopback:
        raise click.UsageError("--csr is for an agent that others reach: give its --address too")
    where = directory.absolute()
    facts = initial.Facts(
        domain=name,
        address=address,
        draft=draft,
        account="test" if draft else account,
        password="test" if draft else initial.new_password(),
        state=initial.relative_state(where, USUAL.parent),
        ca=_ca(where, address, csr),
    )
    try:
        write_all(where, facts, csr)
    except OSError as error:
        raise Usage(
            f"{error.filename or where} cannot be written: {error.strerror}. Give another directory with --dir"
        ) from None
    click.echo(_told(where, facts, csr), nl=False)


def _domain(text: str) -> str:
    """The participant's name; the names of its flows must fit below it."""
    try:
        return canonical(text, MAX_FLOW - len("a.flows."))
    except NameNotAllowed as error:
        raise Usage(
            f"{error.text.removeprefix('Name not allowed: ')}. Give a domain, such as unix.ar"
        ) from None


def _ca(where: Path, address: IPv4Address | IPv6Address, csr: bool) -> str:
    if csr:
        return "system"
    if not address.is_loopback:
        return "keys/ca.pem"
    state = initial.relative_state(where, USUAL.parent)
    return str(Places(Path(state)).keys / "ca.pem")


def write_all(where: Path, facts: initial.Facts, csr: bool = False) -> None:
    """Writes everything below `where`.  Raises `Conflict` if anything is there already, `EsonError`, `OSError`."""
    places = Places(where / facts.state)
    keys = where / "keys"
    for path in (where / "eson.yaml", where / "fnua.yaml", places.store, keys / "agent.key"):
        if path.exists():
            raise Conflict(
                f"{path} exists. Nothing was written: move it away, or give another directory with --dir"
            )
    where.mkdir(mode=0o755, parents=True, exist_ok=True)
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_certificate(places, keys, facts, csr)
    if not facts.draft:
        terms = Terms(home=facts.namespace, operator=True)
        with opened_accounts(places) as accounts:
            wait(accounts.add(this_person(), facts.account, facts.password, terms))
    write_private(where / "fnua.yaml", initial.user_agent(facts))
    write_private(where / "eson.yaml", initial.configuration(facts))
    if not csr:  # the certificate is still to come
        load(where / "eson.yaml")


def _write_certificate(places: Places, keys: Path, facts: initial.Facts, csr: bool) -> None:
    if csr:
        keys.mkdir(mode=0o700, exist_ok=True)
        request = make_request([facts.agent])
        write_private(keys / "agent.key", request.key)
        write_public(keys / "agent.csr", request.certificate)
    elif facts.address.is_loopback:
        own_certificate(places.keys, [facts.agent], [str(facts.address)])
    else:
        own_certificate(keys, [facts.agent], [str(facts.address)], CERTIFICATE_LIFE)


def _told(where: Path, facts: initial.Facts, csr: bool) -> str:
    """What the operator reads."""
    lines = [
        f"{where / 'eson.yaml'}: the configuration of {facts.domain}",
        f"{where / 'fnua.yaml'}: for the user agent, with the password of account {facts.account}",
        "",
        f"Account {facts.account}, password {facts.password}",
        "",
    ]
    if csr:
        lines += [
            f"Give {where / 'keys' / 'agent.csr'} to your CA, and put the chain that it sends into "
            f"{where / 'keys' / 'agent.pem'}.",
            "",
        ]
    if not facts.draft:
        lines += [
            f"Where another name server has the zone {facts.domain}, it needs:",
            "",
            initial.records_beside(facts),
            f"Where this agent shall have all of {facts.domain}, the zone above it needs instead:",
            "",
            initial.records_above(facts),
        ]
    if os.geteuid() == 0:
        places = " ".join(dict.fromkeys([str(where), *([facts.state] if facts.state[0] == "/" else [])]))
        lines += [
            "All this belongs to root. If the agent runs as another user, give it to that one:",
            "",
            f"    chown -R USER {places}",
            "",
        ]
    lines += [
        "Start the agent:",
        "",
        f"    {typed('twistd')} -n --pidfile= eson --config {where / 'eson.yaml'}",
        "",
        "and ask it:",
        "",
        f"    {typed('fnua')} -c {where / 'fnua.yaml'} get namespaces",
        "",
    ]
    return "\n".join(lines)
