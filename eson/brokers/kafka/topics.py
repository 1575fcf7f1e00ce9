"""Queues as Kafka's topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eson.brokers.kafka.failures import Answered, answered
from eson.brokers.kafka.net.cluster import Cluster, Topic
from eson.brokers.kafka.net.coalescing import Coalescer
from eson.brokers.kafka.wire.apis import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
)
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.port import Queue
from eson.errors import Conflict, NoSuch

RETENTION_MS, RETENTION_BYTES = "retention.ms", "retention.bytes"
_TOPIC_RESOURCE = 2
_SET_ON_TOPIC = 1
"""DescribeConfigs: where a value comes from, DYNAMIC_TOPIC_CONFIG."""
_SET, _DELETE = 0, 1
"""IncrementalAlterConfigs: what to do with a value."""
_MISSING = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)


@dataclass(frozen=True)
class _Wanted:
    name: str
    partitions: int
    settings: tuple[tuple[str, str], ...]


class Topics:
    """Creates, describes, changes and deletes topics; run every call in `Cluster.within`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._create = Coalescer(self._create_all, lambda wanted: wanted.name)
        self._delete = Coalescer(self._delete_all, lambda name: name)

    async def create(
        self, name: str, partitions: int, retention_ms: int | None, retention_bytes: int | None
    ) -> Queue:
        """Waits until every partition has a leader.  Raises `Conflict`."""
        wanted = _Wanted(name, partitions, _settings(retention_ms, retention_bytes))
        created = await self._cluster.retrying(lambda: self._created(wanted))
        if not created:
            existing = await self.describe(name)
            if existing is not None:
                if existing.partitions != partitions:
                    raise Conflict(f"queue {name} has {existing.partitions} partitions")
                return existing
        topic = await self._appeared(name, partitions)
        return Queue(name, partitions, _id(topic), retention_ms, retention_bytes)

    async def _created(self, wanted: _Wanted) -> bool:
        code, message = await self._create(wanted)
        if code == ErrorCode.TOPIC_ALREADY_EXISTS:
            return False
        if code:
            raise answered(self._cluster.name, code, f"create queue {wanted.name}", message)
        return True

    async def _create_all(self, wanted: Sequence[_Wanted]) -> Sequence[tuple[int, str | None]]:
        topic = CreateTopicsRequest.CreatableTopic
        topics = [
            topic(
                name=one.name,
                num_partitions=one.partitions,
                replication_factor=-1,
                assignments=[],
                configs=[topic.CreatableTopicConfig(name=key, value=value) for key, value in one.settings],
            )
            for one in wanted
        ]
        response = await self._cluster.to_controller(
            CreateTopicsRequest(topics=topics, timeout_ms=self._timeout_ms, validate_only=False)
        )
        results = {t.name: (t.error_code, t.error_message) for t in response.topics}
        return [results.get(one.name, _NOTHING_SAID) for one in wanted]

    async def _appeared(self, name: str, partitions: int) -> Topic:
        seen: dict[str, Topic] = {}

        async def whole() -> bool:
            seen.update(await self._cluster.metadata([name]))
            topic = seen.get(name)
            return topic is not None and len(topic.leaders) >= partitions and min(topic.leaders.values()) >= 0

        await self._cluster.until(whole)
        return seen[name]

    async def describe(self, name: str) -> Queue | None:
        """A retention is told only where somebody set it on the topic."""
        topic = (await self._cluster.metadata([name])).get(name)
        if topic is None:
            return None
        settings = await self._settings_of(name)
        if settings is None:
            return None
        return Queue(
            name,
            len(topic.leaders),
            _id(topic),
            _number(settings.get(RETENTION_MS)),
            _number(settings.get(RETENTION_BYTES)),
        )

    async def _settings_of(self, name: str) -> dict[str, str] | None:
        resource = DescribeConfigsRequest.DescribeConfigsResource
        asked = resource(
            resource_type=_TOPIC_RESOURCE,
            resource_name=name,
            configuration_keys=[RETENTION_MS, RETENTION_BYTES],
        )
        response = await self._cluster.any(DescribeConfigsRequest(resources=[asked], include_synonyms=False))
        (result,) = response.results
        if result.error_code in _MISSING:
            return None
        if result.error_code:
            raise answered(self._cluster.name, result.error_code, f"describe {name}", result.error_message)
        return {c.name: c.value for c in result.configs if c.config_source == _SET_ON_TOPIC}

    async def update(self, name: str, retention_ms: int | None, retention_bytes: int | None) -> None:
        """None gives a setting back to the broker's default.  Raises `NoSuch`."""
        resource: Any = IncrementalAlterConfigsRequest.AlterConfigsResource
        chosen = dict(_settings(retention_ms, retention_bytes))
        changes = [
            resource.AlterableConfig(
                name=key, config_operation=_SET if key in chosen else _DELETE, value=chosen.get(key)
            )
            for key in (RETENTION_MS, RETENTION_BYTES)
        ]
        asked = resource(resource_type=_TOPIC_RESOURCE, resource_name=name, configs=changes)
        request = IncrementalAlterConfigsRequest(resources=[asked], validate_only=False)
        await self._cluster.retrying(lambda: self._update(name, request))
        await self._cluster.until(lambda: self._has_settings(name, chosen))

    async def _update(self, name: str, request: Any) -> None:
        response = await self._cluster.to_controller(request)
        (result,) = response.responses
        if result.error_code in _MISSING:
            raise NoSuch("queue", name)
        if result.error_code:
            raise answered(self._cluster.name, result.error_code, f"change {name}", result.error_message)

    async def _has_settings(self, name: str, chosen: dict[str, str]) -> bool:
        return await self._settings_of(name) in (chosen, None)

    async def add_partitions(self, name: str, partitions: int) -> None:
        """Raises `NoSuch`, `Conflict` for fewer than there are."""
        have = len((await self._cluster.topic(name)).leaders)
        if partitions < have:
            raise Conflict(f"queue {name} has {have} partitions, which cannot become fewer")
        if partitions > have:
            await self._cluster.retrying(lambda: self._add_partitions(name, partitions))
            await self._appeared(name, partitions)

    async def _add_partitions(self, name: str, partitions: int) -> None:
        entry = CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=partitions, assignments=None)
        response = await self._cluster.to_controller(
            CreatePartitionsRequest(topics=[entry], timeout_ms=self._timeout_ms, validate_only=False)
        )
        (result,) = response.results
        if result.error_code == ErrorCode.INVALID_PARTITIONS:
            return  # somebody else added them meanwhile: what follows looks
        if result.error_code:
            raise answered(
                self._cluster.name, result.error_code, f"add partitions to {name}", result.error_message
            )

    async def delete(self, name: str) -> None:
        """Waits until it is gone; success too if there was none."""
        await self._cluster.retrying(lambda: self._deleted(name))
        await self._cluster.until(lambda: self._gone(name))

    async def _deleted(self, name: str) -> None:
        code = await self._delete(name)
        if code and code not in _MISSING:
            raise answered(self._cluster.name, code, f"delete queue {name}")

    async def _delete_all(self, names: Sequence[str]) -> Sequence[int]:
        response = await self._cluster.to_controller(
            DeleteTopicsRequest(topic_names=list(names), timeout_ms=self._timeout_ms)
        )
        results = {result.name: int(result.error_code) for result in response.responses}
        return [results.get(name, int(ErrorCode.UNKNOWN_SERVER_ERROR)) for name in names]

    async def _gone(self, name: str) -> bool:
        try:
            return name not in await self._cluster.metadata([name])
        except Answered:
            return False

    async def names(self) -> Sequence[str]:
        """All topics but Kafka's own."""
        topics = await self._cluster.metadata(None)
        return sorted(topic.name for topic in topics.values() if not topic.internal)

    @property
    def _timeout_ms(self) -> int:
        return int(self._cluster.timeout * 1000)


_NOTHING_SAID = (int(ErrorCode.UNKNOWN_SERVER_ERROR), None)


def _settings(retention_ms: int | None, retention_bytes: int | None) -> tuple[tuple[str, str], ...]:
    pairs = ((RETENTION_MS, retention_ms), (RETENTION_BYTES, retention_bytes))
    return tuple((key, str(value)) for key, value in pairs if value is not None)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _id(topic: Topic) -> str:
    return "" if topic.id is None else str(topic.id)
