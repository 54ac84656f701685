"""Topics and their partitions, as an image and as changes to one.

Partitions lie in packed chunks (`rows`), found by topic; `partitions_with_replica` goes through an index
(`replica_index`) and never walks topics that have nothing to do with the broker.
"""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import attrs
from immutables import Map

from quorate.metadata.ids import MIGRATING_DIRECTORY
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.image.replica_index import ReplicaIndex, ReplicaIndexEdit
from quorate.metadata.image.rows import (
    CHUNK_SLOTS,
    PartitionRegistration,
    chunk_content,
    chunk_number,
    directories_for,
    edit_chunk,
    pack_row,
    replicas_of,
    row_at,
    row_is_reassigning,
    row_replicas,
    rows_of,
    rows_with,
    unpack_row,
)
from quorate.metadata.records import (
    RECOVERED,
    RECOVERING,
    UNCHANGED,
    ClearElrRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)

MAX_PARTITIONS_PER_TOPIC: Final = 1_000_000
"""A partition number at or above this is refused: the rows of a topic are found by number."""


@attrs.frozen(eq=False)
class TopicImage:
    """One topic."""

    name: str
    id: uuid.UUID
    partition_count: int
    _chunks: tuple[bytes, ...] = attrs.field(repr=False)

    def partition(self, index: int) -> PartitionRegistration | None:
        """The partition of that number, or None."""
        place, slot = divmod(index, CHUNK_SLOTS)
        if not 0 <= place < len(self._chunks):
            return None
        chunk = self._chunks[place]
        begin, end = row_at(chunk, slot)
        return unpack_row(chunk, begin) if begin != end else None

    def partitions(self) -> Iterator[tuple[int, PartitionRegistration]]:
        """(number, partition) of all, by number."""
        for place, chunk in enumerate(self._chunks):
            for slot, begin in rows_of(chunk):
                yield place * CHUNK_SLOTS + slot, unpack_row(chunk, begin)

    def indexes(self) -> Iterator[int]:
        """The numbers of all partitions, rising."""
        for place, chunk in enumerate(self._chunks):
            for slot, _ in rows_of(chunk):
                yield place * CHUNK_SLOTS + slot

    def reassigning(self) -> Iterator[tuple[int, PartitionRegistration]]:
        """(number, partition) of those on the move, by number."""
        for place, chunk in enumerate(self._chunks):
            for slot, begin in rows_of(chunk):
                if row_is_reassigning(chunk, begin):
                    yield place * CHUNK_SLOTS + slot, unpack_row(chunk, begin)

    @property
    def chunks(self) -> tuple[bytes, ...]:
        """The packed partitions, for digests and comparisons."""
        return self._chunks

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TopicImage):
            return NotImplemented
        return self is other or (
            self.id == other.id
            and self.name == other.name
            and len(self._chunks) == len(other._chunks)
            and all(
                a is b or chunk_content(a) == chunk_content(b)
                for a, b in zip(self._chunks, other._chunks, strict=True)
            )
        )

    def __hash__(self) -> int:
        return hash(self.id)


@attrs.frozen
class TopicsImage:
    """Every topic, by id and by name."""

    EMPTY: ClassVar["TopicsImage"]

    _topics: Map[uuid.UUID, TopicImage] = attrs.field(repr=False)
    _ids: Map[str, uuid.UUID] = attrs.field(repr=False, eq=False)
    _index: ReplicaIndex = attrs.field(repr=False, eq=False)
    partition_count: int

    @property
    def topic_count(self) -> int:
        return len(self._topics)

    def by_id(self, topic_id: uuid.UUID) -> TopicImage | None:
        return self._topics.get(topic_id)

    def by_name(self, name: str) -> TopicImage | None:
        topic_id = self._ids.get(name)
        return None if topic_id is None else self._topics[topic_id]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._ids)

    def __iter__(self) -> Iterator[TopicImage]:
        """All topics, by name."""
        return (self._topics[self._ids[name]] for name in self.names())

    def unordered(self) -> Iterator[TopicImage]:
        """All topics, in an order that differs between processes: for sums, never for decisions."""
        return iter(self._topics.values())

    def partitions_with_replica(
        self, broker_id: int
    ) -> Iterator[tuple[TopicImage, int, PartitionRegistration]]:
        """(topic, number, partition) of every partition with a replica on the broker; topics by age."""
        for topic_id, numbers in self._index.chunks_of(broker_id).items():
            topic = self._topics[topic_id]
            for place, chunk in enumerate(topic.chunks):
                if not chunk or chunk_number(chunk) not in numbers:
                    continue
                for slot, begin in rows_with(chunk, broker_id):
                    yield topic, place * CHUNK_SLOTS + slot, unpack_row(chunk, begin)

    def brokers_with_replicas(self) -> list[int]:
        """The ids of all brokers that hold a replica, rising; registered or not."""
        return sorted(self._index.pages)

    def has_replicas(self, broker_id: int) -> bool:
        """Whether any partition has a replica on the broker."""
        return broker_id in self._index.pages


TopicsImage.EMPTY = TopicsImage(Map(), Map(), ReplicaIndex.EMPTY, 0)


class TopicsDelta:
    """Changes to topics, replayed in order; the image it starts from is never touched."""

    __slots__ = ("_base", "_created", "_deleted", "_names", "_rows")

    def __init__(self, base: TopicsImage) -> None:
        self._base = base
        self._created: dict[str, uuid.UUID] = {}
        self._names: dict[uuid.UUID, str] = {}
        self._deleted: dict[uuid.UUID, TopicImage] = {}
        self._rows: dict[uuid.UUID, dict[int, bytes]] = {}

    @property
    def created(self) -> Mapping[uuid.UUID, str]:
        """id -> name of the topics that are new, in the order in which they came."""
        return self._names

    @property
    def deleted(self) -> Mapping[uuid.UUID, TopicImage]:
        """The topics that are gone, as they were."""
        return self._deleted

    def changed(self) -> dict[uuid.UUID, dict[int, PartitionRegistration]]:
        """topic -> number -> new state of each partition that was written; new topics included."""
        return {
            topic: {index: unpack_row(row) for index, row in sorted(rows.items())}
            for topic, rows in self._rows.items()
        }

    def replay_topic(self, record: TopicRecord) -> None:
        if self._id_of(record.name) is not None:
            raise ReplayError(f"{record} makes a second topic named {record.name!r}")
        if self._name_of(record.topic_id) is not None:
            raise ReplayError(f"{record} makes a second topic with that id")
        self._created[record.name] = record.topic_id
        self._names[record.topic_id] = record.name
        self._rows[record.topic_id] = {}

    def replay_remove(self, record: RemoveTopicRecord) -> str:
        """Removes a topic; says its name."""
        name = self._name_of(record.topic_id)
        if name is None:
            raise ReplayError(f"{record} removes a topic that does not exist")
        self._rows.pop(record.topic_id, None)
        if record.topic_id in self._names:
            del self._names[record.topic_id], self._created[name]
        else:
            self._deleted[record.topic_id] = self._base._topics[record.topic_id]
        return name

    def replay_partition(self, record: PartitionRecord) -> None:
        if self._name_of(record.topic_id) is None:
            raise ReplayError(f"{record} belongs to a topic that does not exist")
        if not 0 <= record.partition_id < MAX_PARTITIONS_PER_TOPIC:
            raise ReplayError(f"{record} has a number outside 0 to {MAX_PARTITIONS_PER_TOPIC - 1}")
        if record.directories and len(record.directories) != len(record.replicas):
            raise ReplayError(f"{record} does not name one directory per replica")
        _check_recovery_state(record.leader_recovery_state, record)
        self._write(record.topic_id, record.partition_id, pack_row(record))

    def replay_change(self, record: PartitionChangeRecord) -> None:
        before = self._partition(record.topic_id, record.partition_id)
        if before is None:
            raise ReplayError(f"{record} changes a partition that does not exist")
        self._write(record.topic_id, record.partition_id, pack_row(merge(before, record)))

    def replay_clear_elr(self, record: ClearElrRecord) -> None:
        if record.topic_name:
            topic_id = self._id_of(record.topic_name)
            if topic_id is None:
                raise ReplayError(f"{record} names a topic that does not exist")
            self._clear_elr(topic_id)
            return
        for topic in [*self._base._topics, *self._names]:
            if self._name_of(topic) is not None:
                self._clear_elr(topic)

    def _clear_elr(self, topic_id: uuid.UUID) -> None:
        rows = self._rows.get(topic_id, {})
        base = self._base_topic(topic_id)
        partitions = {} if base is None else dict(base.partitions())
        partitions.update((index, unpack_row(row)) for index, row in rows.items())
        for index, partition in partitions.items():
            if partition.eligible_leader_replicas or partition.last_known_elr:
                cleared = attrs.evolve(
                    partition,
                    eligible_leader_replicas=(),
                    last_known_elr=(),
                    partition_epoch=partition.partition_epoch + 1,
                )
                self._write(topic_id, index, pack_row(cleared))

    def _write(self, topic_id: uuid.UUID, index: int, row: bytes) -> None:
        rows = self._rows.get(topic_id)
        if rows is None:
            rows = self._rows[topic_id] = {}
        rows[index] = row

    def _base_topic(self, topic_id: uuid.UUID) -> TopicImage | None:
        """The topic as it was before, unless it is gone; whatever has its id now began anew."""
        return None if topic_id in self._deleted else self._base._topics.get(topic_id)

    def _name_of(self, topic_id: uuid.UUID) -> str | None:
        name = self._names.get(topic_id)
        if name is not None:
            return name
        topic = self._base_topic(topic_id)
        return None if topic is None else topic.name

    def _id_of(self, name: str) -> uuid.UUID | None:
        created = self._created.get(name)
        if created is not None:
            return created
        before = self._base._ids.get(name)
        return None if before is None or before in self._deleted else before

    def _partition(self, topic_id: uuid.UUID, index: int) -> PartitionRegistration | None:
        row = self._rows.get(topic_id, {}).get(index)
        if row is not None:
            return unpack_row(row)
        topic = self._base_topic(topic_id)
        return None if topic is None else topic.partition(index)

    def apply(self) -> TopicsImage:
        """The next image: only what changed is rewritten."""
        base = self._base
        index = ReplicaIndexEdit(base._index)
        count = base.partition_count
        ids = base._ids
        topics = base._topics.mutate()
        for topic_id, topic in self._deleted.items():
            for chunk in filter(None, topic.chunks):
                index.forget_chunk(chunk_number(chunk), replicas_of(chunk))
            count -= topic.partition_count
            ids = ids.delete(topic.name)
            del topics[topic_id]
        for topic_id, rows in self._rows.items():
            before = topics.get(topic_id) or TopicImage(self._names[topic_id], topic_id, 0, ())
            after = _with_rows(before, rows, index)
            count += after.partition_count - before.partition_count
            topics[topic_id] = after
        if self._created:
            ids = ids.update(self._created)
        return TopicsImage(topics.finish(), ids, index.finish(), count)


def _with_rows(topic: TopicImage, rows: Mapping[int, bytes], index: ReplicaIndexEdit) -> TopicImage:
    """The topic with these rows written, and the index told about them."""
    by_place: dict[int, dict[int, bytes]] = {}
    for partition, row in rows.items():
        place, slot = divmod(partition, CHUNK_SLOTS)
        by_place.setdefault(place, {})[slot] = row
    chunks = list(topic.chunks)
    chunks += [b""] * (max(by_place, default=-1) + 1 - len(chunks))
    count = topic.partition_count
    for place, slots in by_place.items():
        chunks[place], added = _rewrite(topic.id, chunks[place], slots, index)
        count += added
    return TopicImage(topic.name, topic.id, count, tuple(chunks))


def _rewrite(
    topic_id: uuid.UUID, chunk: bytes, slots: dict[int, bytes], index: ReplicaIndexEdit
) -> tuple[bytes, int]:
    number = chunk_number(chunk) if chunk else index.new_chunk(topic_id)
    lost: set[int] = set()
    gained: set[int] = set()
    for slot, row in slots.items():
        begin, end = row_at(chunk, slot)
        before = row_replicas(chunk, begin) if begin != end else ()
        after = row_replicas(row)
        if before != after:
            gained.update(after)
            lost.update(before)
    edited, added = edit_chunk(chunk, number, slots)
    if gained:
        index.add(number, gained)
    if lost - gained:
        # Another partition of the chunk may still be there: only now is it worth walking all of its rows.
        index.drop(number, lost - replicas_of(edited))
    return edited, added


def merge(before: PartitionRegistration, change: PartitionChangeRecord) -> PartitionRegistration:
    """A partition after a change record. Every change is a new partition epoch; a leader that is named, even
    the same one again, is a new leader epoch.

    Raises:
        ReplayError: not one directory per replica, or an unknown recovery state.
    """
    replicas = before.replicas if change.replicas is UNCHANGED else change.replicas
    directories = directories_for(_named_directories(before, change), len(replicas))
    if len(directories) != len(replicas):
        raise ReplayError(f"{change} does not leave one directory per replica")
    if change.leader_recovery_state is not UNCHANGED:
        _check_recovery_state(change.leader_recovery_state, change)
    return PartitionRegistration(
        replicas=replicas,
        directories=directories,
        isr=_new(change.isr, before.isr),
        removing_replicas=_new(change.removing_replicas, before.removing_replicas),
        adding_replicas=_new(change.adding_replicas, before.adding_replicas),
        eligible_leader_replicas=_new(change.eligible_leader_replicas, before.eligible_leader_replicas),
        last_known_elr=_new(change.last_known_elr, before.last_known_elr),
        leader=_new(change.leader, before.leader),
        leader_recovery_state=_new(change.leader_recovery_state, before.leader_recovery_state),
        leader_epoch=before.leader_epoch + (change.leader is not UNCHANGED),
        partition_epoch=before.partition_epoch + 1,
    )


def _named_directories(before: PartitionRegistration, change: PartitionChangeRecord) -> tuple[uuid.UUID, ...]:
    if change.directories is not UNCHANGED:
        return change.directories
    # Below metadata.version 17 nobody names any, and the number of replicas changes without them.
    return before.directories if any(d != MIGRATING_DIRECTORY for d in before.directories) else ()


def _new(said: Any, before: Any) -> Any:
    return before if said is UNCHANGED else said


def _check_recovery_state(state: int, record: PartitionRecord | PartitionChangeRecord) -> None:
    if state not in (RECOVERED, RECOVERING):
        raise ReplayError(f"{record} has an unknown leader recovery state")
