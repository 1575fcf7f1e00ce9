"""What a session answers by itself: what is offered, who the caller is, how commands are used."""

from __future__ import annotations

from collections.abc import Sequence

from eson.fnap.core import render
from eson.fnap.core.policy import Policy
from eson.fnap.core.replies import Item, Value
from eson.fnap.core.usage import USAGE
from eson.model.principals import Caller


def usable_mechanisms(policy: Policy, password_is_safe: bool) -> list[str]:
    """The mechanisms that may be used now."""
    return [m for m in policy.mechanisms if password_is_safe or m not in policy.clear_text_mechanisms]


def capabilities(policy: Policy, starttls: bool, mechanisms: Sequence[str]) -> list[str]:
    """The words of EHLO and CAPABILITIES."""
    words = ["STARTTLS"] if starttls and policy.starttls else []
    if mechanisms:
        words.append("AUTH " + " ".join(mechanisms))
    return [
        *words,
        f"LINE {policy.line}",
        f"SIZE {policy.event}",
        "PROCESSORS " + " ".join(policy.processors),
        "BROKERS " + " ".join(policy.brokers),
        "FORMAT JSON",
        "TOKEN",
        "CREDENTIAL",
    ]


def ehlo(policy: Policy, words: Sequence[str]) -> bytes:
    lines = [f"250-{policy.hostname}", *(f"250-{word}" for word in words[:-1]), f"250 {words[-1]}"]
    return "".join(line + "\r\n" for line in lines).encode()


def whoami(caller: Caller, tls: bool) -> Item:
    found: dict[str, Value] = {"principal": str(caller.principal)}
    if caller.principal.participant:
        found["participant"] = caller.principal.participant
    found["mechanism"] = caller.mechanism
    found["tls"] = tls
    if caller.home:
        found["home"] = caller.home
    if caller.groups:
        found["groups"] = sorted(caller.groups)
    return found


def help_reply(word: str) -> bytes:
    """The usage of one verb, or of all."""
    if not word:
        return render.body(USAGE.values())
    usage = USAGE.get("DESCRIBE" if word == "DESC" else word)
    return render.body([usage]) if usage else b"504 There is no help on that: HELP lists all commands\r\n"
