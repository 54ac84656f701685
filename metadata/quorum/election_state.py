"""What a replica must never forget about elections: the content of the quorum-state file (pure)."""

import attrs

from quorate.metadata.ids import Epoch, NodeId, ReplicaKey


@attrs.frozen
class ElectionState:
    """The epoch, who leads it as far as known, and whom this replica gave its one vote in it.

    Vote and leader are kept together (KIP-996): a follower that falls back to Prospective must still know
    that its vote of the epoch is spent.
    """

    epoch: Epoch
    leader_id: NodeId | None = None
    voted: ReplicaKey | None = None
    was_voter: bool = attrs.field(default=False, eq=False)
    """Whether this disk has ever been among the voters: if it is none now, somebody removed it (`joining`). It is kept
    here and not compared: it says nothing of an election."""

    @classmethod
    def primordial(cls) -> "ElectionState":
        """Epoch 0, which never has a leader or records."""
        return cls(Epoch(0))
