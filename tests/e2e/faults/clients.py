"""Clients over Kafka's protocol, and a record of all that they asked and were told.

They quarrel about a few topics, whose names change now and then so that each one's history stays short. Writes, and
probes that change nothing (`validate_only`), go to whoever the cluster says is the active controller; reads go to any
controller, often to one that was active a moment ago. Which reads may not be old is decided by the answers alone:

- a Metadata answer in which the asked controller names itself;
- an answer that names nobody (DescribeConfigs, DescribeTopicPartitions) between two DescribeQuorum answers of the same
  connection in which the asked controller leads, both times in the same epoch.
"""

import functools
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.client import ClientSecurity, ClusterClient, NoAnswer, OutcomeUnknown, open_client
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.connection import ConnectFailed, Connection, Failure, connect
from quorate.metadata.ids import METADATA_TOPIC
from quorate.metadata.wire import cluster, configs, raft
from tests.sim.history import Ending, History, Kind, Operation, Sight
from tests.sim.images import UNIQUE_KEY
from tests.sim.sessions import ending_of, request_of

SLOTS: Final = 6
"""Topics that exist, or not, at one time."""
ASKED_OF_A_TOPIC: Final = 300
"""Then its slot goes on with another name."""
_KINDS: Final = (
    *[Kind.CREATE] * 4,
    *[Kind.SET] * 8,
    *[Kind.DELETE] * 2,
    Kind.GROW,
    *[Kind.PROBE] * 3,
    *[Kind.READ] * 14,
)
_READS: Final = ("Metadata", "DescribeConfigs", "DescribeTopicPartitions")
_CONNECT_MS: Final = 2_000
_MOST_PARTITIONS: Final = 4
_ABSENT: Final = (ErrorCode.unknown_topic_or_partition, ErrorCode.resource_not_found)


@attrs.frozen(kw_only=True)
class Pace:
    """How fast clients ask, and how long they wait. Seconds."""

    think_s: float = 0.15
    """At most, between an answer and the next question; half of it on average."""
    patience_s: tuple[float, float] = (0.5, 5.0)
    patient_s: float = 25.0
    """What one in five readers waits: longer than anybody is paused."""


class Record:
    """What all clients went through. Moments count what happened in this process; seconds are monotonic."""

    def __init__(self, rng: random.Random) -> None:
        self.history = History()
        self.acknowledged_s: list[float] = []
        """When each acknowledged write was."""
        self.endings: Counter[tuple[str, str]] = Counter()
        """By what was asked, and how it ended."""
        self.problems: list[str] = []
        self.began_s = time.monotonic()
        self.topics_used: set[str] = set()
        self._asked: Counter[str] = Counter()
        self._generation = [0] * SLOTS
        self._moment = 0
        self._rng = rng

    def moment(self) -> int:
        self._moment += 1
        return self._moment

    def topic(self) -> str:
        """One that clients quarrel about now."""
        slot = self._rng.randrange(SLOTS)
        name = f"topic-{slot}-{self._generation[slot]}"
        self._asked[name] += 1
        if self._asked[name] >= ASKED_OF_A_TOPIC:
            self._generation[slot] += 1
        self.topics_used.add(name)
        return name

    def current_topics(self) -> list[str]:
        return [f"topic-{slot}-{generation}" for slot, generation in enumerate(self._generation)]

    def end(self, operation: Operation, ending: Ending, what: str, where: str) -> None:
        """What became of an operation; `what`: the name under which it is counted."""
        operation.ending = ending
        if ending is not Ending.UNKNOWN:
            operation.ended = self.moment()
        now_s = time.monotonic()
        operation.where = f"{where}, {operation.where} to {now_s - self.began_s:.3f} s"
        said = ending.value + (" (may be old)" if operation.stale else "")
        self.endings[what, said] += 1
        if ending is Ending.DONE and operation.changes:
            self.acknowledged_s.append(now_s)


class Client:
    """One of them: asks one thing after the other until `stopping` is set."""

    def __init__(
        self,
        number: int,
        record: Record,
        controllers: Mapping[int, Address],
        brokers: Mapping[int, Address],
        *,
        pace: Pace,
        rng: random.Random,
        security: ClientSecurity,
    ) -> None:
        self._security = security
        self.stopping = False
        self._number = number
        self._name = f"fault-client-{number}"
        self._record, self._pace, self._rng = record, pace, rng
        self._controllers, self._brokers = controllers, brokers
        self._connections: dict[Address, Connection] = {}
        self._active = rng.choice(sorted(controllers))
        """As far as this client has heard."""

    async def run(self) -> None:
        rng = self._rng
        # Every third writes through brokers, if there are any: they forward.
        forwarded = bool(self._brokers) and self._number % 3 == 0
        servers = list((self._brokers if forwarded else self._controllers).values())
        rng.shuffle(servers)
        async with trio.open_nursery() as nursery:
            async with open_client(
                servers, client_id=self._name, rng=random.Random(rng.random()), security=self._security
            ) as client:
                while not self.stopping:
                    await self._ask_something(client, "a broker" if forwarded else "the controllers", nursery)
                    await trio.sleep(rng.uniform(0, self._pace.think_s))
            nursery.cancel_scope.cancel()

    async def _ask_something(self, client: ClusterClient, whom: str, nursery: trio.Nursery) -> None:
        rng, record = self._rng, self._record
        kind = rng.choice(_KINDS)
        operation = self._begin(kind, record.topic(), rng.randint(1, _MOST_PARTITIONS))
        patience_s = rng.uniform(*self._pace.patience_s)
        if kind is Kind.READ:
            patience_s = self._pace.patient_s if rng.random() < 0.2 else patience_s
            await self.read(operation, self._whom(), rng.choice(_READS), int(patience_s * 1000), nursery)
        else:
            await self._write(client, whom, operation, int(patience_s * 1000))

    def _begin(self, kind: Kind, topic: str, count: int = 1) -> Operation:
        record = self._record
        operation = record.history.begin(self._number, kind, topic, record.moment(), count)
        operation.where = f"{time.monotonic() - record.began_s:.3f}"
        return operation

    def _whom(self) -> int:
        """Mostly who leads; else somebody, who may take itself for the leader."""
        everybody = sorted(self._controllers) + sorted(self._brokers)
        return self._active if self._rng.random() < 0.6 else self._rng.choice(everybody)

    # ---- writes and probes

    async def _write(self, client: ClusterClient, whom: str, operation: Operation, timeout_ms: int) -> None:
        record, request = self._record, _request_of(operation)
        try:
            response = await client.call_controller(request, timeout_ms)
        except OutcomeUnknown:
            ending = Ending.UNKNOWN
        except NoAnswer:
            ending = Ending.NOTHING_DONE
        except RequestRejected as error:
            record.problems.append(f"{operation} was rejected: {error.message}")
            ending = Ending.UNKNOWN
        else:
            try:
                ending = ending_of(response)
            except Exception as error:  # noqa: BLE001  an answer that no client can understand is what is looked for
                record.problems.append(f"{operation}: {error}")
                ending = Ending.UNKNOWN
        record.end(operation, ending, operation.kind.value, whom)

    # ---- reads

    async def final_reads(self, names: Sequence[str], nursery: trio.Nursery) -> bool:
        """Reads each of these topics at the active controller; whether all reads were answered by it."""
        for name in names:
            for way in _READS:
                operation = self._begin(Kind.READ, name)
                await self.read(operation, self._active, way, 5_000, nursery)
                if operation.ending is not Ending.DONE or operation.stale:
                    return False
        return True

    async def read(
        self, operation: Operation, node: int, way: str, timeout_ms: int, nursery: trio.Nursery
    ) -> None:
        """Asks one node, once; not to be answered says nothing."""
        name = f"{way} at {'a broker' if node in self._brokers else 'a controller'}"
        where = f"node {node}"
        address = self._brokers[node] if node in self._brokers else self._controllers[node]
        with trio.move_on_after(timeout_ms / 1000):
            connection = await self._connection(address, nursery)
            if connection is not None:
                answers = await _pipelined(connection, _questions(way, operation.topic), timeout_ms)
                self._conclude(operation, node, answers, name, where)
                return
        self._active = self._rng.choice(sorted(self._controllers))
        self._record.end(operation, Ending.UNKNOWN, name, where)

    def _conclude(self, operation: Operation, node: int, answers: list[Any], name: str, where: str) -> None:
        before, answer, after = answers
        if isinstance(before, cluster.MetadataResponse) and before.controller_id in self._controllers:
            self._active = before.controller_id
        seen = None if isinstance(answer, Failure) else seen_in(answer)
        if seen is None:
            self._record.end(operation, Ending.UNKNOWN, name, where)
            return
        operation.seen, operation.sight = seen.state, seen.sight
        if isinstance(answer, cluster.MetadataResponse):
            operation.stale = answer.controller_id != node or node in self._brokers
        else:
            epoch = led_epoch(before, node)
            operation.stale = epoch is None or epoch != led_epoch(after, node)
            where += f" (epoch {epoch}, then {led_epoch(after, node)})"
        self._record.end(operation, Ending.DONE, name, where)

    async def _connection(self, address: Address, nursery: trio.Nursery) -> Connection | None:
        held = self._connections.get(address)
        if held is not None and held.is_open:
            return held
        try:
            made = await connect(
                address, timeout_ms=_CONNECT_MS, client_id=self._name, security=self._security
            )
        except ConnectFailed:
            return None
        self._connections[address] = made
        nursery.start_soon(made.run)
        return made


@attrs.frozen
class Seen:
    """What an answer says of its topic."""

    state: tuple[int, str] | None
    sight: Sight


def _request_of(operation: Operation) -> Any:
    if operation.kind is not Kind.PROBE:
        return request_of(operation)
    return attrs.evolve(request_of(attrs.evolve(operation, kind=Kind.CREATE)), validate_only=True)


_QUORUM: Final = raft.DescribeQuorumRequest(
    topics=(
        raft.DescribeQuorumRequestTopicData(
            topic_name=METADATA_TOPIC,
            partitions=(raft.DescribeQuorumRequestPartitionData(partition_index=0),),
        ),
    )
)


def _questions(way: str, topic: str) -> list[Any]:
    """Asked in one breath; the middle one is the read."""
    match way:
        case "Metadata":
            asked = cluster.MetadataRequestTopic(name=topic)
            whole = cluster.MetadataRequest(topics=(asked,), allow_auto_topic_creation=False)
            return [cluster.MetadataRequest(topics=(), allow_auto_topic_creation=False), whole, _QUORUM]
        case "DescribeConfigs":
            resource = configs.DescribeConfigsResource(
                resource_type=ResourceType.TOPIC, resource_name=topic, configuration_keys=(UNIQUE_KEY,)
            )
            return [_QUORUM, configs.DescribeConfigsRequest(resources=(resource,)), _QUORUM]
        case _:
            named = cluster.DescribeTopicPartitionsRequest(topics=(cluster.TopicRequest(name=topic),))
            return [_QUORUM, named, _QUORUM]


async def _pipelined(connection: Connection, questions: Sequence[Any], timeout_ms: int) -> list[Any]:
    """The answers, or a `Failure` in place of each that is missing."""
    answers: dict[int, Any] = {}
    done = trio.Event()

    def take(number: int, answer: Any) -> None:
        answers[number] = answer
        if len(answers) == len(questions):
            done.set()

    for number, question in enumerate(questions):
        connection.send(question, functools.partial(take, number), timeout_ms=timeout_ms)
    await done.wait()
    return [answers[number] for number in range(len(questions))]


def led_epoch(answer: Any, node: int) -> int | None:
    """The epoch that this node says it leads; None: it does not say so."""
    if not isinstance(answer, raft.DescribeQuorumResponse) or answer.error_code is not ErrorCode.none:
        return None
    partition = answer.topics[0].partitions[0]
    leads = partition.error_code is ErrorCode.none and partition.leader_id == node
    return partition.leader_epoch if leads else None


def seen_in(answer: Any) -> Seen | None:
    """None: it is a refusal that says nothing about the topic."""
    match answer:
        case cluster.MetadataResponse(topics=(one,)) | cluster.DescribeTopicPartitionsResponse(topics=(one,)):
            return _seen(one.error_code, (len(one.partitions), ""), Sight.PARTITIONS)
        case configs.DescribeConfigsResponse(results=(one,)):
            values = [config.value or "" for config in one.configs]
            return _seen(one.error_code, (0, values[0] if values else ""), Sight.VALUE)
        case _:
            return None


def _seen(code: ErrorCode, state: tuple[int, str], sight: Sight) -> Seen | None:
    if code is ErrorCode.none:
        return Seen(state, sight)
    return Seen(None, sight) if code in _ABSENT else None
