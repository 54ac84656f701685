"""The log's contract on both logs: on files, and in memory."""

from pathlib import Path

from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.interface import Log
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from tests.contracts.log_contract import LogContract

SMALL = LogConfig(segment_bytes=1, preallocate_bytes=4096, reserve_bytes=4096)
"""A segment for each batch."""
WIDE = LogConfig(segment_bytes=1 << 20, preallocate_bytes=4096, reserve_bytes=4096, tail_cache_batches=1)
"""One segment for all, and next to nothing in memory: reads go to the file."""


class OnFiles(LogContract):
    config = LogConfig(preallocate_bytes=4096, reserve_bytes=4096)

    def make(self, directory: Path) -> Log:
        log, _ = SegmentedLog.open(RealFiles(), directory, self.config)
        return log

    def reopened(self, log: Log, directory: Path) -> Log:
        log.close()
        return self.make(directory)


class TestManySegments(OnFiles):
    config = SMALL


class TestOneSegment(OnFiles):
    config = WIDE
    lets_go_in_segments = True


class TestInMemory(LogContract):
    def make(self, directory: Path) -> Log:
        return MemoryLog()
