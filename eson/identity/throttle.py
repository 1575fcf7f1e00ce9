"""How many logins are evaluated: failures are paid for by address and by account.  Pure: the time is an argument.

Each key may owe `burst` attempts; one is forgiven every `every` seconds.  An attempt is charged before it is evaluated and
given back when it succeeds, so that ten thousand at once are no way around it.  Only what is charged is kept: one number
for each key, and no more than `places` of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

PLACES = 100_000
PREFIX = 64
"""An IPv6 address is as many as its network: a site gets that much at least."""


@dataclass(frozen=True)
class Rule:
    """So many attempts at once, and one more each `every` seconds."""

    burst: int
    every: float


BY_ADDRESS = Rule(10, 12.5)
"""58 in ten minutes."""
BY_ACCOUNT = Rule(30, 5.0)
"""150 in ten minutes, from wherever; addresses where the account has logged in before are not held to it."""


class _Debts:
    """What keys owe under one rule: for each, the time when all is forgiven."""

    def __init__(self, rule: Rule, places: int) -> None:
        self._rule = rule
        self._places = places
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def has_credit(self, key: Hashable, now: float) -> bool:
        return self._until.get(key, now) - now <= (self._rule.burst - 1) * self._rule.every

    def charge(self, key: Hashable, now: float) -> None:
        self._until[key] = max(self._until.get(key, now), now) + self._rule.every
        self._until.move_to_end(key)
        while len(self._until) > self._places:
            self._until.popitem(last=False)

    def give_back(self, key: Hashable, now: float) -> None:
        until = self._until.get(key)
        if until is None:
            return
        if until - self._rule.every > now:
            self._until[key] = until - self._rule.every
        else:
            del self._until[key]

    def __len__(self) -> int:
        return len(self._until)


class Throttle:
    """Decides whether a login is evaluated at all."""

    def __init__(
        self, by_address: Rule = BY_ADDRESS, by_account: Rule = BY_ACCOUNT, places: int = PLACES
    ) -> None:
        self._addresses = _Debts(by_address, places)
        self._accounts = _Debts(by_account, places)
        self._places = places
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()

    def admit(self, address: str, account: str, now: float) -> bool:
        """Whether to evaluate an attempt; it is charged if so.  Unknown accounts are treated as known ones."""
        at = network_of(address)
        proven = (account, at) in self._proven
        if not self._addresses.has_credit(at, now):
            return False
        if not proven:
            if not self._accounts.has_credit(account, now):
                return False
            self._accounts.charge(account, now)
        self._addresses.charge(at, now)
        return True

    def succeeded(self, address: str, account: str, now: float) -> None:
        """Gives an admitted attempt back."""
        at = network_of(address)
        self._addresses.give_back(at, now)
        if (account, at) not in self._proven:
            self._accounts.give_back(account, now)
        self._proven[account, at] = None
        self._proven.move_to_end((account, at))
        while len(self._proven) > self._places:
            self._proven.popitem(last=False)

    def __len__(self) -> int:
        """How many numbers are kept."""
        return len(self._addresses) + len(self._accounts) + len(self._proven)


def network_of(address: str) -> str:
    """What stands for an address: itself, for IPv6 its /64; what is no address stands for itself."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(IPv6Address(int(ip) >> PREFIX << PREFIX))
