"""The clients of a whole cluster: each asks one thing after the other, and remembers what it was told.

Some ask controllers, some ask brokers. They quarrel about a few topics. An answer that does not come in time, or a
connection that breaks, leaves the outcome open; then a client often asks for the same again, as real ones do.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from quorate.metadata.checks import ErrorCode, InvariantViolated, check
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.ids import NodeId
from quorate.metadata.wire import configs, topics
from tests.sim.history import Ending, History, Kind, Operation
from tests.sim.images import UNIQUE_KEY, ImageLaws
from tests.sim.node import SimNode
from tests.sim.options import WorldOptions
from tests.sim.parcels import ReadTopic, TopicRead
from tests.sim.schedule import Schedule
from tests.sim.trace import Trace
from tests.sim.wires import Gone, Wires

FIRST_CLIENT: Final = 1000
AGAIN: Final = 0.6
"""How often a client repeats what it does not know the outcome of."""
KINDS: Final = (*[Kind.CREATE] * 3, *[Kind.SET] * 4, Kind.DELETE, Kind.GROW, *[Kind.READ] * 3)

_UNKNOWN: Final = frozenset({ErrorCode.request_timed_out})
_NOTHING_DONE: Final = frozenset(
    {
        ErrorCode.not_controller,
        ErrorCode.kafka_storage_error,
        ErrorCode.invalid_replication_factor,
        ErrorCode.policy_violation,
    }
)
_REFUSED: Final = frozenset(
    {
        ErrorCode.topic_already_exists,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.invalid_partitions,
    }
)


def request_of(operation: Operation) -> Any:
    """What the client sends."""
    match operation.kind:
        case Kind.CREATE:
            value = topics.CreatableTopicConfig(name=UNIQUE_KEY, value=operation.value)
            topic = topics.CreatableTopic(
                name=operation.topic,
                num_partitions=operation.count,
                replication_factor=1,
                configs=(value,),
            )
            return topics.CreateTopicsRequest(topics=(topic,), timeout_ms=10_000)
        case Kind.DELETE:
            state = topics.DeleteTopicState(name=operation.topic)
            return topics.DeleteTopicsRequest(topics=(state,), timeout_ms=10_000)
        case Kind.GROW:
            wanted = topics.CreatePartitionsTopic(name=operation.topic, count=operation.count)
            return topics.CreatePartitionsRequest(topics=(wanted,), timeout_ms=10_000)
        case Kind.SET:
            change = configs.IncrementalAlterableConfig(
                name=UNIQUE_KEY, config_operation=0, value=operation.value
            )
            resource = configs.IncrementalAlterConfigsResource(
                resource_type=ResourceType.TOPIC, resource_name=operation.topic, configs=(change,)
            )
            return configs.IncrementalAlterConfigsRequest(resources=(resource,))
        case Kind.READ:
            return ReadTopic(operation.topic)


def code_of(response: Any) -> ErrorCode:
    """That of the one item."""
    match response:
        case topics.CreateTopicsResponse(topics=items):
            return items[0].error_code
        case topics.CreatePartitionsResponse(results=items):
            return items[0].error_code
        case (
            topics.DeleteTopicsResponse(responses=items)
            | configs.IncrementalAlterConfigsResponse(responses=items)
        ):
            return items[0].error_code
        case _:
            raise InvariantViolated(f"a client was answered {response}")


def ending_of(response: Any) -> Ending:
    """What a client may conclude."""
    if response is Gone.LOST:
        return Ending.UNKNOWN
    if response is Gone.NOT_WRITTEN:
        return Ending.NOTHING_DONE
    code = code_of(response)
    if code is ErrorCode.none:
        return Ending.DONE
    if code in _UNKNOWN:
        return Ending.UNKNOWN
    if code in _NOTHING_DONE:
        return Ending.NOTHING_DONE
    check(code in _REFUSED, f"a client was answered {code.name}: {response}")
    return Ending.REFUSED


class Client:
    """One of them: a `wires.Party` that never dies."""

    life = 1

    def __init__(self, number: int, sessions: "Sessions", *, at_broker: bool, rng: random.Random) -> None:
        self.id = NodeId(FIRST_CLIENT + number)
        self.asking: Operation | None = None
        self.at_broker = at_broker
        self._sessions, self._rng = sessions, rng
        self._target: SimNode | None = None
        self._again: Operation | None = None

    def act(self, action: Callable[[], None], what: str) -> None:
        action()

    def ask(self, targets: Sequence[SimNode]) -> None:
        """Something; or the same again, to somebody else, where the last outcome is not known."""
        sessions, rng = self._sessions, self._rng
        if self._target is None:
            self._target = rng.choice(targets)
        kind, topic, count = rng.choice(KINDS), f"topic-{rng.randrange(sessions.topics)}", rng.randint(1, 2)
        if self._again is not None:
            kind, topic, count = self._again.kind, self._again.topic, self._again.count
            self._again = None
        elif kind is Kind.GROW:
            count = rng.randint(2, 6)
        operation = sessions.history.begin(self.id, kind, topic, sessions.moment(), count)
        self.asking = operation
        sessions.ask(self, self._target, operation)

    def conclude(self, operation: Operation, ending: Ending) -> None:
        self.asking = None
        if ending in (Ending.UNKNOWN, Ending.NOTHING_DONE):
            self._target = None
            if operation.kind is not Kind.READ and self._rng.random() < AGAIN:
                self._again = operation


class Sessions:
    """All clients, and what they went through."""

    def __init__(
        self,
        options: WorldOptions,
        *,
        images: ImageLaws,
        wires: Wires,
        schedule: Schedule,
        trace: Trace,
        marks: Counter[str],
        rng: random.Random,
    ) -> None:
        self.history = History()
        self.active = True
        self.topics = options.topics
        self.acknowledged: list[Operation] = []
        self._options, self._images, self._wires = options, images, wires
        self._schedule, self._trace, self._marks, self._rng = schedule, trace, marks, rng
        self._controllers: list[SimNode] = []
        self._brokers: list[SimNode] = []
        self._last_moment = 0
        self.clients = [
            Client(number, self, at_broker=rng.random() < 0.5, rng=random.Random(rng.getrandbits(64)))
            for number in range(options.clients)
        ]

    def begin(self, controllers: Sequence[SimNode], brokers: Sequence[SimNode]) -> None:
        self._controllers, self._brokers = list(controllers), list(brokers)
        for client in self.clients:
            self._rest(client)

    @property
    def idle(self) -> bool:
        return all(client.asking is None for client in self.clients)

    def moment(self) -> int:
        """Counts what happens: finer than milliseconds."""
        self._last_moment += 1
        return self._last_moment

    def _rest(self, client: Client) -> None:
        targets = self._brokers if client.at_broker else self._controllers

        def ask() -> None:
            if self.active:
                client.ask(targets)

        self._schedule.after(self._rng.randint(1, 2 * self._options.think_ms), ask)

    def ask(self, client: Client, target: SimNode, operation: Operation) -> None:
        self._trace.act(f"c{client.id}", f"asks {target.name}: {operation}")

        def give_up() -> None:
            if client.asking is operation:
                self._marks["client gives up"] += 1
                self._conclude(client, operation, Ending.UNKNOWN)

        self._schedule.after(self._rng.randint(*self._options.patience_ms), give_up)
        self._wires.ask(
            client, target, request_of(operation), lambda reply: self._on_reply(client, operation, reply)
        )

    def _on_reply(self, client: Client, operation: Operation, reply: Any) -> None:
        if client.asking is not operation:
            self._marks["answer comes too late"] += 1
            return
        if isinstance(reply, TopicRead):
            operation.seen, operation.stale = reply.state, not reply.confirmed
            self._conclude(client, operation, Ending.DONE)
        else:
            self._conclude(client, operation, ending_of(reply))

    def _conclude(self, client: Client, operation: Operation, ending: Ending) -> None:
        operation.ending = ending
        if ending is not Ending.UNKNOWN:
            operation.ended = self.moment()
        self._trace.act(f"c{client.id}", f"learns: {operation}")
        self._marks[f"{operation.kind.value}: {ending.value}"] += 1
        if ending is Ending.DONE and operation.kind is not Kind.READ:
            self.acknowledged.append(operation)
            if not self._images.by_consequences_only:
                self.check_acknowledged(operation)
        client.conclude(operation, ending)
        self._rest(client)

    # ---- what was promised -------------------------------------------------------------------------------

    def check_acknowledged(self, operation: Operation) -> None:
        """An acknowledged change is in the log."""
        if operation.kind in (Kind.CREATE, Kind.SET):
            check(
                self._images.changes.written[operation.value] == 1,
                f"{operation}: acknowledged, and not in the committed log",
            )

    def check_all(self) -> None:
        """At the end: what was acknowledged is in the log, what was not done is not, and one order explains all."""
        for operation in self.acknowledged:
            self.check_acknowledged(operation)
        for operation in self.history.operations:
            if operation.ending in (Ending.NOTHING_DONE, Ending.REFUSED):
                check(
                    self._images.changes.written[operation.value] == 0,
                    f"{operation}: the client was told that nothing was done, and it is in the log",
                )
        problem = self.history.problem(self._images.changes.effects)
        check(problem is None, f"the history is not linearizable: {problem}")
