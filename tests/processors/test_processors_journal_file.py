"""What of a journal is on disk when: a power cut takes what was only written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eson.processors.child.journal_file import JournalFile
from eson.processors.child.trouble import Unreachable
from eson.processors.core.journal import Entry, Lane, LaneState, acknowledged_line, entry_line, lane_line

LANE = Lane(3, 0, 0, "", 0, 0, "", 7, 0, 0, 0)


class Calls:
    """What was done with the files of a folder, in order; a descriptor is called by the name that it was opened with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self._names: dict[int, str] = {}
        monkeypatch.setattr(os, "open", self._opening(os.open, folder))
        for name in ("write", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))
        monkeypatch.setattr(os, "rename", self._renaming(os.rename))

    def _opening(self, call: Callable[..., int], folder: Path) -> Callable[..., int]:
        def opened(path: str, *more: Any) -> int:
            number = call(path, *more)
            self._names[number] = os.path.relpath(path, folder)
            return number

        return opened

    def _noting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(number: int, *more: Any) -> Any:
            self.made.append(f"{name} {self._names.get(number, '?')}")
            return call(number, *more)

        return noted

    def _renaming(self, call: Callable[..., None]) -> Callable[..., None]:
        def renamed(old: str, new: str) -> None:
            self.made.append("rename")
            call(old, new)

        return renamed

    def taken(self) -> list[str]:
        made, self.made = self.made, []
        return made


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    with monkeypatch.context() as patched:
        yield Calls(tmp_path, patched)


def fill(file: JournalFile) -> None:
    file.journal.lanes[LANE.number] = LaneState(LANE, 0)
    entry = Entry(0, 9, 10, 1)
    file.journal.lanes[LANE.number].plan(entry)
    file.add(lane_line(LANE))
    file.add(entry_line(LANE.number, entry))


def test_what_is_synced_was_written_before(tmp_path: Path, calls: Calls) -> None:
    file = JournalFile(str(tmp_path / "j"), "p")
    assert calls.taken() == ["write j", "fdatasync j", "fsync ."]
    fill(file)
    file.sync()
    assert calls.taken() == ["write j", "fdatasync j"]
    file.close()


def test_what_is_read_is_on_disk_before_anything_follows_from_it(tmp_path: Path, calls: Calls) -> None:
    """A predecessor may have been killed between the two; what it planned is not written again."""
    file = JournalFile(str(tmp_path / "j"), "p")
    fill(file)
    file.write()
    file.close()
    calls.taken()
    again = JournalFile(str(tmp_path / "j"), "p")
    assert len(again.journal.lanes[LANE.number].entries) == 1
    assert calls.taken() == ["fdatasync j", "fsync ."]
    again.close()


def test_a_new_file_is_on_disk_before_it_takes_the_old_ones_place(tmp_path: Path, calls: Calls) -> None:
    file = JournalFile(str(tmp_path / "j"), "p", compact_at=50)
    calls.taken()
    fill(file)
    file.sync()
    assert calls.taken() == ["write j", "fdatasync j", "write j.new", "fsync j.new", "rename", "fsync ."]
    file.close()
    again = JournalFile(str(tmp_path / "j"), "p")
    assert [one.last for one in again.journal.lanes[LANE.number].entries] == [9]
    again.close()


def test_a_file_that_is_due_to_be_written_anew_is_when_it_is_opened(tmp_path: Path) -> None:
    """Acknowledgements are written without a sync, and a process may be killed before what follows from its size."""
    file = JournalFile(str(tmp_path / "j"), "p")
    fill(file)
    for _ in range(10):
        file.add(acknowledged_line(LANE.number, 9, 500))
    file.write()
    file.close()
    before = (tmp_path / "j").stat().st_size
    again = JournalFile(str(tmp_path / "j"), "p", compact_at=50)
    assert again.journal.lanes[LANE.number].acknowledged == (9, 500)
    assert (tmp_path / "j").stat().st_size < before
    again.close()
    JournalFile(str(tmp_path / "j"), "p").close()


def test_a_file_that_another_process_replaced_meanwhile_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was opened, then written anew elsewhere, and locked when the other had closed it."""
    path, lock = tmp_path / "j", fcntl.flock
    JournalFile(str(path), "p").close()

    def late(number: int, how: int) -> None:
        (tmp_path / "new").write_bytes(path.read_bytes())
        (tmp_path / "new").rename(path)
        lock(number, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(Unreachable, match="written anew by another process"):
        JournalFile(str(path), "p")
