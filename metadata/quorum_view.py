"""What a leader's core knows of the quorum, as the value that DescribeQuorum is answered from (pure).

The core counts by a clock that only runs; its times become the wall clock's at the answer, as ages before now. Were the
difference of the two clocks taken once, a wall clock set back later would give times in the future, which Kafka's tools
refuse to print.
"""

from quorate.metadata.ids import NodeId
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.roles import Leader, Progress
from quorate.metadata.views.quorum import UNKNOWN, QuorumStatus, ReplicaStatus


def quorum_status(core: RaftCore, now_ms: int, wall_ms: int) -> QuorumStatus | None:
    """None where this node does not lead. `now_ms`: by the core's clock, read before `wall_ms`."""
    role = core.role
    if not isinstance(role, Leader):
        return None
    voters = []
    for node_id in core.voters.ids:
        key = core.voters.key(node_id)
        if node_id == core.id and core.is_voter:
            voters.append(
                ReplicaStatus(
                    replica=core.config.replica,
                    log_end_offset=core.log.end.offset,
                    last_fetch_ms=wall_ms,
                    last_caught_up_ms=wall_ms,
                )
            )
        else:
            voters.append(_status(role.progress.get(key) or Progress(key), now_ms, wall_ms))
    observers = [
        _status(progress, now_ms, wall_ms)
        for key, progress in sorted(role.progress.items(), key=lambda item: item[0].id)
        if not core.voters.contains(key)
    ]
    return QuorumStatus(
        leader_id=core.id,
        epoch=core.election.epoch,
        high_watermark=core.high_watermark if role.high_watermark_known else None,
        voters=tuple(voters),
        observers=tuple(observers),
        endpoints={NodeId(voter.voter_id): tuple(voter.endpoints) for voter in core.voters.voters.values()},
    )


def _status(progress: Progress, now_ms: int, wall_ms: int) -> ReplicaStatus:
    def wall(at_ms: int | None) -> int:
        return UNKNOWN if at_ms is None else wall_ms - (now_ms - at_ms)

    return ReplicaStatus(
        replica=progress.key,
        log_end_offset=UNKNOWN if progress.end_offset is None else progress.end_offset,
        last_fetch_ms=wall(progress.last_fetch_ms),
        last_caught_up_ms=wall(progress.last_caught_up_ms),
    )
