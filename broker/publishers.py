"""Who at a broker hears of a new image, in which order, and what the log says of it.

The order is fixed: first what clients are answered from, the life cycle last, because its heartbeat tells the
controller the offset up to which everything is in effect here. A publisher that fails is logged and counted, and the
others still hear of the image; one that finds its own state impossible ends the process.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import structlog

from quorate.broker.loader import Cause, Publication
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import NodeId
from quorate.metadata.image.cluster import BrokerRegistration

Publisher: TypeAlias = Callable[[Publication], None]

_NAMED_AT_MOST: Final = 5

_log = structlog.get_logger("broker")


class Publishers:
    """All publishers of one broker."""

    def __init__(self, in_order: Mapping[str, Publisher]) -> None:
        """`in_order`: by name, called in the order of the mapping."""
        self._in_order = dict(in_order)
        self.failures = 0

    def publish(self, publication: Publication) -> None:
        """Tells everybody."""
        for name, publisher in self._in_order.items():
            try:
                publisher(publication)
            except InvariantViolated:
                raise
            except Exception:  # noqa: BLE001  one odd image must not keep the others from knowing it
                self.failures += 1
                _log.exception("a publisher failed", publisher=name, offset=publication.image.offset)


def log_changes(publication: Publication) -> None:
    """The publisher that writes what changed to the log."""
    for text in sentences(publication):
        _log.info(text, offset=publication.image.offset)


def sentences(publication: Publication) -> Iterator[str]:
    """What changed, for people. Partitions are not told one by one."""
    image = publication.image
    if publication.cause is not Cause.LOG:
        yield (
            f"{publication.cause.value}: {len(image.cluster.brokers)} brokers, {image.topics.topic_count} topics, "
            f"{image.topics.partition_count} partitions"
        )
        return
    changes = publication.changes
    if changes.created_topics:
        yield f"created {_named('topic', sorted(changes.created_topics.values()))}"
    if changes.deleted_topics:
        yield f"deleted {_named('topic', sorted(topic.name for topic in changes.deleted_topics.values()))}"
    for broker_id, after in sorted(changes.changed_brokers.items()):
        before = publication.before.cluster.brokers.get(broker_id)
        yield f"broker {broker_id} {_fate(broker_id, before, after)}"
    for feature, level in sorted(changes.changed_features.items()):
        yield f"{feature} is now {level or 0}"


def _named(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}: {shown}{more}"


def _fate(broker_id: NodeId, before: BrokerRegistration | None, after: BrokerRegistration | None) -> str:
    if after is None:
        return "is not registered any more"
    if before is None or before.epoch != after.epoch:
        return f"registered with epoch {after.epoch}"
    if before.fenced != after.fenced:
        return "is fenced" if after.fenced else "is unfenced"
    if after.in_controlled_shutdown and not before.in_controlled_shutdown:
        return "is about to stop"
    return "changed its registration"
