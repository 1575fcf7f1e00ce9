"""The READs and WRITEs that are open, so that a right that is taken ends them at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from eson.agent.access import Access, Right
from eson.errors import EsonError, TryLater
from eson.model.principals import Caller


class Stream(Protocol):
    def cut(self, error: EsonError) -> None:
        """Ends it; whoever uses it is told `error`."""


@dataclass(eq=False)
class _Open:
    stream: Stream
    caller: Caller
    right: Right


@dataclass
class OpenStreams:
    _access: Access
    _open: dict[str, list[_Open]] = field(default_factory=dict)

    def add(self, flow: str, stream: Stream, caller: Caller, right: Right) -> None:
        self._open.setdefault(flow, []).append(_Open(stream, caller, right))

    def remove(self, flow: str, stream: Stream) -> None:
        left = [one for one in self._open.get(flow, []) if one.stream is not stream]
        if left:
            self._open[flow] = left
        else:
            self._open.pop(flow, None)

    def __len__(self) -> int:
        return sum(len(ones) for ones in self._open.values())

    def cut(self, flow: str, error: EsonError) -> None:
        """Ends all of a flow; whoever uses them is told `error`."""
        for one in list(self._open.get(flow, [])):
            one.stream.cut(error)

    async def recheck(self, flow: str) -> None:
        """Cuts those whose caller may not do that any more, or whose flow is gone."""
        for one in list(self._open.get(flow, [])):
            try:
                await self._access.flow(one.caller, flow, one.right)
            except TryLater:
                # who cannot be asked cannot say yes
                one.stream.cut(TryLater("The right to this flow could not be checked: try again"))
            except EsonError as error:
                one.stream.cut(error)
