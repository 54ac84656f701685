"""One JVM that runs Kafka's tools one after the other (Driver.java)."""

import json
import pathlib
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs

from tests.e2e.java.artifacts import class_path

CLASSES: Final[Mapping[str, str]] = {
    "kafka-topics": "TopicCommand",
    "kafka-configs": "ConfigCommand",
    "kafka-acls": "AclCommand",
    "kafka-reassign-partitions": "reassign.ReassignPartitionsCommand",
    "kafka-leader-election": "LeaderElectionCommand",
    "kafka-metadata-quorum": "MetadataQuorumCommand",
    "kafka-features": "FeatureCommand",
    "kafka-cluster": "ClusterTool",
    "kafka-broker-api-versions": "BrokerApiVersionsCommand",
    "kafka-client-metrics": "ClientMetricsCommand",
    "kafka-delegation-tokens": "DelegationTokenCommand",
    "kafka-storage": "StorageTool",
    "kafka-dump-log": "DumpLogSegments",
    "kafka-metadata-shell": "MetadataShell",
    "kafka-transactions": "TransactionsCommand",
    "kafka-producer-perf-test": "ProducerPerformance",
    "kafka-consumer-perf-test": "ConsumerPerformance",
    "kafka-console-share-consumer": "consumer.ConsoleShareConsumer",
}
"""The scripts' names, and what they run; in which package differs between versions."""

_PACKAGES: Final = ("org.apache.kafka.tools.", "org.apache.kafka.shell.", "kafka.admin.", "kafka.tools.")
_FLAGS: Final = (
    "-XX:TieredStopAtLevel=1",  # the tools live too short for more
    "-XX:+UseSerialGC",
    "-Xss512k",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.tools=error",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.admin=error",
    "-Dorg.slf4j.simpleLogger.log.kafka.admin=error",
)
_TOOL_WITHIN_S: Final = 90.0
"""A tool gives up by itself after 60 s without an answer."""


@attrs.frozen
class Ran:
    """What a tool did."""

    exit: int
    out: str
    err: str


class Jvm:
    """A process that is told what to run; ended with the block.

    `line` in `_read` is the only place that waits, and no longer than for a tool that has hung.
    """

    def __init__(self, version: str, flags: Sequence[str] = (), classes: str | None = None) -> None:
        """classes: a class path instead of that of all tools."""
        classes = classes or class_path(version)
        driver = pathlib.Path(__file__).with_name("Driver.java")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            ["java", *_FLAGS, *flags, "-cp", classes, str(driver)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def run(self, tool: str, args: Sequence[str]) -> Ran:
        """A tool by its script's name, until it exits."""
        names = [package + CLASSES[tool] for package in _PACKAGES]
        answer = self._ask(main=names, args=list(args))
        return Ran(exit=answer["exit"], out=answer["out"], err=answer["err"])

    def start(self, main: str, *args: str) -> None:
        """A server in the background; it ends with the JVM."""
        self._ask(main=[main], args=args, background=True)

    def said(self) -> str:
        """What servers have printed since this was asked."""
        answer = self._ask(output=True)
        return str(answer["out"] + answer["err"])

    def _ask(self, **question: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + _TOOL_WITHIN_S
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            got = self._process.stdout.read(1 << 16) if ready else b""
            if not got:
                self._process.kill()
                self._errors.seek(0)
                why = "ended" if ready else f"said nothing for {_TOOL_WITHIN_S:.0f} s"
                raise RuntimeError(f"The JVM {why}:\n{self._errors.read()[-3000:]}")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return line
