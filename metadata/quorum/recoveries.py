"""Is this the same log? A quorum that was made anew without a majority of the old one has a recovery id.

Two logs of one cluster whose recovery ids differ may disagree about records that were acknowledged, so Raft's rules
say nothing about them. Replicas therefore name their quorum with the recovery id in it (`ids.quorum_name`), and
whatever comes from another one is refused before its epoch, its vote or its offset is looked at. What is left to say:

- An *observer* that asks for records is told which log is served here. If that one was made after its own (recovery
  raises the epoch by 1,000), the observer's copy is worth nothing, however long it is: the node throws it away and
  begins anew (`Effects.superseded_by`).
- A *voter* never does: it may be the last one that holds what the other log has given up. It takes no part, and says
  what an operator can do.
- Operators' requests and readers that are no replicas name the cluster alone, as Kafka's tools do.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Epoch, OffsetAndEpoch, cluster_of, quorum_name
from quorate.metadata.quorum import replication
from quorate.metadata.quorum.effects import Peer, RejectClusterId
from quorate.metadata.quorum.events import RequestReceived
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    RemoveVoterRequest,
)
from quorate.metadata.quorum.roles import Follower
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyRecord,
    KRaftVersionRecord,
    LeaderChangeRecord,
    LeaderChangeVoter,
    QuorumRecoveryRecord,
    Voter,
    VotersRecord,
)

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore

EPOCHS_SKIPPED: Final = 1_000
_ASK_AGAIN_MS: Final = 1_000
"""Who was told that its log is another one need not hear it fifty times a second."""
_TEXTS_KEPT: Final = 16
"""Texts with other nodes' addresses and epochs in them: not as many as anybody likes."""


def is_meant(core: "RaftCore", event: RequestReceived) -> bool:
    """Whether the sender means this very log."""
    said = event.cluster_id
    if said is None or said == core.quorum_name:
        return True
    match event.request:
        case AddVoterRequest() | RemoveVoterRequest():
            return said == core.config.cluster_id
        case FetchRequest(replica=replica) | FetchSnapshotRequest(replica=replica):
            return replica.id < 0 and said == core.config.cluster_id
        case _:
            return False


def refuse(core: "RaftCore", event: RequestReceived) -> None:
    """Who fetches another log of this cluster is told which one this is; all others just that it is another."""
    said = event.cluster_id or ""
    _say_once(core, f"refuses requests for {_named(said)}: this is {_named(core.quorum_name)}")
    if isinstance(event.request, FetchRequest) and cluster_of(said) == core.config.cluster_id:
        core.reply(event.token, replication.refused(core, ErrorCode.inconsistent_topic_id))
    else:
        core.effects.send.append(RejectClusterId(event.token))


def on_other_log(core: "RaftCore", peer: Peer, response: FetchResponse, now_ms: int) -> None:
    """A peer serves a log with another recovery id. Nothing else of its answer means anything here."""
    core.fetch_at_ms = now_ms + _ASK_AGAIN_MS
    role, theirs = core.role, response.recovery_id
    if isinstance(role, Follower) and not core.is_voter:
        role.reconnecting = True  # it asks somebody else next
    name = _named(quorum_name(core.config.cluster_id, theirs))
    if theirs is None or response.leader.epoch <= core.election.epoch:
        _say_once(
            core,
            f"does not follow {peer.endpoint}: it serves {name}, which was left behind (epoch "
            f"{response.leader.epoch}, here {core.election.epoch})",
        )
    elif core.is_voter:
        _say_once(
            core,
            f"takes no part: {peer.endpoint} serves {name}, and this directory is of before that. If that recovery was "
            "meant: stop this node, move the directory away, format an empty one with --no-initial-controllers, start "
            "the node and run `quorate quorum add-controller`",
        )
    else:
        end = core.log.end
        mine = f"discards its copy of the log, which ends at {end}" if end.offset else "has no log yet"
        core.note(
            f"{mine}: {peer.endpoint} serves {name}, epoch {response.leader.epoch}, which it fetches now"
        )
        core.effects.superseded_by = theirs


# ---- how such a log begins ---------------------------------------------------------------------------


def first_epoch(known: Iterable[int]) -> Epoch:
    """Far above every epoch that anybody has told of: what others know besides must not reach it."""
    return Epoch(max(known, default=0) + EPOCHS_SKIPPED)


def first_batches(
    end: OffsetAndEpoch,
    voter: Voter,
    record: QuorumRecoveryRecord,
    *,
    transaction_open: bool = False,
    append_time_ms: int,
) -> tuple[RecordBatch, RecordBatch]:
    """What follows a log that ends at `end`: its one voter from here on, and the audit record.

    Nobody has elected the leader that the first record names, and it never leads that epoch: who was leader starts
    as Resigned. That no vote was granted is also how everybody knows that these voters were decided by hand. A
    transaction that nobody will end is aborted first: the audit record would be dropped with it.
    """
    named = LeaderChangeVoter(voter_id=voter.voter_id, voter_directory_id=voter.voter_directory_id)
    control = RecordBatch.seal(
        [
            LeaderChangeRecord(version=1, leader_id=voter.voter_id, voters=(named,), granting_voters=()),
            KRaftVersionRecord(k_raft_version=1),
            VotersRecord(voters=(voter,)),
        ],
        base_offset=end.offset,
        epoch=Epoch(record.epoch),
        append_time_ms=append_time_ms,
        is_control=True,
    )
    abort = AbortTransactionRecord(reason="The quorum was recovered without the controller that began it.")
    audit = RecordBatch.seal(
        [abort, record] if transaction_open else [record],
        base_offset=control.end_offset,
        epoch=Epoch(record.epoch),
        append_time_ms=append_time_ms,
    )
    return control, audit


def is_beginning(records: Sequence[AnyRecord]) -> bool:
    """Whether a control batch opens an epoch for which nobody voted."""
    first = records[0]
    return isinstance(first, LeaderChangeRecord) and not first.granting_voters


# ---- texts -------------------------------------------------------------------------------------------


def _say_once(core: "RaftCore", text: str) -> None:
    if text not in core.said_once and len(core.said_once) < _TEXTS_KEPT:
        core.said_once.add(text)
        core.note(text)


def _named(quorum: str) -> str:
    cluster, _, recovery = quorum.partition("/")
    return f"cluster {cluster}" + (f", recovery {recovery}" if recovery else "")
