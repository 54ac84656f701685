"""A process that is started here: watched, told to end, killed, stopped in order (shell). What runs in it is said by
those who derive from it: a node (`cluster`), one of Kafka's own brokers (`kafka_process`)."""

import abc
import pathlib
import signal
import subprocess
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import trio


class Files(Protocol):
    """What is known of a process before it runs."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> pathlib.Path:
        """Where all that it says goes."""
        ...


AnyFiles = TypeVar("AnyFiles", bound=Files)


class ChildProcess(abc.ABC, Generic[AnyFiles]):
    """One that may be started again and again. It has a session of its own: Ctrl-C in a terminal does not reach it."""

    stop_within_s: float
    """So long may an orderly stop take; then the process is killed."""
    _stdin = subprocess.DEVNULL

    def __init__(self, files: AnyFiles) -> None:
        self.files = files
        self._process: trio.Process | None = None
        self._told_to_end = False

    @abc.abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> Mapping[str, str] | None:
        """None: this process's own."""
        return None

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
        """Starts the process unless it runs; whether it is of any use is for others to find out."""
        if self.running:
            return
        self._told_to_end = False
        with self.files.log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                self._command(),
                stdin=self._stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment(),
            )

    def kill(self) -> None:
        """SIGKILL: what a power cut is to a process."""
        self._told_to_end = True
        self._signal(signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP: it hangs, with its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: it shuts down in order."""
        self._told_to_end = True
        self._signal(signal.SIGTERM)

    async def wait(self) -> int:
        """How its process ended: the exit code, or minus the signal."""
        return 0 if self._process is None else await self._process.wait()

    async def stop(self, within_s: float | None = None) -> int:
        """Shuts it down in order, or kills it if that takes too long (None: `stop_within_s`)."""
        self.terminate()
        with trio.move_on_after(self.stop_within_s if within_s is None else within_s):
            return await self.wait()
        self.kill()
        return await self.wait()

    def lines(self) -> list[str]:
        """What it said so far."""
        try:
            return self.files.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _signal(self, number: int) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)
