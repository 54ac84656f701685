"""How many partitions nobody leads, and how many are led by another replica than the first (shell, but for `recount`).

A sum over all partitions, and there may be millions: it is made in the background, a little at a time, never when
somebody asks and never while something is written. What is told was true a moment ago (for a million partitions ten
seconds or so), and how long ago is told too. A topic that is the same object as at the last count is not looked at.
"""

import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Final

import attrs
import trio

from quorate.metadata.image.rows import row_leaders, rows_of
from quorate.metadata.image.topics import TopicImage, TopicsImage
from quorate.metadata.metrics.declared import Family, Sample, gauge

_INTERVAL_S: Final = 1.0
_SLICE_S: Final = 0.002
_REST: Final = 19
"""Counting rests so many times as long as it works: a twentieth of the loop at most."""

OFFLINE: Final = gauge(
    "controller_offline_partitions", "Partitions without a leader.", kafka="OfflinePartitionsCount"
)
NOT_PREFERRED: Final = gauge(
    "controller_not_preferred_leaders",
    "Partitions whose leader is not their first replica; those without a leader among them.",
    kafka="PreferredReplicaImbalanceCount",
)
AGE: Final = gauge(
    "controller_partition_count_age_seconds",
    "How old these two numbers may be: they are counted in the background, and absent before the first count.",
    unit="seconds",
)

FAMILIES: Final[tuple[Family, ...]] = (OFFLINE, NOT_PREFERRED, AGE)


@attrs.define
class Tally:
    """The result of one count."""

    topics: TopicsImage = TopicsImage.EMPTY
    offline: int = 0
    not_preferred: int = 0
    troubled: dict[uuid.UUID, tuple[int, int]] = attrs.Factory(dict)
    """Both numbers, of the topics where they are not 0."""


def recount(before: Tally, after: Tally) -> Iterator[None]:
    """Counts `after.topics` into an empty tally, with the help of the count before; yields every now and then."""
    for topic in after.topics.unordered():
        counts = before.troubled.get(topic.id, (0, 0))
        if before.topics.by_id(topic.id) is not topic:
            counts = yield from _count(topic)
        if counts != (0, 0):
            after.troubled[topic.id] = counts
            after.offline += counts[0]
            after.not_preferred += counts[1]
        yield


def _count(topic: TopicImage) -> Generator[None, None, tuple[int, int]]:
    offline = not_preferred = 0
    for chunk in topic.chunks:
        for _, begin in rows_of(chunk):
            leader, preferred = row_leaders(chunk, begin)
            offline += leader < 0
            not_preferred += leader < 0 or leader != preferred
        yield
    return offline, not_preferred


class PartitionHealth:
    """The last count, and the task that makes the next."""

    def __init__(self, topics: Callable[[], TopicsImage]) -> None:
        self._topics = topics
        self._last = Tally()
        self._true_at: float | None = None
        """When the image that was counted last was the newest."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began, topics = trio.current_time(), self._topics()
            if topics is not self._last.topics:
                tally = Tally(topics)
                await self._in_slices(recount(self._last, tally))
                self._last = tally
            self._true_at = began
            await trio.sleep(_INTERVAL_S)

    async def _in_slices(self, work: Iterator[None]) -> None:
        began = trio.current_time()
        for _ in work:
            spent = trio.current_time() - began
            if spent >= _SLICE_S:
                await trio.sleep(spent * _REST)
                began = trio.current_time()

    def samples(self) -> Iterator[Sample]:
        if self._true_at is not None:
            yield OFFLINE.of(self._last.offline)
            yield NOT_PREFERRED.of(self._last.not_preferred)
            yield AGE.of(trio.current_time() - self._true_at)
