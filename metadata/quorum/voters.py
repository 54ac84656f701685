"""Voter sets, and their history along the log (KIP-853).

A voter set takes effect when its record is *appended*, committed or not, and is undone when that record is
truncated: so the history is kept by offset, and whoever counts votes asks for the last entry.
"""

import uuid
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

import attrs

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Endpoint, NodeId, Offset, ReplicaKey
from quorate.metadata.records import AnyRecord, KRaftVersionRecord, Voter, VotersRecord

BOOTSTRAP_OFFSET: Final = Offset(-1)
"""Where voters stand that were formatted in (snapshot 0-0) and are not yet in the log."""


@attrs.frozen
class VoterSet:
    """The replicas whose votes and offsets count. Immutable; ids are unique."""

    voters: Mapping[NodeId, Voter]

    @classmethod
    def of(cls, voters: Iterable[Voter]) -> "VoterSet":
        ordered = sorted(voters, key=lambda voter: voter.voter_id)
        found = {NodeId(voter.voter_id): voter for voter in ordered}
        if len(found) != len(ordered):
            raise InvariantViolated("a voter set names a node twice")
        return cls(found)

    @classmethod
    def empty(cls) -> "VoterSet":
        return cls({})

    def __len__(self) -> int:
        return len(self.voters)

    @cached_property
    def ids(self) -> tuple[NodeId, ...]:
        """Ascending, so that whoever iterates is deterministic."""
        return tuple(self.voters)

    @cached_property
    def majority(self) -> int:
        return len(self.voters) // 2 + 1

    @cached_property
    def keys(self) -> Mapping[NodeId, ReplicaKey]:
        """The replicas themselves, by id and in its order."""
        return {node_id: ReplicaKey(node_id, _directory(voter)) for node_id, voter in self.voters.items()}

    def key(self, node_id: NodeId) -> ReplicaKey:
        return self.keys[node_id]

    def contains(self, key: ReplicaKey) -> bool:
        """Whether this very replica votes: the id, and the directory if the set names one.

        One that does not say which disk it has is then nobody: it may be a voter's that was wiped.
        """
        known = self.keys.get(key.id)
        return known is not None and (
            known is key or known.directory_id is None or known.directory_id == key.directory_id
        )

    def endpoint(self, node_id: NodeId, listener: str | None = None) -> Endpoint | None:
        """Where a voter is reached: on the named listener, or on its first."""
        voter = self.voters.get(node_id)
        if voter is None:
            return None
        for endpoint in voter.endpoints:
            if listener is None or endpoint.name == listener:
                return endpoint
        return None

    def record(self) -> VotersRecord:
        return VotersRecord(voters=tuple(self.voters.values()))


def _directory(voter: Voter) -> uuid.UUID | None:
    return voter.voter_directory_id if voter.voter_directory_id.int else None


@attrs.frozen
class VoterHistory:
    """KRaftVersion and Voters records by offset, oldest first. The last entry of each kind is in force."""

    sets: tuple[tuple[Offset, VoterSet], ...] = ()
    versions: tuple[tuple[Offset, int], ...] = ()

    @classmethod
    def of(cls, records: Iterable[tuple[Offset, AnyRecord]]) -> "VoterHistory":
        history = cls()
        for offset, record in records:
            history = history.with_record(offset, record)
        return history

    def with_record(self, offset: Offset, record: AnyRecord) -> "VoterHistory":
        """The history with a control record appended at `offset`; other kinds of record change nothing."""
        match record:
            case VotersRecord():
                return attrs.evolve(self, sets=(*self.sets, (offset, VoterSet.of(record.voters))))
            case KRaftVersionRecord():
                return attrs.evolve(self, versions=(*self.versions, (offset, record.k_raft_version)))
            case _:
                return self

    def truncated_to(self, end: Offset) -> "VoterHistory":
        return VoterHistory(
            tuple(entry for entry in self.sets if entry[0] < end),
            tuple(entry for entry in self.versions if entry[0] < end),
        )

    @cached_property
    def last(self) -> VoterSet:
        return self.sets[-1][1] if self.sets else VoterSet.empty()

    @property
    def last_offset(self) -> Offset:
        return self.sets[-1][0] if self.sets else BOOTSTRAP_OFFSET

    @property
    def kraft_version(self) -> int:
        return self.versions[-1][1] if self.versions else 0

    def records(self) -> tuple[AnyRecord, ...]:
        """What is in force, as records; none with static voters (kraft.version 0)."""
        if self.kraft_version == 0:
            return ()
        return (KRaftVersionRecord(k_raft_version=self.kraft_version), self.last.record())

    def at(self, end: Offset) -> tuple[int, VoterSet]:
        """kraft.version and voters in force for a snapshot that ends at `end`."""
        cut = self.truncated_to(end)
        return cut.kraft_version, cut.last


NO_VOTERS: Final = VoterHistory()
"""Nothing is known."""
