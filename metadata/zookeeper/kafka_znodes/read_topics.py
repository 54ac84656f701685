"""Topics with their configs and partitions, out of a tree."""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from quorate.metadata.features import record_version
from quorate.metadata.ids import FIRST_FREE_UUID, MIGRATING_DIRECTORY, uuid_to_text
from quorate.metadata.image.configs import TOPIC
from quorate.metadata.image.topics import MAX_PARTITIONS_PER_TOPIC
from quorate.metadata.records import (
    NO_LEADER,
    RECOVERING,
    AnyDataRecord,
    ConfigRecord,
    PartitionRecord,
    TopicRecord,
)
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.configs import decode_config
from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.forms import INT32_MAX, FormError
from quorate.metadata.zookeeper.kafka_znodes.reading import Batch, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.topics import (
    PartitionState,
    TopicZnode,
    decode_state,
    decode_topic,
)
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Troubles

_NEARLY_OUT_OF_EPOCHS: Final = INT32_MAX - 1_000_000
_START_A_BROKER: Final = (
    "Start a broker of Kafka 2.8 or newer with inter.broker.protocol.version 2.8 or newer as the controller: "
    "it gives every topic an id"
)


@attrs.define
class TopicsReader:
    """Reads all topics; what it has seen besides records is in its fields afterwards."""

    family: Family
    options: ReadOptions
    troubles: Troubles
    controller_epoch: int | None
    """Of `/controller_epoch`."""
    pending: list[str] = attrs.Factory(list)
    defaulted: list[tuple[str, int]] = attrs.Factory(list)
    assigned: Counter[int] = attrs.Factory(Counter)
    named_by: dict[int, dict[str, None]] = attrs.Factory(dict)
    """Broker -> the topics that have a replica on it."""
    highest_controller_epoch: int = 0
    _ids: dict[uuid.UUID, str] = attrs.Factory(dict)

    def batches(self) -> Iterator[Batch]:
        """One for each topic that is not being deleted, by name."""
        names = self.family.children(paths.TOPICS)
        doomed = set(self.family.children(paths.DELETE_TOPICS))
        self.pending = sorted(doomed.intersection(names))
        self._note_deletions(doomed.difference(names))
        for name in names:
            if name in doomed:
                continue
            records = self._topic(name)
            if records:
                yield Batch(category=Category.TOPICS, path=paths.topic(name), records=tuple(records))
        self._orphan_configs(names)

    def _note_deletions(self, unknown: set[str]) -> None:
        for name in self.pending:
            words = f"The topic {name} is being deleted: it is not copied"
            self.troubles.note(Category.TOPICS, f"{paths.DELETE_TOPICS}/{name}", "pending-deletion", words)
        for name in sorted(unknown):
            words = f"The topic {name} is marked for deletion and does not exist"
            self.troubles.note(Category.TOPICS, f"{paths.DELETE_TOPICS}/{name}", "stale-deletion", words)

    def _topic(self, name: str) -> list[AnyDataRecord]:
        path = paths.topic(name)
        try:
            topic = decode_topic(self.family.data(path))
        except FormError as error:
            self.troubles.undecodable(Category.TOPICS, path, error, "The topic is left out")
            return []
        topic_id = self._usable_id(name, topic)
        if topic_id is None:
            return []
        self._look_at_assignment(name, topic)
        records: list[AnyDataRecord] = [TopicRecord(name=name, topic_id=topic_id)]
        records += self._configs(name)
        for index in topic.partitions:
            records.append(self._partition(name, topic_id, index, topic))
        return records

    def _usable_id(self, name: str, topic: TopicZnode) -> uuid.UUID | None:
        path, topic_id = paths.topic(name), topic.topic_id
        if topic_id is None:
            error = FormError("no-topic-id", f"the topic {name} has no id")
            remedy = _START_A_BROKER
        elif topic_id.int < FIRST_FREE_UUID:
            error = FormError("reserved-topic-id", f"the topic {name} has the reserved id {topic_id}")
            remedy = "Delete the topic and create it again"
        elif topic_id in self._ids:
            words = f"the topic {name} has the id {uuid_to_text(topic_id)}, and so has {self._ids[topic_id]}"
            error, remedy = FormError("duplicate-topic-id", words), "Delete one of the two topics"
        else:
            self._ids[topic_id] = name
            return topic_id
        if Category.TOPICS in self.troubles.lenient:
            words = f"{error}. The topic is left out"
            self.troubles.warn(Category.TOPICS, path, error.code, words, remedy)
        else:
            self.troubles.block(Category.TOPICS, path, error.code, str(error), remedy)
        return None

    def _look_at_assignment(self, name: str, topic: TopicZnode) -> None:
        path = paths.topic(name)
        warn = self.troubles.warn
        indexes = list(topic.partitions)
        if not indexes:
            warn(Category.TOPICS, path, "no-partitions", f"The topic {name} has no partitions", "")
        elif indexes[-1] >= MAX_PARTITIONS_PER_TOPIC:
            words = f"The topic {name} has a partition {indexes[-1]}; numbers below {MAX_PARTITIONS_PER_TOPIC} work"
            self.troubles.block(Category.TOPICS, path, "partition-number", words, "Delete the topic")
        elif indexes != list(range(len(indexes))):
            missing = sorted(set(range(indexes[-1] + 1)).difference(indexes))[:10]
            words = f"The partitions of {name} are not numbered from 0 without a hole: {missing} are missing"
            warn(Category.TOPICS, path, "partition-holes", words, "Look at the topic before anybody uses it")
        self._strays(name, topic)
        moving = sorted({*topic.adding, *topic.removing}.intersection(topic.partitions))
        moving = [i for i in moving if topic.adding.get(i) or topic.removing.get(i)]
        if moving:
            words = f"Partitions {moving[:10]} of {name} are being reassigned: that goes on after the copy"
            self.troubles.note(Category.PARTITIONS, path, "reassigning", words)

    def _strays(self, name: str, topic: TopicZnode) -> None:
        warn, path = self.troubles.warn, paths.topic(name)
        unknown = sorted({*topic.adding, *topic.removing}.difference(topic.partitions))
        if unknown:
            words = (
                f"A reassignment names partitions {unknown[:10]} that {name} does not have; it is left out"
            )
            warn(Category.PARTITIONS, path, "stray-reassignment", words, "")
        known = {str(index) for index in topic.partitions}
        extra = [one for one in self.family.children(paths.partitions(name)) if one not in known]
        if extra:
            words = f"There are znodes of partitions {extra[:10]} that the assignment of {name} does not have"
            warn(Category.PARTITIONS, paths.partitions(name), "extra-partition", words, "They are not copied")

    def _configs(self, name: str) -> Iterator[AnyDataRecord]:
        path = paths.topic_config(name)
        try:
            settings = decode_config(self.family.data(path))
        except FormError as error:
            words = "The topic is copied without configs"
            self.troubles.undecodable(Category.TOPIC_CONFIGS, path, error, words)
            return
        for key in sorted(settings):
            yield ConfigRecord(resource_type=TOPIC, resource_name=name, name=key, value=settings[key])

    def _orphan_configs(self, topics: object) -> None:
        known = set(self.family.children(paths.TOPICS))
        for name in self.family.children(paths.TOPIC_CONFIGS):
            if name in known:
                continue
            path = paths.topic_config(name)
            try:
                keys = sorted(decode_config(self.family.data(path)))
            except FormError as error:
                words = "No topic has that name: nothing is lost"
                self.troubles.undecodable(Category.TOPIC_CONFIGS, path, error, words)
                continue
            if keys:
                words = f"There is no topic {name}, and it has configs: {', '.join(keys[:5])}. They are not copied"
                self.troubles.warn(Category.TOPIC_CONFIGS, path, "orphan-config", words, "")

    def _partition(self, name: str, topic_id: uuid.UUID, index: int, topic: TopicZnode) -> PartitionRecord:
        replicas = topic.partitions[index]
        self.assigned.update(replicas)
        for broker_id in replicas:
            self.named_by.setdefault(broker_id, {})[name] = None
        path = paths.state(name, index)
        state, epoch = self._state(name, index, replicas)
        self._look_at_state(path, index, topic, state)
        version = record_version(PartitionRecord, self.options.metadata_version)
        return PartitionRecord(
            version=version,
            partition_id=index,
            topic_id=topic_id,
            replicas=replicas,
            isr=state.isr,
            removing_replicas=topic.removing.get(index, ()),
            adding_replicas=topic.adding.get(index, ()),
            leader=state.leader,
            leader_recovery_state=state.leader_recovery_state,
            leader_epoch=state.leader_epoch,
            partition_epoch=epoch,
            directories=(MIGRATING_DIRECTORY,) * len(replicas) if version > 0 else (),
        )

    def _state(self, name: str, index: int, replicas: tuple[int, ...]) -> tuple[PartitionState, int]:
        """The state and its partition epoch; of a partition without one, what Kafka's copy makes of it."""
        path = paths.state(name, index)
        node = self.family.get(path)
        if node is not None and node.data is not None:
            try:
                return decode_state(node.data), node.stat.version
            except FormError as error:
                words = "The partition is copied as one without a state"
                self.troubles.undecodable(Category.PARTITIONS, path, error, words)
        self.defaulted.append((name, index))
        words = f"Partition {index} of {name} has no state: all its replicas are taken for in sync, the first leads"
        self.troubles.warn(
            Category.PARTITIONS,
            path,
            "no-state",
            words,
            "If its brokers are only down, start one of them first",
        )
        leader = replicas[0] if replicas else NO_LEADER
        return PartitionState(leader=leader, leader_epoch=0, isr=replicas, controller_epoch=0), 0

    def _look_at_state(self, path: str, index: int, topic: TopicZnode, state: PartitionState) -> None:
        self.highest_controller_epoch = max(self.highest_controller_epoch, state.controller_epoch)
        for code, words, remedy in _oddities(topic.partitions[index], state, self.controller_epoch):
            self.troubles.warn(Category.PARTITIONS, path, code, words, remedy)
        if state.leader_recovery_state == RECOVERING:
            words = "Its leader recovers from an unclean election: it says so in the log too"
            self.troubles.note(Category.PARTITIONS, path, "recovering", words)
        moving: Mapping[str, tuple[int, ...]] = {
            "added": topic.adding.get(index, ()),
            "removed": topic.removing.get(index, ()),
        }
        for word, replicas in moving.items():
            stray = sorted(set(replicas).difference(topic.partitions[index]))
            if stray:
                words = f"Replicas {stray} are being {word} and are not among its replicas"
                self.troubles.warn(
                    Category.PARTITIONS, path, "stray-reassignment", words, "Cancel the reassignment"
                )


def _oddities(
    replicas: tuple[int, ...], state: PartitionState, controller_epoch: int | None
) -> Iterator[tuple[str, str, str]]:
    """(code, words, remedy) of all that a healthy partition does not have."""
    if not replicas:
        yield "no-replicas", "It has no replicas", "Delete the topic, or reassign the partition"
    if len(set(replicas)) != len(replicas):
        yield "double-replica", f"A replica stands twice in {list(replicas)}", "Reassign the partition"
    if state.leader < NO_LEADER:
        yield "wrong-leader", f"Its leader is {state.leader}, which is no broker", "Elect a leader"
    elif state.leader == NO_LEADER:
        yield "leaderless", "It has no leader", "Start a broker of its ISR before the migration"
    elif state.leader not in replicas:
        yield "wrong-leader", f"Its leader {state.leader} is none of its replicas", "Elect a leader"
    elif state.leader not in state.isr:
        yield "leader-not-in-isr", f"Its leader {state.leader} is not in its ISR", "Elect a leader"
    if not state.isr:
        yield "empty-isr", "Its ISR is empty", "Elect a leader uncleanly, or delete the topic"
    stray = sorted(set(state.isr).difference(replicas))
    if stray:
        yield "stray-isr", f"Its ISR has {stray}, which are none of its replicas", "Reassign the partition"
    if controller_epoch is not None and state.controller_epoch > controller_epoch:
        words = f"Its state is of controller epoch {state.controller_epoch}, above {controller_epoch}"
        yield (
            "future-controller-epoch",
            words,
            "The claim of a migration goes above it; no broker's election does",
        )
    if state.leader_epoch > _NEARLY_OUT_OF_EPOCHS:
        yield "epoch-nearly-used-up", f"Its leader epoch is {state.leader_epoch}", "Delete the topic in time"
