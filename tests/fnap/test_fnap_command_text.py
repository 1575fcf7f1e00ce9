"""Every command has a line, and the line means the command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.errors import Usage
from eson.fnap.core import commands as c
from eson.fnap.core.command_text import command_line
from eson.fnap.core.grammar import parse_command
from eson.model.names import canonical
from eson.model.positions import AtOffsets, AtTime, Beginning, Now
from eson.model.principals import ANONYMOUS, Principal, user
from eson.model.subscriptions import State

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
FQDN = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
TEXT = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=20
)
WORD = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
NAME = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
ID = FQDN | st.from_regex(r"p-[a-z0-9]{7}", fullmatch=True)
KEY = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
PAIRS = st.dictionaries(KEY, TEXT, max_size=4).map(lambda found: tuple(found.items()))
OFFSET = st.integers(0, 2**63 - 1)
TIMES = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 30), timezones=st.just(UTC))
POSITION = st.one_of(
    st.none(), st.just(Beginning()), st.just(Now()), TIMES.map(AtTime),
    st.dictionaries(st.integers(0, 99999), OFFSET, min_size=1, max_size=4).map(lambda at: AtOffsets(tuple(at.items()))),
)  # fmt: skip
PRINCIPAL = st.one_of(
    st.just(ANONYMOUS), NAME.map(user), st.builds(user, NAME, FQDN), NAME.map(lambda name: Principal("group", name)),
    FQDN.map(lambda domain: Principal("participant", participant=domain)),
)  # fmt: skip
LIMIT = st.none() | st.integers(0, 9_999_999_999)
PAGE = st.builds(c.Page, st.just("") | FQDN, LIMIT)
FLOWS = st.lists(FQDN, min_size=1, max_size=3).map(tuple)
BASE64 = st.from_regex(r"[A-Za-z0-9+/]{1,40}={0,2}", fullmatch=True)


def _typed(local: str) -> st.SearchStrategy[str]:
    return st.sampled_from([local, local.upper(), local + ".", f"flow://{local}"]) if local else st.just("")


def _subscribes() -> st.SearchStrategy[c.Subscribe]:
    token = st.just("") | st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True)
    local = (st.just("") | FQDN).flatmap(lambda name: st.tuples(st.just(name), _typed(name)))
    return st.builds(
        lambda flow, names, position, token: c.Subscribe(flow, *names, position, token), FQDN, local, POSITION, token
    )  # fmt: skip


def _reads() -> st.SearchStrategy[c.Read]:
    return st.one_of(
        st.builds(c.Read, FQDN, POSITION, LIMIT), st.builds(c.Read, FQDN, POSITION, st.none(), st.booleans())
    )


BY_KIND: dict[type, st.SearchStrategy[Any]] = {
    c.Ehlo: st.builds(c.Ehlo, st.just("") | WORD),
    c.Authenticate: st.builds(
        c.Authenticate, st.from_regex(r"[A-Z0-9_-]{1,20}", fullmatch=True), st.none() | st.just("=") | BASE64
    ),
    c.Help: st.builds(c.Help, st.just("") | WORD.map(str.upper)),
    c.CreateFlow: st.builds(c.CreateFlow, FQDN, PAIRS),
    c.CreateNamespace: st.builds(c.CreateNamespace, FQDN, PAIRS),
    c.UpdateFlow: st.builds(c.UpdateFlow, FQDN, PAIRS.filter(bool)),
    c.UpdateNamespace: st.builds(c.UpdateNamespace, FQDN, PAIRS.filter(bool)),
    c.DeleteFlow: st.builds(c.DeleteFlow, FQDN, st.booleans()),
    c.DeleteNamespace: st.builds(c.DeleteNamespace, FQDN, st.booleans()),
    c.Describe: st.one_of(
        st.builds(c.Describe, st.sampled_from(["FLOW", "NAMESPACE", "NAMESERVER", "AGENT"]), FQDN),
        st.builds(c.Describe, st.just("PROCESSOR"), ID),
        st.builds(c.Describe, st.just("BROKER"), FQDN | st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)),
    ),
    c.GetNamespaces: st.builds(c.GetNamespaces, st.just("") | FQDN, PAGE),
    c.GetFlows: st.builds(c.GetFlows, st.just("") | FQDN, PAGE),
    c.GetSubscriptions: st.builds(c.GetSubscriptions, st.just("") | FQDN, PAGE),
    c.GetSubscribers: st.builds(c.GetSubscribers, FQDN, PAGE),
    c.GetCredential: st.builds(c.GetCredential, FQDN),
    c.Subscribe: _subscribes(),
    c.Unsubscribe: st.builds(c.Unsubscribe, ID),
    c.ChangeSubscriber: st.builds(
        c.ChangeSubscriber, st.sampled_from(["APPROVE", "DENY", "REMOVE"]), FQDN, st.none() | PRINCIPAL, TEXT
    ),
    c.ChangeSubscription: st.builds(c.ChangeSubscription, st.sampled_from(["PAUSE", "RESUME", "STOP"]), ID),
    c.Notify: st.builds(c.Notify, FQDN, st.sampled_from([state.value for state in State])),
    c.Read: _reads(),
    c.Write: st.builds(c.Write, FQDN),
    c.Replicate: st.builds(c.Replicate, FQDN, FQDN),
    c.Collect: st.builds(c.Collect, FLOWS, FQDN),
    c.Distribute: st.builds(c.Distribute, FQDN, FLOWS),
    c.Signal: st.builds(c.Signal, FLOWS, FLOWS, TEXT),
}


def commands() -> st.SearchStrategy[Any]:
    """Any command, canonical as the parser gives it."""
    return st.one_of([BY_KIND.get(kind, st.from_type(kind)) for kind in get_args(c.Command)])


@settings(max_examples=800, deadline=None)
@given(commands())
def test_a_line_means_its_command(command: c.Command) -> None:
    """`parse_command` undoes `command_line`, for every kind of command."""
    line = command_line(command)
    assert parse_command(line) == command
    assert "\r" not in line
    assert "\n" not in line


def test_every_kind_of_command_has_a_line() -> None:
    """No kind is forgotten by the generator above."""
    drawn = set(get_args(c.Command))
    for kind in drawn - set(BY_KIND):
        assert not [field for field in kind.__dataclass_fields__ if field not in ("json", "kind")], kind


@pytest.mark.parametrize("bad", ["a\r\nQUIT", "a\x00", "a\x7f", "\ud800", "a\nb"])
def test_text_that_would_be_a_second_line_is_not_sent(bad: str) -> None:
    """Control characters in values are refused, never dropped or escaped."""
    for command in (
        c.CreateFlow("a.b", (("description", bad),)),
        c.ChangeSubscriber("DENY", "a.b", None, bad),
        c.Signal(("a.b",), ("c.d",), bad),
    ):
        with pytest.raises(Usage):
            command_line(command)


@pytest.mark.parametrize(
    "line", ["ſUBSCRIBE a.b", "CREATE ﬂow a.b", "READ a.b FROM BEGıNNING", "DESCRIBE FLOW \u212a.b"]
)
def test_only_ascii_letters_have_two_cases(line: str) -> None:
    """Letters that Unicode maps to ASCII ones in another case are not taken for them."""
    with pytest.raises(Exception, match=r"Unknown|Usage|Name not allowed"):
        parse_command(line)


def test_copies_of_the_longest_flows_can_be_named() -> None:
    """A flow has at most 227 octets, its copies eight more."""
    flow = ".".join(["x" * 56] * 3 + ["y" * 56])
    assert len(flow) == 227
    copy = f"abcdefg.{flow}"
    assert parse_command(f"CREATE FLOW {flow}") == c.CreateFlow(flow)
    for line in (f"READ {copy} FOLLOW", f"UNSUBSCRIBE {copy}", f"DESCRIBE FLOW {copy}", f"GET CREDENTIAL {copy}",
                 f"DELETE FLOW {copy}", f"PAUSE SUBSCRIPTION {copy}"):  # fmt: skip
        assert canonical(copy) in command_line(parse_command(line))
    with pytest.raises(Exception, match="Name not allowed"):
        parse_command(f"CREATE FLOW {copy}")
