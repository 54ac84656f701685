"""What lies in a broker's log directories: the request, as values that no version colours (KIP-113, KIP-827)."""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class DescribableLogDirTopic:
    topic: str
    partitions: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeLogDirsRequest:
    api_key: ClassVar[int] = 35

    topics: tuple[DescribableLogDirTopic, ...] | None = None
    """None: all."""


@attrs.frozen(kw_only=True)
class DescribeLogDirsPartition:
    partition_index: int
    partition_size: int
    offset_lag: int
    is_future_key: bool = False


@attrs.frozen(kw_only=True)
class DescribeLogDirsTopic:
    name: str
    partitions: tuple[DescribeLogDirsPartition, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeLogDirsResult:
    error_code: ErrorCode = ErrorCode.none
    log_dir: str
    topics: tuple[DescribeLogDirsTopic, ...] = ()
    total_bytes: int = -1
    """Of the volume."""
    usable_bytes: int = -1
    is_cordoned: bool = False


@attrs.frozen(kw_only=True)
class DescribeLogDirsResponse:
    api_key: ClassVar[int] = 35

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    results: tuple[DescribeLogDirsResult, ...] = ()
