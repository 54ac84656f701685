"""What all images are held to: the committed log, replayed once more, and what was promised to clients.

Every controller's committed image and every image that a broker publishes must equal the one that the committed log
gives at that offset. A broker's publications must follow each other without gap, repetition or way back, and what
they say changed must lead to what they show: a watcher that only listens to changes is kept beside each broker.
"""

import uuid
from collections import Counter
from typing import Any

import attrs

from quorate.broker.loader import Publication
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import check
from quorate.metadata.ids import FIRST_OFFSET, Offset
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import (
    NO_LEADER,
    AnyRecord,
    ConfigRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from quorate.metadata.wire import configs, topics

UNIQUE_KEY = "retention.ms"
"""The config that clients write, each value once in a world's life."""


class ClientChanges:
    """What a log holds of what clients asked for, as `history` understands it."""

    def __init__(self) -> None:
        self.written: Counter[str] = Counter()
        """How often each client's value stands in the log."""
        self.effects: dict[str, list[str]] = {}
        """By topic: its changes in the order of the log."""
        self.written_at: dict[str, int] = {}
        """Where each client's value stands."""
        self._names: dict[uuid.UUID, str] = {}

    def on_record(self, record: AnyRecord, offset: int) -> None:
        match record:
            case TopicRecord(name=name, topic_id=topic_id):
                self._names[topic_id] = name
                self.effects.setdefault(name, []).append("created")
            case RemoveTopicRecord(topic_id=topic_id):
                self.effects[self._names[topic_id]].append("deleted")
            case PartitionRecord(topic_id=topic_id):
                self.effects[self._names[topic_id]].append("partition")
            case ConfigRecord(resource_name=name, value=str(value)) if record.name == UNIQUE_KEY:
                self.effects.setdefault(name, []).append(value)
                self.written[value] += 1
                self.written_at[value] = offset
                once = self.written[value] == 1
                check(once, f"what a client asked for once was carried out twice: value {value}")
            case _:
                pass


@attrs.define
class _Watcher:
    """Somebody at one life of one broker who believes in changes alone."""

    offset: int = -1
    image: MetadataImage = MetadataImage.EMPTY
    topics: dict[str, str] = attrs.Factory(dict)
    """id -> name."""


class ImageLaws:
    """The reference, and everybody who is compared with it."""

    def __init__(self, marks: Counter[str], *, brokers_are_well: bool = False) -> None:
        self.brokers_are_well = brokers_are_well
        """None of them may be fenced again."""
        self.image = MetadataImage.EMPTY
        """At the end of all that is committed."""
        self.changes = ClientChanges()
        self.by_consequences_only = False
        self._at: dict[Offset, MetadataImage] = {FIRST_OFFSET: MetadataImage.EMPTY}
        self._watchers: dict[tuple[str, int], _Watcher] = {}
        self._marks = marks

    def on_extended(self, batch: RecordBatch) -> None:
        """The cluster committed one more batch."""
        delta = MetadataDelta(self.image)
        if not batch.is_control:
            for offset, record in enumerate(batch.records(), batch.base_offset):
                delta.replay(record, offset)
                self.changes.on_record(record, offset)
        if self.brokers_are_well:
            for broker_id, broker in delta.changed_brokers.items():
                before = self.image.cluster.brokers.get(broker_id)
                fenced = before is not None and not before.fenced and (broker is None or broker.fenced)
                check(not fenced, f"broker {broker_id} is fenced at {batch.base_offset}, and it is well")
        for topic_id, partitions in delta.changed_topics.items():
            for number, partition in partitions.items():
                self._marks["an ISR is empty"] += not partition.isr
                _check_leader(f"partition {number} of {topic_id} at {batch.end_offset - 1}", partition)
        at = Provenance(offset=batch.end_offset - 1, epoch=batch.epoch, append_time_ms=batch.append_time_ms)
        self.image = self._at[batch.end_offset] = delta.apply(at)

    def on_image(self, who: str, image: MetadataImage, end: Offset) -> None:
        """Somebody has taken in everything below `end`."""
        expected = self._at.get(end)  # None: no committed batch ends there
        check(image == expected, f"{who}: the image at offset {end} is not what the log says")

    def on_published(self, who: str, life: int, publication: Publication) -> None:
        """A broker shows an image to its clients."""
        watcher = self._watchers.setdefault((who, life), _Watcher())
        image = publication.image
        check(
            image.offset > watcher.offset,
            f"{who} publishes the image of {image.offset} after that of {watcher.offset}",
        )
        check(publication.before is watcher.image, f"{who}: a publication does not follow the one before it")
        self.on_image(who, image, Offset(image.offset + 1))
        for topic_id in publication.changes.deleted_topics:
            watcher.topics.pop(str(topic_id), None)
        for topic_id, name in publication.changes.created_topics.items():
            watcher.topics[str(topic_id)] = name
        watcher.offset, watcher.image = image.offset, image
        self._marks[f"image published: {publication.cause.value}"] += 1
        if len(watcher.topics) != image.topics.topic_count:
            raise_mismatch(who, watcher, image)

    def on_told(self, who: str, image: MetadataImage, request: Any) -> None:
        """A broker tells its client that a change was made: a read there must show it from now on."""
        for value in _values_of(request):
            at = self.changes.written_at.get(value)
            check(
                at is None or image.offset >= at,
                f"{who} tells a client that {value} is written, at offset {at}, and shows the log up to {image.offset}",
            )

    def check_watchers(self) -> None:
        """At the end: each knows exactly the topics of the image that it was shown last."""
        for (who, _), watcher in self._watchers.items():
            shown = {str(topic.id): name for name, topic in _topics(watcher.image).items()}
            if shown != watcher.topics:
                raise_mismatch(who, watcher, watcher.image)


def _check_leader(which: str, partition: PartitionRegistration) -> None:
    """Who leads is in sync, and who is in sync is not kept as merely eligible (KIP-966)."""
    leader, isr, eligible = partition.leader, set(partition.isr), set(partition.eligible_leader_replicas)
    check(
        (leader in isr or leader == NO_LEADER) and not isr & eligible,
        f"{which} is led by {leader}, with {sorted(isr)} in sync and {sorted(eligible)} eligible",
    )


def _values_of(request: Any) -> list[str]:
    match request:
        case (
            topics.CreateTopicsRequest(topics=items) | configs.IncrementalAlterConfigsRequest(resources=items)
        ):
            return [str(one.value) for item in items for one in item.configs or () if one.name == UNIQUE_KEY]
        case _:
            return []


def raise_mismatch(who: str, watcher: _Watcher, image: MetadataImage) -> None:
    check(
        False,
        f"{who}: a watcher knows {sorted(watcher.topics.values())} of what it was told, the image at "
        f"{image.offset} has {sorted(_topics(image))}",
    )


def _topics(image: MetadataImage) -> dict[str, TopicImage]:
    found = {name: image.topics.by_name(name) for name in image.topics.names()}
    return {name: topic for name, topic in found.items() if topic is not None}
