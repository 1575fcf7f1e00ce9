"""DescribeConfigs and IncrementalAlterConfigs, for topics and for the broker itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.client import NODE_ID, Broker, Client
from eson.brokers.embedded.server.rights import ALTER_CONFIGS, DESCRIBE_CONFIGS
from eson.brokers.embedded.server.topic_configs import LONG, SETTINGS, InvalidConfig, check_configs
from eson.brokers.embedded.server.topics import apply_limits, is_legal
from eson.brokers.kafka.wire.apis import DescribeConfigsResponse, IncrementalAlterConfigsResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

TOPIC_RESOURCE, BROKER_RESOURCE = 2, 4
SET, REMOVE, APPEND, SUBTRACT = 0, 1, 2, 3
_TOPIC_SOURCE, _STATIC_SOURCE, _DEFAULT_SOURCE = 1, 4, 5
_Result = DescribeConfigsResponse.DescribeConfigsResult
_Config = _Result.DescribeConfigsResourceResult


def describe_configs(broker: Broker, client: Client, request: Request) -> Any:
    results = []
    for asked in request.body.resources or ():
        result = _Result(
            error_code=0,
            error_message=None,
            resource_type=asked.resource_type,
            resource_name=asked.resource_name,
            configs=[],
        )
        results.append(result)
        wanted = asked.configuration_keys
        if asked.resource_type == TOPIC_RESOURCE and not is_legal(asked.resource_name):
            result.error_code = ErrorCode.INVALID_TOPIC_EXCEPTION
            continue
        if asked.resource_type == TOPIC_RESOURCE:
            found = broker.find(client, DESCRIBE_CONFIGS, asked.resource_name)
            if isinstance(found, ErrorCode):
                result.error_code = found
                continue
            described = _topic_configs(broker, found.configs, request.body)
        elif asked.resource_type == BROKER_RESOURCE:
            if not broker.may_cluster(client, DESCRIBE_CONFIGS):
                result.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
                continue
            if asked.resource_name not in ("", str(NODE_ID)):
                result.error_code = ErrorCode.INVALID_REQUEST
                result.error_message = (
                    f"Unexpected broker id, expected {NODE_ID}, but received {asked.resource_name}"
                )
                continue
            described = [] if asked.resource_name == "" else _broker_configs(broker, request.body)
        else:
            result.error_code = ErrorCode.INVALID_REQUEST
            result.error_message = f"Unsupported resource type: {asked.resource_type}"
            continue
        result.configs = [config for config in described if not wanted or config.name in wanted]
    return DescribeConfigsResponse(version=request.version, results=results)


def _topic_configs(broker: Broker, configs: Mapping[str, str], body: Any) -> list[Any]:
    described = []
    for name, setting in SETTINGS.items():
        default = str(broker.retention_ms) if name == "retention.ms" else setting.default
        synonyms = [(name, configs[name], _TOPIC_SOURCE)] if name in configs else []
        synonyms.append((setting.server_name, default, _DEFAULT_SOURCE))
        described.append(_config(name, synonyms, setting.kind, setting.about, body))
    return described


def _broker_configs(broker: Broker, body: Any) -> list[Any]:
    return [
        _config(name, [(name, value, _STATIC_SOURCE)], LONG, about, body, read_only=True)
        for name, value, about in (
            ("broker.id", str(NODE_ID), "There is one broker."),
            (
                "log.retention.ms",
                str(broker.retention_ms),
                "How long topics without a setting of their own keep.",
            ),
            ("auto.create.topics.enable", "false", "Topics are made by CreateTopics only."),
        )
    ]


def _config(
    name: str, synonyms: list[tuple[str, str, int]], kind: int, about: str, body: Any, read_only: bool = False
) -> Any:
    _, value, source = synonyms[0]
    return _Config(
        name=name,
        value=value,
        read_only=read_only,
        config_source=source,
        is_sensitive=False,
        synonyms=[
            _Config.DescribeConfigsSynonym(name=synonym, value=text, source=where)
            for synonym, text, where in synonyms
        ]
        if body.include_synonyms
        else [],
        config_type=kind,
        documentation=about if body.include_documentation else None,
    )


async def incremental_alter_configs(broker: Broker, client: Client, request: Request) -> Any:
    """Changes settings of topics; those of the broker stand in `eson.yaml`."""
    responses = []
    for asked in request.body.resources or ():
        response = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse(
            error_code=0,
            error_message=None,
            resource_type=asked.resource_type,
            resource_name=asked.resource_name,
        )
        responses.append(response)
        try:
            async with broker.catalogue.lock:
                await _alter(broker, client, asked, request.body.validate_only, response)
        except InvalidConfig as error:
            response.error_code, response.error_message = ErrorCode.INVALID_CONFIG, str(error)
        except StorageFailed as error:
            response.error_code, response.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
    return IncrementalAlterConfigsResponse(version=request.version, responses=responses)


async def _alter(broker: Broker, client: Client, asked: Any, validate_only: bool, response: Any) -> None:
    if asked.resource_type != TOPIC_RESOURCE:
        response.error_code = ErrorCode.INVALID_REQUEST
        if asked.resource_type == BROKER_RESOURCE and not broker.may_cluster(client, ALTER_CONFIGS):
            response.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        response.error_message = "Only settings of topics can be changed here"
        return
    if not asked.resource_name:
        response.error_code = ErrorCode.INVALID_REQUEST
        response.error_message = "A topic must be named: there are no settings of all topics"
        return
    topic = broker.find(client, ALTER_CONFIGS, asked.resource_name)
    if isinstance(topic, ErrorCode):
        response.error_code = topic
        return
    names = [config.name for config in asked.configs or ()]
    if len(set(names)) != len(names):
        response.error_code = ErrorCode.INVALID_REQUEST
        response.error_message = "Error due to duplicate config keys"
        return
    if any(config.value is None and config.config_operation != REMOVE for config in asked.configs or ()):
        response.error_code = ErrorCode.INVALID_REQUEST
        response.error_message = "Null value not supported"
        return
    changed = dict(topic.configs)
    for config in asked.configs or ():
        _change(changed, config)
    check_configs(changed)
    if not validate_only:
        apply_limits(broker, await broker.catalogue.change_topic(topic, configs=changed))


def _change(configs: dict[str, str], config: Any) -> None:
    if config.config_operation == REMOVE:
        if config.name not in SETTINGS:
            raise InvalidConfig(f"Unknown topic config name: {config.name}")
        configs.pop(config.name, None)
        return
    if config.config_operation == SET:
        configs[config.name] = config.value
    elif config.config_operation == APPEND and config.name == "cleanup.policy":
        present = configs.get(config.name, SETTINGS[config.name].default).split(",")
        configs[config.name] = ",".join(dict.fromkeys((*present, config.value)))
    else:
        raise InvalidConfig(f"Config value append or subtract is not allowed for config key: {config.name}")
