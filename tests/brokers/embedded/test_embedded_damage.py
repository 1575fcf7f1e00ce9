"""Damage in the middle of what was acknowledged: the log goes on before it, and nothing of it is destroyed."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from brokers.embedded.memory_disk import FOLDER, Disk
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs

LOG = f"{FOLDER}/{0:020d}.log"
SIZE = 61 + 40


@pytest.fixture
def disk() -> Disk:
    made = Disk()
    for number in range(5):
        made.append(1, b"%d" % number * 40)
    return made


def damage(disk: Disk, at: int) -> bytes:
    """Turns one octet of the log; what the file holds then."""
    file = disk.files.files[LOG]
    file.now[at] ^= 0x40
    file.synced = bytes(file.now)
    return file.synced


def kept(disk: Disk) -> dict[str, bytes]:
    return {path: file.synced for path, file in disk.files.files.items() if ".damaged-" in path}


@pytest.mark.parametrize("at", [3, 9, 16, 18, 25, 59, 70], ids=str)
@pytest.mark.parametrize("batch", [0, 2, 3])
def test_what_is_cut_with_whole_batches_in_it_is_kept_and_told(disk: Disk, batch: int, at: int) -> None:
    content = damage(disk, batch * SIZE + at)
    with capturedLogs() as said:
        disk.crash()
    assert [offset for offset, _ in disk.all()] == list(range(batch))
    assert kept(disk) == {LOG + ".damaged-0": content[batch * SIZE :]}
    (told,) = [event for event in said if "kept in" in event["log_format"]]
    text = told["log_format"].format(**told)
    assert told["log_level"].name == "error"
    assert f"offset {batch} is damaged, and {batch + 1} is whole behind it" in text
    assert f"{5 * SIZE - batch * SIZE} octets" in text
    assert LOG + ".damaged-0" in text
    assert disk.append(1, b"next") == batch
    disk.crash()
    assert len(disk.all()) == batch + 1
    assert len(kept(disk)) == 1


def test_a_second_damage_does_not_overwrite_what_was_kept_of_the_first(disk: Disk) -> None:
    first = damage(disk, 3 * SIZE + 70)[3 * SIZE :]
    disk.crash()
    second = damage(disk, SIZE + 70)[SIZE:]
    disk.crash()
    assert kept(disk) == {LOG + ".damaged-0": first, LOG + ".damaged-1": second}


@pytest.mark.parametrize("cut", [1, 30, 61, 100])
def test_a_torn_tail_is_cut_and_leaves_nothing(disk: Disk, cut: int) -> None:
    file = disk.files.files[LOG]
    del file.now[-cut:]
    file.synced = bytes(file.now)
    with capturedLogs() as said:
        disk.crash()
    assert len(disk.all()) == (4 if cut <= SIZE else 3)
    assert kept(disk) == {}
    assert any("torn" in event["log_format"] for event in said) == (cut % SIZE != 0)


def test_what_cannot_be_kept_is_not_cut(disk: Disk) -> None:
    content = damage(disk, SIZE + 70)
    disk.files = disk.files.crash()
    disk.files.space = 100
    with pytest.raises(OSError, match="No space") as failed:
        disk.open()
    assert failed.value.errno == errno.ENOSPC
    assert disk.files.files[LOG].now == content
    disk.files.space = None
    disk.open()
    assert kept(disk)[LOG + ".damaged-1"] == content[SIZE:]


@settings(max_examples=60, deadline=None)
@given(
    payload=st.binary(min_size=1, max_size=300),
    gap=st.integers(0, 3000) | st.integers(0, 3 << 20),
    filler=st.sampled_from([b"\0", b"\2", b"\2\0"]),
)
def test_a_whole_batch_is_found_wherever_it_stands(payload: bytes, gap: int, filler: bytes) -> None:
    disk = Disk()
    disk.append(1, b"first")
    disk.append(1, b"second")
    disk.append(1, payload)
    file = disk.files.files[LOG]
    behind = bytes(file.now[66 + 67 :])
    file.now[66:] = (filler * gap)[:gap] + behind
    file.synced = bytes(file.now)
    disk.crash()
    assert [offset for offset, _ in disk.all()] == [0]
    (content,) = kept(disk).values()
    assert content.endswith(behind)
    assert len(content) == gap + len(behind)


def test_a_log_without_end_of_candidates_is_looked_through_soon(disk: Disk) -> None:
    """Octets that look like the beginning of a batch at every place that there is."""
    file: Any = disk.files.files[LOG]
    file.now[4 * SIZE :] = (bytes(16) + b"\2") * (1 << 19)
    file.synced = bytes(file.now)
    disk.crash()
    assert len(disk.all()) == 4
    assert kept(disk) == {}
