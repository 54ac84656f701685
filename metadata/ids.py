"""The small values that every part speaks in: ids, epochs, offsets, replica keys, endpoints.

Words are KRaft's (KIP-595, KIP-853). Nothing here knows about files, sockets or time.
"""

import base64
import random
import uuid
from functools import lru_cache
from typing import Final, NewType

import attrs

NodeId = NewType("NodeId", int)
"""A controller's or a broker's id; unique over both roles. Never negative."""

Epoch = NewType("Epoch", int)
"""A leader epoch. 0 is primordial: it never has a leader or records (KRaft); real epochs start at 1."""

Offset = NewType("Offset", int)
"""The position of a record in the metadata log, control records included."""

FIRST_OFFSET: Final = Offset(0)

ZERO_UUID: Final = uuid.UUID(int=0)

METADATA_TOPIC: Final = "__cluster_metadata"
"""The metadata log in Kafka's encoding, as Kafka's own brokers ask for it."""

METADATA_TOPIC_ID: Final = uuid.UUID(int=1)
"""Kafka's fixed topic id of that log (text form AAAAAAAAAAAAAAAAAAAAAQ)."""

QUORATE_TOPIC: Final = "__quorate_metadata"
"""The same log in our own encoding, where a request carries a name (FetchSnapshot)."""

QUORATE_TOPIC_ID: Final = uuid.UUID(bytes=b"quorate-metadata")
"""The same log in our own encoding, where a request carries a topic id (Fetch)."""

MIGRATING_DIRECTORY: Final = ZERO_UUID
"""The log directory of a replica that was placed before its broker had named any directory (KIP-858)."""

UNASSIGNED_DIRECTORY: Final = uuid.UUID(int=1)
"""The broker has several log directories and will say which one it picked for the replica (KIP-858)."""

LOST_DIRECTORY: Final = uuid.UUID(int=2)
"""The directory of the replica went offline before its broker had said which one it was (KIP-858)."""

_UUIDS_KEPT: Final = 16_384

FIRST_FREE_UUID: Final = 100
"""Kafka reserves the ids below this number: no topic, directory or incarnation may have one."""


@attrs.frozen
class OffsetAndEpoch:
    """A point in the log: `offset` is exclusive (an end), `epoch` is that of the record just before it.

    Snapshot ids and log ends are such points.
    """

    offset: Offset
    epoch: Epoch

    def at_least(self, other: "OffsetAndEpoch") -> bool:
        """The order in which Raft calls one log "at least as up to date" as another (paper, 5.4.1)."""
        return (self.epoch, self.offset) >= (other.epoch, other.offset)

    def __str__(self) -> str:
        return f"{self.offset}@{self.epoch}"


LOG_START: Final = OffsetAndEpoch(Offset(0), Epoch(0))
"""The end of an empty log, and the id of the bootstrap snapshot (0-0), which is never shipped."""


@attrs.frozen(cache_hash=True)
class ReplicaKey:
    """A replica of the log: the node, and the disk it lives on.

    The directory id is drawn when a directory is formatted, so a node whose disk was wiped comes back
    as somebody else and cannot vote a second time in an epoch (KIP-853). None: not known (kraft.version 0).
    """

    id: NodeId
    directory_id: uuid.UUID | None = None

    def matches(self, other: "ReplicaKey") -> bool:
        """Same node, and the same disk wherever both sides name one."""
        if self.id != other.id:
            return False
        if self.directory_id is None or other.directory_id is None:
            return True
        return self.directory_id == other.directory_id

    def __str__(self) -> str:
        return str(self.id) if self.directory_id is None else f"{self.id}:{uuid_to_text(self.directory_id)}"


@attrs.frozen
class Endpoint:
    """Where a listener can be reached. `name` is the listener's, in upper case (Kafka normalises it so)."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}://{self.host}:{self.port}"


def uuid_to_text(value: uuid.UUID) -> str:
    """Kafka's text form of an id: 22 characters of url-safe base64, no padding."""
    return base64.urlsafe_b64encode(value.bytes).rstrip(b"=").decode("ascii")


def uuid_from_text(text: str) -> uuid.UUID:
    """Reads Kafka's text form of an id.

    Raises:
        ValueError: not 22 characters of url-safe base64.
    """
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 16 or len(text) != 22:
        raise ValueError(f"{text!r} is not an id: 22 characters of url-safe base64 are needed")
    return uuid.UUID(bytes=raw)


def quorum_name(cluster_id: str, recovery_id: uuid.UUID | None) -> str:
    """What replicas call their quorum among themselves, in the place of Kafka's cluster id.

    As long as a cluster was never recovered without a majority, that is its id and nothing else.
    """
    return cluster_id if recovery_id is None else f"{cluster_id}/{uuid_to_text(recovery_id)}"


def cluster_of(quorum: str) -> str:
    """The cluster id in the name of a quorum: no id has a slash in it."""
    return quorum.partition("/")[0]


@lru_cache(_UUIDS_KEPT)
def uuid_from_bytes(raw: bytes) -> uuid.UUID:
    """The id of 16 bytes. The same few (directories, topics) are asked for again and again, and making one is slow."""
    return uuid.UUID(bytes=raw)


def random_uuid(rng: random.Random) -> uuid.UUID:
    """A new id that Kafka accepts everywhere: not a reserved one, and no leading "-" in its text form."""
    while True:
        value = uuid.UUID(int=rng.getrandbits(128))
        if value.int >= FIRST_FREE_UUID and not uuid_to_text(value).startswith("-"):
            return value
