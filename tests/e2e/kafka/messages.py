"""Messages of real clients (librdkafka): what was acknowledged is there, once, and nothing else is.

The clients block, so each of them lives in a thread.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

_WITHIN_S: Final = 90.0


class NotTaken(Exception):
    """Messages were refused, or given up."""


def produce(
    bootstrap: str, topic: str, values: Sequence[str], settings: Mapping[str, Any] | None = None
) -> None:
    """Writes them with an idempotent producer, acks=all; all are acknowledged when this returns."""
    failures: list[KafkaError] = []

    def told(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer({"bootstrap.servers": bootstrap, **_IDEMPOTENT, **(settings or {})})
    for value in values:
        producer.produce(topic, value=value.encode(), key=value.encode(), on_delivery=told)
        producer.poll(0)
    left = producer.flush(_WITHIN_S)
    if failures or left:
        raise NotTaken(f"{failures[:3]}; {left} messages were not even tried")


def transact(
    bootstrap: str, topic: str, values: Sequence[str], *, transactional_id: str, commit: bool
) -> None:
    """Writes them in one transaction, which is committed or aborted."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id})
    producer.init_transactions(_WITHIN_S)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value.encode())
    producer.flush(_WITHIN_S)
    if commit:
        producer.commit_transaction(_WITHIN_S)
    else:
        producer.abort_transaction(_WITHIN_S)


def consume(
    bootstrap: str, topic: str, count: int, *, group: str, settings: Mapping[str, Any] | None = None
) -> list[str]:
    """The first values that a new member of a group gets; its offsets are committed."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        **(settings or {}),
    })  # fmt: skip
    consumer.subscribe([topic])
    found: list[str] = []
    until = time.monotonic() + _WITHIN_S
    try:
        while len(found) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} messages of {topic} came"
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append((message.value() or b"").decode())
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return found


def everything(bootstrap: str, topic: str, partitions: int) -> list[str]:
    """All committed values of a topic, to the ends that it has now."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "reads-everything",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
    ended: set[int] = set()
    found: list[str] = []
    until = time.monotonic() + _WITHIN_S
    try:
        while len(ended) < partitions:
            assert time.monotonic() < until, f"partitions {ended} of {topic} could be read to their end"
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found.append((message.value() or b"").decode())
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
    finally:
        consumer.close()
    return found


_IDEMPOTENT: Final[Mapping[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    # Whatever befalls the cluster, nothing is given up.
    "message.timeout.ms": 300_000,
    "topic.metadata.refresh.interval.ms": 2_000,
}


@attrs.define(eq=False)
class Stream:
    """A producer and a consumer that go on through whatever happens, in threads.

    with Stream(bootstrap, "t", partitions=3) as stream:
        …
    stream.check()
    """

    bootstrap: str
    topic: str
    partitions: int
    per_second: int = 200
    acknowledged: list[str] = attrs.field(factory=list)
    failed: list[str] = attrs.field(factory=list)
    consumed: Counter[str] = attrs.field(factory=Counter)
    _stop: threading.Event = attrs.field(factory=threading.Event)
    _threads: list[threading.Thread] = attrs.field(factory=list)
    _faults: list[BaseException] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        for work in (self._produce, self._consume):
            thread = threading.Thread(target=self._watched, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_WITHIN_S if kind is None else 5.0)

    def check(self) -> None:
        """Every message that was acknowledged was consumed exactly once, and nothing was given up."""
        assert not self._faults, self._faults
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.failed, f"{len(self.failed)} were given up: {self.failed[:3]}"
        wanted = Counter(self.acknowledged)
        assert max(wanted.values()) == 1
        stored = Counter(everything(self.bootstrap, self.topic, self.partitions))
        for found, where in ((stored, "in the log"), (self.consumed, "by the consumer")):
            missing, more = wanted - found, found - wanted
            assert not missing, f"{len(missing)} of {len(wanted)} missing {where}: {sorted(missing)[:5]}"
            assert not more, f"{len(more)} too many {where}: {sorted(more)[:5]}"

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:  # noqa: BLE001  told by `check`, in the test's own thread
            self._faults.append(fault)

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, **_IDEMPOTENT})

        def told(error: KafkaError | None, message: Message) -> None:
            value = (message.value() or b"").decode()
            (self.acknowledged if error is None else self.failed).append(value)

        number = 0
        while not self._stop.is_set():
            value = f"m{number}"
            try:
                producer.produce(
                    self.topic, value=value.encode(), partition=number % self.partitions, on_delivery=told
                )
            except BufferError:  # everything waits for a leader
                producer.poll(0.1)
                continue
            number += 1
            producer.poll(0)
            self._stop.wait(1 / self.per_second)
        left = producer.flush(_WITHIN_S)
        assert not left, f"{left} messages are neither acknowledged nor given up"

    def _consume(self) -> None:
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap,
            "group.id": f"{self.topic}-follows",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "session.timeout.ms": 45_000,
        })  # fmt: skip
        consumer.assign(
            [TopicPartition(self.topic, number, OFFSET_BEGINNING) for number in range(self.partitions)]
        )
        until: float | None = None
        try:
            while until is None or time.monotonic() < until:
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    self.consumed[(message.value() or b"").decode()] += 1
                elif self._stop.is_set() and not self._threads[0].is_alive():
                    if len(self.consumed) >= len(self.acknowledged):
                        return
                    until = until or time.monotonic() + _WITHIN_S
        except KafkaException as problem:
            raise AssertionError(f"the consumer failed: {problem}") from problem
        finally:
            consumer.close()
