"""One journal for the sessions of several destinations: opened by the first, read again after the disk refused."""

from __future__ import annotations

from collections.abc import Iterable

from eson.processors.child.journal_file import DiskRefuses, JournalFile
from eson.processors.core.journal import Lane, LaneState


class SharedJournal:
    """What is in memory may be ahead of a file that refused: it is read again once no session looks at it any more."""

    def __init__(self, path: str, processor: str) -> None:
        self._path, self._processor = path, processor
        self._file: JournalFile | None = None
        self._users = 0

    def take(self) -> JournalFile:
        """For one session, which gives it back.  Raises what `JournalFile` raises."""
        if self._file is not None and self._file.refused is not None:
            if self._users:
                raise DiskRefuses(self._file.refused.reason)
            self.close()
        if self._file is None:
            self._file = JournalFile(self._path, self._processor)
        self._users += 1
        return self._file

    def give_back(self) -> None:
        self._users -= 1

    @property
    def lanes(self) -> Iterable[LaneState]:
        return () if self._file is None else self._file.journal.lanes.values()

    def known_lanes(self, said: Iterable[Lane]) -> list[Lane]:
        """Those that it has, and those that it is known to have had."""
        lanes = {lane.number: lane for lane in said} | {state.lane.number: state.lane for state in self.lanes}
        return [lanes[number] for number in sorted(lanes)]

    def close(self, remove: bool = False) -> None:
        """When no session uses it any more."""
        file, self._file = self._file, None
        if file is not None:
            if remove:
                file.remove()
            else:
                file.close()
