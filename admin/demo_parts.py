"""What the demo measures and checks: a client that writes, who leads, the nodes' own words, what is there then."""

import contextlib
import datetime
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final, Self

import attrs
import trio

from quorate.admin.asking import Session
from quorate.admin.cluster_files import ClusterFiles, NodeFiles
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.live_log import LiveLog, LoadedSnapshot
from quorate.admin.output import Form, Printer
from quorate.admin.ports import LOOPBACK
from quorate.admin.quorum_view import describe_quorum
from quorate.admin.talk import Manner, ask, failed, talking
from quorate.metadata.addresses import Address, parse_servers
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, OutcomeUnknown, open_client
from quorate.metadata.config_keys import AlterOperation, ResourceType
from quorate.metadata.ids import NodeId
from quorate.metadata.records import ConfigRecord
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest

TOPIC: Final = "orders"
TOPICS: Final = {TOPIC: 6, "payments": 3, "clicks": 12}
_KEY: Final = "retention.ms"
_FIRST_VALUE: Final = 1_000_000
_TIMEOUT_MS: Final = 10_000
_LOOK_AGAIN_S: Final = 0.005
_TRY_AGAIN: Final = (ErrorCode.request_timed_out, ErrorCode.not_controller, ErrorCode.kafka_storage_error)
"""Of these the first leaves the outcome open, the others say that nothing was done."""


# --- the client


@attrs.frozen
class Acknowledged:
    """A change that the cluster has promised to keep. Times are monotonic seconds."""

    value: str
    sent: float
    at: float


class Writer:
    """Sets one config to one value after the other, and remembers what was acknowledged."""

    def __init__(self, client: ClusterClient) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.unanswered = 0
        self._client = client
        self._go = trio.Event()
        self._stopping = False
        self._stopped = trio.Event()
        self._news = trio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def writing(cls, files: ClusterFiles) -> AsyncIterator[Self]:
        """A writer that works from `go` to `stop`."""
        failure: Exception | None = None
        async with open_client(parse_servers(files.bootstrap.split(",")), security=files.login()) as client:
            writer = cls(client)
            async with trio.open_nursery() as nursery:
                try:
                    nursery.start_soon(writer._run)
                    yield writer
                except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
                    failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def go(self) -> None:
        self._go.set()

    async def stop(self) -> None:
        """After the change that is under way."""
        self._stopping = True
        await self._stopped.wait()

    async def acknowledged_after(self, moment: float) -> None:
        """Waits for a change that was sent and acknowledged after a moment."""
        while not self.acknowledged or self.acknowledged[-1].at <= moment:
            await self._news.wait()

    def longest_wait_since(self, moment: float, known: int) -> float:
        """The longest time without an acknowledgement after a moment; `known` had been acknowledged then."""
        times = [moment, *(one.at for one in self.acknowledged[known:])]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def latencies_ms(self) -> tuple[float, float]:
        """p50 and p99 of all so far."""
        took = sorted((one.at - one.sent) * 1000 for one in self.acknowledged)
        if not took:
            raise NoAnswer("No change was acknowledged.")
        return statistics.median(took), took[int(len(took) * 0.99)]

    async def _run(self) -> None:
        await self._go.wait()
        value = _FIRST_VALUE
        while not self._stopping:
            value += 1
            await self._write(str(value))
        self._stopped.set()

    async def _write(self, value: str) -> None:
        change = IncrementalAlterableConfig(name=_KEY, config_operation=AlterOperation.SET, value=value)
        resource = IncrementalAlterConfigsResource(
            resource_type=ResourceType.TOPIC, resource_name=TOPIC, configs=(change,)
        )
        request = IncrementalAlterConfigsRequest(resources=(resource,))
        sent = time.monotonic()
        while True:
            try:
                response = await self._client.call_controller(request, _TIMEOUT_MS)
            except OutcomeUnknown:
                self.unanswered += 1  # setting the same value again does no harm
                continue
            error = response.responses[0]
            if error.error_code is ErrorCode.none:
                break
            if error.error_code not in _TRY_AGAIN:
                raise Refused(
                    "A change was refused.", why=f"{error.error_code.name.upper()}: {error.error_message}"
                )
            self.unanswered += 1
        self.acknowledged.append(Acknowledged(value, sent, time.monotonic()))
        news, self._news = self._news, trio.Event()
        news.set()


async def create_topics(files: ClusterFiles) -> list[tuple[str, int]]:
    """Creates them in one request; (name, partitions) of each.

    Raises:
        Refused: one was not created.
    """
    wanted = tuple(
        CreatableTopic(name=name, num_partitions=partitions, replication_factor=2)
        for name, partitions in TOPICS.items()
    )
    async with open_client(parse_servers(files.bootstrap.split(",")), security=files.login()) as client:
        response = await client.call_controller(CreateTopicsRequest(topics=wanted), _TIMEOUT_MS)
    for topic in response.topics:
        if topic.error_code is not ErrorCode.none:
            why = f"{topic.error_code.name.upper()}: {topic.error_message}"
            raise Refused(f"Topic {topic.name} was not created.", why=why)
    return [(topic.name, topic.num_partitions) for topic in response.topics]


# --- the election


class LeaderWatch:
    """Asks the survivors all the time whom they take for the active controller."""

    def __init__(self, dead: NodeId) -> None:
        self.found = trio.Event()
        self.found_at = 0.0
        self._dead = dead
        self._leader: int | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def watching(cls, survivors: Sequence[NodeFiles], dead: NodeId) -> AsyncIterator[Self]:
        watch = cls(dead)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            for node in survivors:
                nursery.start_soon(watch._ask, node)
            try:
                yield watch
            except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def new_leader_text(self) -> str:
        return f"clients are told that controller {self._leader} is the active one"

    async def _ask(self, node: NodeFiles) -> None:
        """Over one connection, so that the asking itself takes no time worth mentioning."""
        request = MetadataRequest(topics=(), allow_auto_topic_creation=False)
        async with talking(Address(LOOPBACK, node.port), Manner(timeout_ms=_TIMEOUT_MS)) as connection:
            while not self.found.is_set():
                answer = await connection.call(request, _TIMEOUT_MS)
                if answer.controller_id not in (-1, self._dead):
                    self._leader = answer.controller_id
                    self.found_at = time.monotonic()
                    self.found.set()
                await trio.sleep(_LOOK_AGAIN_S)


class NodeLogs:
    """What nodes say from now on, in their own logs (one JSON object a line)."""

    def __init__(self, nodes: Iterable[NodeFiles]) -> None:
        self._from = {node: node.log.stat().st_size for node in nodes}

    def since(self, wall_s: float) -> list[tuple[float, str]]:
        """(seconds later, "controller-2: what it says") of all nodes."""
        found: list[tuple[float, str]] = []
        for node, start in self._from.items():
            with node.log.open("rb") as file:
                file.seek(start)
                for line in file:
                    entry = _entry(line)
                    if entry is not None and entry["node"] == node.id:
                        found.append(
                            (_seconds(entry["timestamp"]) - wall_s, f"{node.name}: {entry['event']}")
                        )
        return found


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"node", "timestamp", "event"} <= entry.keys() else None


def _seconds(timestamp: str) -> float:
    return datetime.datetime.fromisoformat(timestamp).timestamp()


# --- what is there


@contextlib.asynccontextmanager
async def _session(files: ClusterFiles) -> AsyncIterator[Session]:
    servers = parse_servers(files.bootstrap_controllers.split(","))
    security = files.login()
    async with open_client(servers, security=security) as client:
        yield Session(
            servers=servers,
            timeout_ms=_TIMEOUT_MS,
            client_id="quorate-demo",
            security=security,
            client=client,
            printer=Printer(Form.JSON),
        )


async def replicated_to(files: ClusterFiles, ids: Sequence[NodeId], *, within_s: float) -> int:
    """Waits until these nodes hold all that is committed at the moment; says up to where that is.

    Raises:
        NoAnswer: they do not, in time.
    """
    async with _session(files) as session:
        _, first = await describe_quorum(session, _TIMEOUT_MS)
        goal = first.high_watermark
        ends: dict[int, int] = {}
        with trio.move_on_after(within_s):
            while True:
                _, now = await describe_quorum(session, _TIMEOUT_MS)
                ends = {}
                for one in (*now.current_voters, *now.observers):  # a disk that was lost may still be listed
                    ends[one.replica_id] = max(one.log_end_offset, ends.get(one.replica_id, -1))
                if all(ends.get(id, -1) >= goal for id in ids):
                    return goal
                await trio.sleep(_LOOK_AGAIN_S)
    raise NoAnswer(
        f"Not all of {list(ids)} reached offset {goal} within {within_s:g} s.", why=f"they are at {ends}"
    )


async def values_in_log(files: ClusterFiles) -> set[str]:
    """Every value that the committed log has for the config that the writer sets."""
    values: set[str] = set()
    async with _session(files) as session:
        log = LiveLog(session)
        while (piece := await log.next(wait=False)) is not None:
            batches = piece.batches if isinstance(piece, LoadedSnapshot) else (piece,)
            for record in (record for batch in batches for record in batch.records()):
                match record:
                    case ConfigRecord(resource_name=name, name=key, value=str(value)) if (name, key) == (
                        TOPIC,
                        _KEY,
                    ):
                        values.add(value)
    return values


async def values_at_brokers(files: ClusterFiles) -> dict[str, str | None]:
    """What each broker answers for that config."""
    resource = DescribeConfigsResource(
        resource_type=ResourceType.TOPIC, resource_name=TOPIC, configuration_keys=(_KEY,)
    )
    answers: dict[str, str | None] = {}
    manner = Manner(timeout_ms=_TIMEOUT_MS, security=files.login())
    for node in files.brokers:
        request = DescribeConfigsRequest(resources=(resource,))
        found = await ask(Address(LOOPBACK, node.port), request, manner)
        why = failed(found)
        if why is not None:
            raise Refused(f"{node.name} did not answer.", why=why)
        answers[node.name] = found.results[0].configs[0].value
    return answers
