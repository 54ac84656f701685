"""What a client may be told of a partition: who leads it from where the client stands, which replicas are offline.

Made once per answer: what it has found out about a broker or a log directory holds for all partitions of the
answer, and a cluster has far fewer of those than partitions.
"""

import re
import uuid
from typing import Final

from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.views.viewpoint import Viewpoint, endpoint_seen

INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})
"""Topics that Kafka's brokers keep for themselves."""

_LEGAL_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def unknown_topic(name: str) -> ErrorCode:
    """Why there is no topic of that name: nobody made it, or nobody can."""
    if name in (".", "..") or not _LEGAL_NAME.fullmatch(name):
        return ErrorCode.invalid_topic_exception
    return ErrorCode.unknown_topic_or_partition


class PartitionSight:
    """Partitions of one image from one viewpoint."""

    __slots__ = ("_image", "_leaders", "_viewpoint", "_works")

    def __init__(self, image: MetadataImage, viewpoint: Viewpoint) -> None:
        self._image = image
        self._viewpoint = viewpoint
        self._leaders: dict[int, ErrorCode] = {}
        self._works: dict[tuple[int, uuid.UUID], bool] = {}

    def leader_error(self, leader: int) -> ErrorCode:
        """`none` if the client can reach the leader; else why not: LISTENER_NOT_FOUND, LEADER_NOT_AVAILABLE."""
        error = self._leaders.get(leader)
        if error is None:
            error = self._leaders[leader] = self._why_not(leader)
        return error

    def _why_not(self, leader: int) -> ErrorCode:
        broker = self._image.cluster.broker(leader)
        if broker is None:
            return ErrorCode.leader_not_available
        return ErrorCode.none if endpoint_seen(broker, self._viewpoint) else ErrorCode.listener_not_found

    def reachable(self, brokers: tuple[int, ...]) -> tuple[int, ...]:
        """Those of them that are registered and have the client's listener, in the same order."""
        return tuple(one for one in brokers if self.leader_error(one) is ErrorCode.none)

    def offline_replicas(self, partition: PartitionRegistration) -> tuple[int, ...]:
        """Replicas that do not work for the client: no such broker or listener, fenced, or the disk is gone."""
        works = self._works
        places = zip(partition.replicas, partition.directories, strict=True)
        return tuple([place[0] for place in places if not (works.get(place) or self._does_work(place))])

    def _does_work(self, place: tuple[int, uuid.UUID]) -> bool:
        found = self._works.get(place)
        if found is None:
            replica, directory = place
            broker = self._image.cluster.broker(replica)
            found = self._works[place] = (
                broker is not None
                and not broker.fenced
                and endpoint_seen(broker, self._viewpoint) is not None
                and broker.has_online_directory(directory)
            )
        return found
