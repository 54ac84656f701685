"""Reading and changing configs: the requests, as values that no version colours.

Names and meaning are those of Kafka's message definitions (KIP-133, KIP-226, KIP-339). The numbers for
resource types, operations, sources and types are Kafka's; `config_keys` names them.
"""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class IncrementalAlterableConfig:
    name: str
    config_operation: int
    value: str | None = None


@attrs.frozen(kw_only=True)
class IncrementalAlterConfigsResource:
    resource_type: int
    resource_name: str
    configs: tuple[IncrementalAlterableConfig, ...] = ()


@attrs.frozen(kw_only=True)
class IncrementalAlterConfigsRequest:
    api_key: ClassVar[int] = 44

    resources: tuple[IncrementalAlterConfigsResource, ...] = ()
    validate_only: bool = False


@attrs.frozen(kw_only=True)
class AlterConfigsResourceResponse:
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    resource_type: int
    resource_name: str


@attrs.frozen(kw_only=True)
class IncrementalAlterConfigsResponse:
    api_key: ClassVar[int] = 44

    throttle_time_ms: int = 0
    responses: tuple[AlterConfigsResourceResponse, ...] = ()


@attrs.frozen(kw_only=True)
class AlterableConfig:
    name: str
    value: str | None = None


@attrs.frozen(kw_only=True)
class AlterConfigsResource:
    resource_type: int
    resource_name: str
    configs: tuple[AlterableConfig, ...] = ()


@attrs.frozen(kw_only=True)
class AlterConfigsRequest:
    api_key: ClassVar[int] = 33

    resources: tuple[AlterConfigsResource, ...] = ()
    validate_only: bool = False


@attrs.frozen(kw_only=True)
class AlterConfigsResponse:
    api_key: ClassVar[int] = 33

    throttle_time_ms: int = 0
    responses: tuple[AlterConfigsResourceResponse, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeConfigsResource:
    resource_type: int
    resource_name: str
    configuration_keys: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class DescribeConfigsRequest:
    api_key: ClassVar[int] = 32

    resources: tuple[DescribeConfigsResource, ...] = ()
    include_synonyms: bool = False
    include_documentation: bool = False


@attrs.frozen(kw_only=True)
class DescribeConfigsSynonym:
    name: str
    value: str | None = None
    source: int


@attrs.frozen(kw_only=True)
class DescribeConfigsResourceResult:
    name: str
    value: str | None = None
    read_only: bool
    config_source: int = -1
    is_sensitive: bool
    synonyms: tuple[DescribeConfigsSynonym, ...] = ()
    config_type: int = 0
    documentation: str | None = None


@attrs.frozen(kw_only=True)
class DescribeConfigsResult:
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    resource_type: int
    resource_name: str
    configs: tuple[DescribeConfigsResourceResult, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeConfigsResponse:
    api_key: ClassVar[int] = 32

    throttle_time_ms: int = 0
    results: tuple[DescribeConfigsResult, ...] = ()


@attrs.frozen(kw_only=True)
class ListConfigResourcesRequest:
    """Which things there are that may have configs (KIP-714, KIP-1142)."""

    api_key: ClassVar[int] = 74

    resource_types: tuple[int, ...] = (16,)
    """Empty: all. Version 0 has no such field, and means client metrics."""


@attrs.frozen(kw_only=True)
class ConfigResource:
    resource_name: str
    resource_type: int = 16


@attrs.frozen(kw_only=True)
class ListConfigResourcesResponse:
    api_key: ClassVar[int] = 74

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    config_resources: tuple[ConfigResource, ...] = ()
