"""Fetch: whole batches straight from the files, with long polling; no fetch sessions, no transactions."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from eson.brokers.embedded.log.epochs import NONE
from eson.brokers.embedded.log.files import File
from eson.brokers.embedded.log.partition import Partition
from eson.brokers.embedded.log.validation import OffsetOutOfRange
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.epochs import fenced
from eson.brokers.embedded.server.rights import READ
from eson.brokers.kafka.wire.apis import FetchResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

BY_ID_FROM = 13
MAX_BYTES = 55 << 20
_READ_COMMITTED = 1
_Topic = FetchResponse.FetchableTopicResponse
_Partition = _Topic.PartitionData


class FileRange:
    """Octets of a file that are read when they are sent."""

    __slots__ = ("file", "position", "size")

    def __init__(self, file: File, position: int, size: int) -> None:
        self.file, self.position, self.size = file, position, size

    def __len__(self) -> int:
        return self.size

    def take(self, most: int) -> bytes:
        """The next octets, and steps behind them.  Raises `OSError` if the file does not have them."""
        data = self.file.read_at(self.position, min(most, self.size))
        if not data:
            raise OSError("a file ends where a batch should be")
        self.position += len(data)
        self.size -= len(data)
        return data


def fetch(broker: Broker, client: Client, request: Request) -> Any:
    """Answers as soon as `min_bytes` are there, something is wrong, or `max_wait_ms` are over."""
    if request.body.session_id != 0 and request.body.session_epoch > 0:
        return FetchResponse(
            version=request.version,
            error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
            session_id=0,
            responses=[],
        )
    attempt = _Attempt(broker, client, request)
    response = attempt.gather()
    return response if response is not None else attempt.park()


class _Attempt:
    """One Fetch, tried again whenever a partition has grown."""

    def __init__(self, broker: Broker, client: Client, request: Request) -> None:
        self._broker, self._client, self._request = broker, client, request
        self._watched: list[Partition] = []
        self._parked: Deferred[Any] | None = None
        self._timer: Any = None
        self._soon: Any = None

    def gather(self, final: bool = False) -> Any:
        """The response, None if it is better to wait."""
        body, version = self._request.body, self._request.version
        left = max(0, min(body.max_bytes, MAX_BYTES))
        total, wrong = 0, False
        self._watched = []
        topics = []
        for topic in body.topics or ():
            found = self._broker.find(self._client, READ, topic.topic, topic.topic_id, version >= BY_ID_FROM)
            answers = []
            for asked in topic.partitions or ():
                answer = _Partition(
                    partition_index=asked.partition,
                    error_code=0,
                    high_watermark=-1,
                    last_stable_offset=-1,
                    log_start_offset=-1,
                    aborted_transactions=[] if body.isolation_level == _READ_COMMITTED else None,
                    records=b"",
                )
                answers.append(answer)
                if isinstance(found, ErrorCode):
                    answer.error_code = found
                else:
                    size = self._read(found, asked, answer, left, total == 0)
                    total += size
                    left = max(0, left - size)
                wrong = wrong or answer.error_code != 0 or answer.diverging_epoch is not None
            topics.append(_Topic(topic=topic.topic, topic_id=topic.topic_id, partitions=answers))
        if not (final or wrong) and total < body.min_bytes and body.max_wait_ms > 0:
            return None
        return FetchResponse(version=version, error_code=0, session_id=0, responses=topics)

    def _read(self, topic: Any, asked: Any, answer: Any, left: int, first: bool) -> int:
        try:
            partition = self._broker.partition(topic, asked.partition)
            if partition is None:
                answer.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                return 0
            answer.error_code = fenced(self._broker, asked.current_leader_epoch)
            if answer.error_code:
                return 0
            self._watched.append(partition)
            found = None
            if not _diverged(partition, asked, answer):
                found = partition.read(asked.fetch_offset, min(left, asked.partition_max_bytes), first)
        except OffsetOutOfRange:
            answer.error_code = ErrorCode.OFFSET_OUT_OF_RANGE
            return 0
        except OSError:
            answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR
            return 0
        answer.high_watermark = answer.last_stable_offset = partition.synced
        answer.log_start_offset = partition.start
        if found is None:
            return 0
        answer.records = [FileRange(*found)]
        return found.size

    def park(self) -> Deferred[Any]:
        self._parked = Deferred(lambda _: self._leave())
        self._timer = self._broker.reactor.callLater(
            self._request.body.max_wait_ms / 1000, self._answer, True
        )
        self._watch()
        return self._parked

    def _watch(self) -> None:
        for partition in self._watched:
            partition.watchers.add(self._grown)

    def _unwatch(self) -> None:
        for partition in self._watched:
            partition.watchers.discard(self._grown)

    def _grown(self) -> None:
        # what else this round of syncs brought is waited for, so that one answer carries it all
        if self._soon is None:
            self._soon = self._broker.reactor.callLater(0, self._answer)

    def _answer(self, final: bool = False) -> None:
        self._unwatch()
        if final:
            self._timer = None
        else:
            self._soon = None
        response = self.gather(final)
        if response is None:
            self._watch()
            return
        self._leave()
        if self._parked is not None:
            self._parked.callback(response)

    def _leave(self) -> None:
        """Nothing will call back any more."""
        self._unwatch()
        for call in (self._timer, self._soon):
            if call is not None:
                call.cancel()
        self._timer = self._soon = None


def _diverged(partition: Partition, asked: Any, answer: Any) -> bool:
    """Whether what was fetched last is not there any more (KIP-595): then the answer says up to where it may be.

    Raises `OffsetOutOfRange`.
    """
    if asked.last_fetched_epoch == NONE:
        return False
    epoch, end = partition.epochs.end_of(asked.last_fetched_epoch, partition.synced)
    if end < 0 or asked.fetch_offset < partition.start:
        raise OffsetOutOfRange(f"{asked.fetch_offset}, read in epoch {asked.last_fetched_epoch}")
    if epoch == asked.last_fetched_epoch and end >= asked.fetch_offset:
        return False
    answer.diverging_epoch = _Partition.EpochEndOffset(epoch=epoch, end_offset=end)
    return True
