"""What the user types becomes lines of FNAP."""

from __future__ import annotations

import pytest

from eson.cli import lines
from eson.cli.failures import account_of
from eson.errors import ReplyError


def test_values_are_quoted_only_where_they_must_be() -> None:
    """Spaces, quotation marks and backslashes need quotation marks; control characters cannot be sent."""
    assert lines.pair("visibility=public") == "visibility=public"
    assert lines.pair("description=what time is it") == 'description="what time is it"'
    assert lines.pair('description=a "b" \\') == 'description="a \\"b\\" \\\\"'
    assert lines.pair("description=") == 'description=""'
    for bad in ("visibility", "=x", "9a=x", "a=x\r\nQUIT", "a=\x00"):
        with pytest.raises(lines.WrongWords):
            lines.pair(bad)


def test_subscribe_finds_a_local_name() -> None:
    """LOCAL as typed, else prefix and flow, else the flow's name below home, else none."""
    flow = "flow://time.flows.unix.ar"
    assert lines.subscribe(flow, "a.b", "NOW", "p-", "h.x") == f"SUBSCRIBE {flow} LOCAL a.b FROM NOW"
    assert lines.subscribe(flow, None, None, "emiliano.ar-", "h.x").endswith(
        "LOCAL emiliano.ar-time.flows.unix.ar"
    )
    assert lines.subscribe(flow, None, None, "", "flows.emiliano.ar").endswith("LOCAL time.flows.emiliano.ar")
    assert lines.subscribe(flow, None, None, "", "") == f"SUBSCRIBE {flow}"


def test_read_and_subscriber_commands() -> None:
    """Options become words in the order of the grammar."""
    assert lines.read("a.b", "BEGINNING", 5, False) == "READ a.b FROM BEGINNING LIMIT 5"
    assert lines.read("a.b", None, None, True) == "READ a.b FOLLOW"
    with pytest.raises(lines.WrongWords):
        lines.read("a.b", None, 5, True)
    assert lines.subscriber("deny", "a.b", "user:x", "no more") == 'DENY SUBSCRIBER a.b user:x "no more"'


@pytest.mark.parametrize(
    ("code", "status"),
    [(220, 0), (202, 5), (421, 3), (450, 3), (456, 3), (454, 3), (501, 1), (530, 4), (535, 4), (550, 1)],
)
def test_each_kind_of_reply_has_its_exit_status(code: int, status: int) -> None:
    """Scripts can tell refusals, passing faults and trust apart."""
    assert lines.exit_status(code) == status


def test_a_login_that_cannot_be_judged_now_may_be_tried_again() -> None:
    """It says nothing of the password, unlike 535."""
    account = account_of(ReplyError(454, "Authentication is not available now: try again later"))
    assert account.status == lines.TRY_LATER
    assert account.remedy.startswith("Try again later")


def test_a_queue_that_is_missing_is_not_looked_for_among_flows() -> None:
    queue = account_of(ReplyError(550, "No such queue: orders"))
    flow = account_of(ReplyError(550, "No such flow: orders.flows.unix.ar"))
    assert "get flows" not in queue.remedy
    assert "topic=" in queue.remedy
    assert "get flows" in flow.remedy
    assert queue.status == flow.status == lines.REFUSED
