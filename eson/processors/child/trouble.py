"""What can go wrong while events are carried, by what follows from it."""

from __future__ import annotations


class Trouble(Exception):
    """Root; `reason` is one line for people, without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(Trouble):
    """A broker does not answer, refuses for the moment, or its leader moved.  Retry: yes."""


class Silent(Unreachable):
    """A broker has not answered in time: long enough to say so at once.  Retry: yes."""


class LoginRefused(Unreachable):
    """The broker does not accept the credential.  Retry: slowly; a new credential helps."""


class Failing(Trouble):
    """The other side breaks the protocol or refuses a batch.  Retry: slowly, and say so as a failure."""


class Stopped(Trouble):
    """Going on could lose or repeat events.  Retry: no, an operator must look."""

    @classmethod
    def for_good(cls, why: str) -> Stopped:
        """Where nothing can be mended: says what to do, too."""
        return cls(f"{why}. End this, and begin anew FROM the offset where it shall go on")


class Again(Trouble):
    """Nothing is wrong: the session must be opened anew (partitions added, login about to expire).  Retry: at once."""
