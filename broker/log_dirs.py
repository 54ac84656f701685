"""The answer to DescribeLogDirs of a broker that keeps no topic's data (shell: it looks at a disk)."""

import pathlib
import shutil

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.wire import log_dirs


def describe_log_dirs(directory: pathlib.Path | None) -> log_dirs.DescribeLogDirsResponse:
    """The broker's directory, if it has one, and nothing in it. Kafka's kafka-reassign-partitions asks before it plans.

    Raises:
        RequestRejected: KAFKA_STORAGE_ERROR; the disk cannot be looked at.
    """
    if directory is None:
        return log_dirs.DescribeLogDirsResponse()
    path = directory.absolute()
    try:
        disk = shutil.disk_usage(path)
    except OSError as error:
        raise RequestRejected(ErrorCode.kafka_storage_error, f"{path}: {error.strerror}") from error
    found = log_dirs.DescribeLogDirsResult(log_dir=str(path), total_bytes=disk.total, usable_bytes=disk.free)
    return log_dirs.DescribeLogDirsResponse(results=(found,))
