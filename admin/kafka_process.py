"""One of Kafka's own brokers as a process: started, watched, killed, stopped in order (shell)."""

import os
from collections.abc import Sequence
from typing import Final

from quorate.admin.child_process import ChildProcess
from quorate.admin.kafka_broker_files import KafkaBrokerFiles

MAIN_CLASS: Final = "kafka.Kafka"
_HEAP: Final = "KAFKA_HEAP_OPTS"
_DEFAULT_HEAP: Final = "-Xmx512m"
_FLAGS: Final = (
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    # Where slf4j-simple writes the log, it is for people.
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
_LAST_WORDS: Final = 12
_TROUBLE: Final = ("ERROR", "FATAL", "Exception")


class KafkaProcess(ChildProcess[KafkaBrokerFiles]):
    """A broker and, while it runs, its process. When it serves is the quorum's to say."""

    stop_within_s = 30.0

    def __init__(
        self, files: KafkaBrokerFiles, *, java: str, class_path: str, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(files)
        self._java = [java, *_heap(), *_FLAGS, *flags, "-cp", class_path]

    def _command(self) -> list[str]:
        return [*self._java, MAIN_CLASS, str(self.files.config)]

    def last_words(self) -> str:
        """What it said of its trouble, else the end of what it said."""
        lines = self.lines()
        trouble = [line for line in lines if any(word in line for word in _TROUBLE)]
        return "\n".join((trouble or lines)[-_LAST_WORDS:])


def _heap() -> list[str]:
    return os.environ.get(_HEAP, _DEFAULT_HEAP).split()
