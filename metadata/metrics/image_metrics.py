"""What the image tells that a node answers from (pure).

Nothing here walks topics: the image keeps their numbers. Kafka's names are those of `KafkaController` and
`broker-metadata-metrics`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.metrics.declared import Family, Sample, gauge

_BROKER_STATES: Final = ("active", "fenced", "controlled_shutdown")

IMAGE_OFFSET: Final = gauge(
    "metadata_image_offset",
    "The last offset in the image that this node answers from; -1 while it has none.",
    unit="offset",
    kafka="last-applied-record-offset",
)
IMAGE_TIME: Final = gauge(
    "metadata_image_timestamp_seconds",
    "When the leader appended that record, wall clock; 0 while there is none.",
    unit="seconds",
    kafka="last-applied-record-timestamp",
)
VERSION: Final = gauge("metadata_version", "The finalized level of metadata.version.", kafka="FinalizedLevel")
TOPICS: Final = gauge("metadata_topics", "Topics in the cluster.", kafka="GlobalTopicCount")
PARTITIONS: Final = gauge("metadata_partitions", "Partitions in the cluster.", kafka="GlobalPartitionCount")
BROKERS: Final = gauge(
    "metadata_brokers",
    "Registered brokers by state: active, fenced, or in controlled shutdown.",
    labels=("state",),
    kafka="ActiveBrokerCount, FencedBrokerCount",
)
CONTROLLERS: Final = gauge("metadata_controllers", "Registered controllers.")

FAMILIES: Final[tuple[Family, ...]] = (
    IMAGE_OFFSET,
    IMAGE_TIME,
    VERSION,
    TOPICS,
    PARTITIONS,
    BROKERS,
    CONTROLLERS,
)


def image_samples(image: MetadataImage) -> Iterator[Sample]:
    yield IMAGE_OFFSET.of(image.offset)
    yield IMAGE_TIME.of(image.provenance.append_time_ms / 1000)
    yield VERSION.of(image.features.metadata_version)
    yield TOPICS.of(image.topics.topic_count)
    yield PARTITIONS.of(image.topics.partition_count)
    counted = Counter(_state(broker) for broker in image.cluster.brokers.values())
    for state in _BROKER_STATES:
        yield BROKERS.of(counted[state], state)
    yield CONTROLLERS.of(len(image.cluster.controllers))


def _state(broker: BrokerRegistration) -> str:
    if broker.fenced:
        return "fenced"
    return "controlled_shutdown" if broker.in_controlled_shutdown else "active"
