"""One of Kafka's own brokers as a process: started, watched, killed, stopped in order (shell)."""

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

import trio

from quorate.admin.kafka_broker_files import KafkaBrokerFiles

MAIN_CLASS: Final = "kafka.Kafka"
STOP_WITHIN_S: Final = 30.0
"""So long may an orderly stop take; then the process is killed."""
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


class KafkaProcess:
    """A broker and, while it runs, its process."""

    def __init__(
        self, files: KafkaBrokerFiles, *, java: str, class_path: str, flags: Sequence[str] = ()
    ) -> None:
        self.files = files
        self._command = [java, *_heap(), *_FLAGS, *flags, "-cp", class_path, MAIN_CLASS, str(files.config)]
        self._process: trio.Process | None = None
        self._told_to_end = False

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def pid(self) -> int | None:
        """Of the running process; None: it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ended_by_itself(self) -> bool:
        """It was started, nobody here told it to end, and it has."""
        return self._process is not None and not self.running and not self._told_to_end

    async def start(self) -> None:
        """Starts the process unless it runs; when it serves is the quorum's to say."""
        if self.running:
            return
        self._told_to_end = False
        with self.files.log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: what a power cut is to a process."""
        self._told_to_end = True
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: controlled shutdown."""
        self._told_to_end = True
        self._signal(signal.SIGTERM)

    async def wait(self) -> int:
        """How its process ended: the exit code, or minus the signal."""
        return 0 if self._process is None else await self._process.wait()

    async def stop(self, within_s: float = STOP_WITHIN_S) -> int:
        """Shuts it down in order, or kills it if that takes too long."""
        self.terminate()
        with trio.move_on_after(within_s):
            return await self.wait()
        self.kill()
        return await self.wait()

    def last_words(self) -> str:
        """What it said of its trouble, else the end of what it said."""
        try:
            lines = self.files.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        trouble = [line for line in lines if any(word in line for word in _TROUBLE)]
        return "\n".join((trouble or lines)[-_LAST_WORDS:])

    def _signal(self, number: int) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)


def _heap() -> list[str]:
    return os.environ.get(_HEAP, _DEFAULT_HEAP).split()
