"""The journals of the embedded broker: confirmed entries stay, torn ones go, failures are not believed away."""

from __future__ import annotations

from typing import Any

import pytest
from brokers.embedded.faulty_files import FaultyFiles
from hypothesis import given
from hypothesis import strategies as st
from servers.outcomes import result_of

from eson.brokers.embedded.log.committing import ManualCommitter
from eson.brokers.embedded.log.journal import Entry, Journal, dump, parse
from eson.brokers.embedded.log.validation import StorageFailed

PATH = "data/catalogue"


class Owner:
    """Keeps numbers by name, as the catalogue keeps topics."""

    def __init__(self, files: FaultyFiles) -> None:
        self.known: dict[str, int] = {}
        self.committer = ManualCommitter()
        self.journal = Journal(files, self.committer, PATH, self.entries)
        for entry in self.journal.read():
            self.known.update(entry)

    def entries(self) -> list[Entry]:
        return [{name: number} for name, number in self.known.items()]

    def put(self, name: str, number: int) -> None:
        waiting = self.journal.append({name: number})
        waiting.addCallback(lambda _: self.known.update({name: number}))
        self.committer.flush()
        result_of(waiting)


def test_what_was_confirmed_is_read_again() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    for number in range(10):
        owner.put(f"n{number}", number)
    assert Owner(files.crash()).known == owner.known


def test_nothing_counts_before_it_is_synced() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    owner.put("a", 1)
    waiting = owner.journal.append({"b": 2})
    assert not waiting.called
    assert Owner(files.crash()).known == {"a": 1}


def test_history_is_left_out_when_it_is_most_of_the_journal() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    for number in range(1500):
        owner.put("the same name", number)
        owner.put("long", 10**900)
    assert len(files.files[PATH].now) < 1_200_000
    assert Owner(files.crash()).known == owner.known


def test_many_entries_at_once_are_written_anew_once() -> None:
    class Counting(FaultyFiles):
        renames = 0

        def rename(self, old: str, new: str) -> None:
            self.renames += 1
            super().rename(old, new)

    files = Counting()
    owner = Owner(files)
    while len(files.files[PATH].now) < (1 << 20) - 1000:
        owner.put("long", 10**900)
    confirmed: list[None] = []
    for number in range(100):
        owner.journal.append({f"n{number}": number}).addCallback(confirmed.append)
    owner.committer.flush()
    assert len(confirmed) == 100
    assert files.renames == 1
    again = Owner(files.crash()).known
    assert {f"n{number}": number for number in range(100)}.items() <= again.items()


def test_entries_under_way_are_not_lost_when_the_journal_is_written_anew() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    owner.put("a", 1)
    files.space = 3
    with pytest.raises(StorageFailed):
        owner.put("lost", 0)
    files.space = None
    first, second = owner.journal.append({"b": 2}), owner.journal.append({"c": 3})
    owner.committer.flush()
    assert first.called
    assert second.called
    assert Owner(files.crash()).known == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("fault", ["full", "sync"])
def test_after_a_failure_another_file_takes_over(fault: str) -> None:
    files = FaultyFiles()
    owner = Owner(files)
    owner.put("before", 1)
    if fault == "full":
        files.space = 5
    else:
        files.failing_syncs = 1
    with pytest.raises(StorageFailed):
        owner.put("lost", 2)
    files.space = None
    owner.put("after", 3)
    assert Owner(files.crash()).known == {"before": 1, "after": 3}


def test_what_is_behind_a_failure_fails_too() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    owner.put("before", 1)
    failures: list[Any] = []
    for name in ("lost", "behind"):
        owner.journal.append({name: 0}).addErrback(failures.append)
    files.space = 5
    owner.committer.flush(1)
    files.space = None
    owner.committer.flush()
    assert len(failures) == 2
    owner.put("after", 2)
    assert Owner(files.crash()).known == {"before": 1, "after": 2}


def kept(files: FaultyFiles) -> dict[str, bytes]:
    return {path: file.synced for path, file in files.files.items() if ".damaged-" in path}


def test_what_is_cut_with_whole_entries_in_it_is_kept() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    for number in range(5):
        owner.put(f"n{number}", number)
    file = files.files[PATH]
    start = 2 * len(dump({"n0": 0}))
    file.now[start + 20] ^= 1
    file.synced = content = bytes(file.now)
    owner = Owner(files)
    assert owner.known == {"n0": 0, "n1": 1}
    assert kept(files) == {PATH + ".damaged-0": content[start:]}
    owner.put("next", 9)
    after = files.crash()
    assert Owner(after).known == {"n0": 0, "n1": 1, "next": 9}
    # what the log says that a person can do
    whole = kept(after)[PATH + ".damaged-0"].split(b"\n", 1)[1]
    after.files[PATH].now += whole
    assert Owner(after).known == {"n0": 0, "n1": 1, "next": 9, "n3": 3, "n4": 4}
    assert len(kept(after)) == 1


def test_a_torn_entry_is_cut_and_leaves_nothing() -> None:
    files = FaultyFiles()
    owner = Owner(files)
    for number in range(3):
        owner.put(f"n{number}", number)
    file = files.files[PATH]
    del file.now[-3:]
    file.synced = bytes(file.now)
    assert Owner(files).known == {"n0": 0, "n1": 1}
    assert kept(files) == {}


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3), max_size=6),
    st.data(),
)
def test_any_cut_keeps_a_prefix_of_whole_entries(entries: list[Entry], data: st.DataObject) -> None:
    lines = [dump(entry) for entry in entries]
    content = b"".join(lines)
    assert parse(content) == (entries, len(content))
    cut = data.draw(st.integers(0, len(content)))
    garbage = data.draw(st.binary(max_size=30))
    found, end = parse(content[:cut] + garbage)
    assert found[: len(entries)] == entries[: len(found)]
    whole = 0
    for number, line in enumerate(lines):
        whole += len(line)
        if whole <= cut:
            assert len(found) > number
    assert end <= cut + len(garbage)
