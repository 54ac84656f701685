"""Control records: what the quorum writes about itself (KIP-595, KIP-630, KIP-853).

In Kafka's form each of them begins with its own version and is told apart by the record's key; here the
version is the one that every record has, and the type numbers are negative.
"""

import uuid
from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.ids import ZERO_UUID, Endpoint, NodeId
from quorate.metadata.records.declare import (
    BYTES,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT16,
    UUID,
    ArrayOf,
    ControlRecord,
    kafka,
    ours,
    struct_of,
)


@frozen(kw_only=True)
class LeaderChangeVoter:
    """A voter as a LeaderChange record names it."""

    voter_id: NodeId = field(metadata=kafka(INT32, "The voter."))
    voter_directory_id: uuid.UUID = field(
        default=ZERO_UUID, metadata=kafka(UUID, "Its directory; zero where it is not known.", since=1)
    )


_LEADER_CHANGE_VOTERS = ArrayOf(struct_of(LeaderChangeVoter))


@frozen(kw_only=True)
class LeaderChangeRecord(ControlRecord):
    """The first record of every epoch, written by its leader. Version 1: directory ids."""

    control_type: ClassVar = 2
    versions: ClassVar = (0, 1)

    leader_id: NodeId = field(metadata=kafka(INT32, "The leader of this epoch."))
    voters: tuple[LeaderChangeVoter, ...] = field(
        metadata=kafka(_LEADER_CHANGE_VOTERS, "All voters at that time.")
    )
    granting_voters: tuple[LeaderChangeVoter, ...] = field(
        metadata=kafka(_LEADER_CHANGE_VOTERS, "The voters that elected the leader, itself included.")
    )


@frozen(kw_only=True)
class SnapshotHeaderRecord(ControlRecord):
    """The first record of a snapshot."""

    control_type: ClassVar = 3
    versions: ClassVar = (0, 0)

    last_contained_log_timestamp: int = field(
        metadata=kafka(INT64, "Append time of the last batch of the log that is inside, wall clock ms.")
    )
    end_offset: int = field(
        default=0, metadata=ours(INT64, "The snapshot holds the log below this offset: its id says the same.")
    )
    epoch: int = field(
        default=0, metadata=ours(INT32, "The epoch of the last record inside: its id says the same.")
    )


@frozen(kw_only=True)
class SnapshotFooterRecord(ControlRecord):
    """The last record of a snapshot; without it a snapshot is incomplete."""

    control_type: ClassVar = 4
    versions: ClassVar = (0, 0)

    record_count: int = field(default=0, metadata=ours(INT64, "How many data records stand before it."))
    digest: bytes = field(default=b"", metadata=ours(BYTES, "The digest of the image that they describe."))


@frozen(kw_only=True)
class KRaftVersionRecord(ControlRecord):
    """Finalizes kraft.version: 0 static voters, 1 voters in the log."""

    control_type: ClassVar = 5
    versions: ClassVar = (0, 0)

    k_raft_version: int = field(metadata=kafka(INT16, "The level of kraft.version."))


@frozen(kw_only=True)
class VersionRange:
    """The levels of kraft.version that a voter can work at."""

    min_supported_version: int = field(metadata=kafka(INT16, "The lowest level it supports."))
    max_supported_version: int = field(metadata=kafka(INT16, "The highest level it supports."))


_ENDPOINT = struct_of(
    Endpoint,
    name=kafka(STRING, "The listener's name, in upper case."),
    host=kafka(STRING, "The host it advertises."),
    port=kafka(UINT16, "The port it advertises."),
)


@frozen(kw_only=True)
class Voter:
    """A voter as a Voters record names it."""

    voter_id: NodeId = field(metadata=kafka(INT32, "The voter."))
    voter_directory_id: uuid.UUID = field(metadata=kafka(UUID, "Its directory."))
    endpoints: tuple[Endpoint, ...] = field(metadata=kafka(ArrayOf(_ENDPOINT), "Where it can be reached."))
    kraft_version_feature: VersionRange = field(
        metadata=kafka(struct_of(VersionRange), "The levels of kraft.version it supports.")
    )


@frozen(kw_only=True)
class VotersRecord(ControlRecord):
    """The whole set of voters from here on (KIP-853)."""

    control_type: ClassVar = 6
    versions: ClassVar = (0, 0)

    voters: tuple[Voter, ...] = field(metadata=kafka(ArrayOf(struct_of(Voter)), "The voters."))
