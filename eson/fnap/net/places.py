"""How many sessions there may be, and how long each may take its time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from eson.identity.throttle import network_of

_BUSY = 0.9
"""From this part of all places on, those who have not logged in get a sixth of the time."""
_HURRY = 6


@dataclass(frozen=True)
class Limits:
    """Deadlines and places."""

    login: timedelta = timedelta(seconds=60)
    sasl_step: timedelta = timedelta(seconds=30)
    idle: timedelta = timedelta(minutes=30)
    command: timedelta = timedelta(seconds=60)
    total: int = 10_000
    per_address: int = 50
    per_user: int = 10


@dataclass(frozen=True)
class Deadlines:
    """In seconds."""

    login: float
    sasl_step: float
    idle: float
    command: float


class Places:
    """How many connections there are: in all, of one address, of one user.  Shared by the listeners of one agent."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.total = 0
        self._of_address: Counter[str] = Counter()
        self._of_user: Counter[str] = Counter()
        self._ordinary = Deadlines(
            limits.login.total_seconds(),
            limits.sasl_step.total_seconds(),
            limits.idle.total_seconds(),
            limits.command.total_seconds(),
        )
        hurried = (self._ordinary.login / _HURRY, self._ordinary.sasl_step / _HURRY)
        self._hurried = Deadlines(*hurried, self._ordinary.idle / _HURRY, self._ordinary.command)

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines that hold now: shorter ones while few places are left."""
        return self._hurried if self.total >= self.limits.total * _BUSY else self._ordinary

    def take(self, address: str) -> tuple[str, str] | None:
        """Takes a place; (outcome, text) if there was none: it is taken all the same, until it is given back."""
        self.total += 1
        address = network_of(address)
        self._of_address[address] += 1
        if self.total > self.limits.total:
            return "places", "Too many connections: try again later"
        if self._of_address[address] > self.limits.per_address:
            return "address's places", "Too many connections from your address"
        return None

    def take_user(self, name: str) -> bool:
        if self._of_user[name] >= self.limits.per_user:
            return False
        self._of_user[name] += 1
        return True

    def give_back(self, address: str, user: str) -> None:
        """Gives back what `take` and `take_user` took; an empty `user` took nothing."""
        self.total -= 1
        _release(self._of_address, network_of(address))
        if user:
            _release(self._of_user, user)


def _release(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
