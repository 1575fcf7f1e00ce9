"""A journal: small entries, each durable before it counts, rewritten when most of it is history.

Each entry is a line of its own: length and CRC-32C of the text in hex, a space, the text (JSON).  Reading stops at the
first entry that is torn or damaged and cuts the rest, which was never confirmed; where whole entries are in it, it is kept
in another file first.  After a failed write or sync the
journal is written anew from what its owner knows: a sync that failed is never repeated on the same file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastcrc.crc32 import iscsi as crc32c
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eson.brokers.embedded.log import damage
from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.files import File, Files, read_file, replace_file
from eson.brokers.embedded.log.validation import StorageFailed

Entry = dict[str, Any]
_HEAD = 18
_REWRITE_FROM = 1 << 20


class _Write:
    """Appends entries, or (`history` given) writes the journal anew: the history, what is under way, and the entries."""

    def __init__(
        self,
        journal: Journal,
        content: bytes,
        history: Iterable[Entry] | None,
        done: Callable[[OSError | None], None],
    ) -> None:
        self._journal, self._content, self._history, self._done = journal, content, history, done

    def write(self) -> Sequence[File]:
        if self._history is None:
            return self._journal._write_behind(self._content)
        return self._journal._write_anew(b"".join((*map(dump, self._history), self._content)))

    def failed(self, error: OSError) -> None:
        self._journal._broken = error

    def done(self, error: OSError | None) -> None:
        self._done(error)


class Journal:
    """`entries` gives, at any time, entries that make what the owner knows then: a journal's shortest form.

    They are read later, in the committer's thread.
    """

    log = Logger()

    def __init__(
        self, files: Files, committer: Committer, path: str, entries: Callable[[], Iterable[Entry]]
    ) -> None:
        self._files, self._committer, self._path, self._entries = files, committer, path, entries
        self._file: File | None = None
        self._broken: OSError | None = None
        self._end = 0
        self._size = self._compact_size = 0
        self._anew = self._rewriting = False
        self._unconfirmed: list[bytes] = []

    def read(self) -> list[Entry]:
        """Everything that was confirmed; cuts what was not.  Raises `OSError`."""
        folder = self._path.rpartition("/")[0]
        self._files.make_folder(folder)
        content = read_file(self._files, self._path)
        if content is None:
            self._file = self._files.open(self._path, create=True)
            self._files.sync_folder(folder)
            return []
        entries, end = parse(content)
        self._file = self._files.open(self._path)
        if end < len(content):
            self._cut(self._file, content, end)
            self._file.sync()
        self._end = self._size = self._compact_size = end
        return entries

    def _cut(self, file: File, content: bytes, end: int) -> None:
        """Raises `OSError`, before it cuts, where what has whole entries in it could not be kept."""
        count = len(content) - end
        if has_whole_entries(content[end:]):
            kept = damage.keep(self._files, self._path, file, end, len(content))
            self.log.error(
                "{path}: damaged at octet {end}, with whole entries behind it: what was cut is kept in {kept}; with the"
                " broker stopped, its whole lines can be put behind those of {path}; then remove it",
                path=self._path,
                end=end,
                kept=kept,
            )
        else:
            self.log.warn("{path}: {count} octets cut that were torn", path=self._path, count=count)
        file.truncate(end)

    def append(self, *entries: Entry) -> Deferred[None]:
        """Fires when they are durable; fails with `StorageFailed`.  The owner applies them when it fires."""
        fired: Deferred[None] = Deferred()
        content = b"".join(map(dump, entries))
        history = None
        long = self._size > max(_REWRITE_FROM, 3 * self._compact_size)
        if self._anew or (long and not self._rewriting):
            # taken now, put into words in the thread: it may be long
            history = self._entries()
            self._anew, self._rewriting = False, True
        self._size += len(content)
        before = b"".join(self._unconfirmed) if history is not None else b""
        self._unconfirmed.append(content)

        def done(error: OSError | None) -> None:
            self._unconfirmed.remove(content)
            if history is not None:
                self._rewriting = False
            if error is None:
                if history is not None:
                    self._size = self._compact_size = self._end
                fired.callback(None)
                return
            if not self._anew:
                self.log.error("{path}: cannot be written: {error}", path=self._path, error=error)
            self._anew = True
            fired.errback(StorageFailed(error.strerror or "the journal cannot be written"))

        self._committer.submit(_Write(self, before + content, history, done))
        return fired

    def _write_behind(self, content: bytes) -> Sequence[File]:
        if self._broken is not None or self._file is None:
            raise self._broken or OSError(f"{self._path} is not open")
        self._file.write_at(self._end, [content])
        self._end += len(content)
        return (self._file,)

    def _write_anew(self, content: bytes) -> Sequence[File]:
        file = replace_file(self._files, self._path, content)
        self._files.sync_folder(self._path.rpartition("/")[0])
        self._file, self._end, self._broken = file, len(content), None
        return ()


def dump(entry: Entry) -> bytes:
    """One entry as a line."""
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()
    return b"%08x%08x %s\n" % (len(text), crc32c(text), text)


def has_whole_entries(content: bytes) -> bool:
    """Whether a line behind the first is an entry."""
    return any(parse(line + b"\n")[0] for line in content.split(b"\n")[1:])


def parse(content: bytes) -> tuple[list[Entry], int]:
    """The entries up to the first one that is not whole, and where that begins."""
    entries: list[Entry] = []
    position = 0
    while True:
        head = content[position : position + _HEAD - 1]
        try:
            length, crc = int(head[:8], 16), int(head[8:16], 16)
        except ValueError:
            return entries, position
        text = content[position + _HEAD - 1 : position + _HEAD - 1 + length]
        end = position + _HEAD + length
        if len(text) < length or content[end - 1 : end] != b"\n" or crc32c(text) != crc:
            return entries, position
        entries.append(json.loads(text))
        position = end
