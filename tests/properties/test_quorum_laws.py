"""Three replicas, and whatever order Hypothesis thinks of: messages overtake each other, come twice, are cut off; disks end
their flushes late; processes die.

The simulator draws likely worlds, thousands of them; here every single step is a choice, so that what goes wrong shrinks to
the few steps that matter. After each of them: the laws of each replica (`invariants`, which the driver checks), and those of
figure 3 of the Raft paper between them.
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, NodeId, Offset
from tests.scenarios.driver import Replica, World

NODES = st.sampled_from([NodeId(1), NodeId(2), NodeId(3)])


class AnyOrder(World):
    """What would happen at a set time waits until it is picked."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def at(self, when_ms: int, action: Callable[[], None]) -> None:
        self.waiting.append(action)


class QuorumMachine(RuleBasedStateMachine):
    """See the module's docstring."""

    @initialize(twice=st.booleans())
    def begin(self, twice: bool) -> None:
        self.world = AnyOrder()
        self.world.nodes(3)
        if twice:
            self.world.twice()
        self.leaders: dict[Epoch, NodeId] = {}
        self.committed: dict[Offset, RecordBatch] = {}
        for one in self.world.replicas.values():
            one.start()

    @rule(picked=st.integers(0, 1_000))
    def something_happens(self, picked: int) -> None:
        waiting = self.world.waiting
        if waiting:
            waiting.pop(picked % len(waiting))()

    @rule(count=st.integers(1, 12))
    def all_happens_in_order(self, count: int) -> None:
        """The likely course of things, without which nobody would ever be elected."""
        for _ in range(count):
            self.something_happens(0)

    @rule(milliseconds=st.sampled_from([1, 20, 150, 1_000, 3_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.world.now_ms += milliseconds

    @rule(count=st.integers(1, 3))
    def a_leader_writes(self, count: int) -> None:
        for one in self._living():
            if one.core.leads:
                self.world.propose(one, count)

    @rule(one=NODES, other=NODES)
    def messages_are_cut_off(self, one: NodeId, other: NodeId) -> None:
        self.world.cut(one, other)

    @rule()
    def the_network_heals(self) -> None:
        self.world.heal()

    @rule(node=NODES)
    def a_process_dies(self, node: NodeId) -> None:
        if self.world.replicas[node].up:
            self.world.replicas[node].die()

    @rule(node=NODES)
    def a_process_starts(self, node: NodeId) -> None:
        if not self.world.replicas[node].up:
            self.world.replicas[node].start()

    @rule(node=NODES)
    def a_snapshot_is_taken(self, node: NodeId) -> None:
        replica = self.world.replicas[node]
        end = min(replica.core.high_watermark or 0, replica.core.log.flushed_end)
        taken = replica.core.log.newest_snapshot
        if replica.up and replica.core.high_watermark == end > (0 if taken is None else taken.offset):
            self.world.snapshot(replica)

    @invariant()
    @precondition(lambda self: hasattr(self, "world"))
    def an_epoch_has_one_leader(self) -> None:
        for one in self._living():
            if one.core.leads:
                assert self.leaders.setdefault(one.core.election.epoch, one.id) == one.id

    @invariant()
    @precondition(lambda self: hasattr(self, "world"))
    def what_is_committed_is_the_same_everywhere(self) -> None:
        for one in self._living():
            for batch in _batches(one):
                if batch.end_offset <= (one.core.high_watermark or 0):
                    assert self.committed.setdefault(batch.base_offset, batch).data == batch.data

    @invariant()
    @precondition(lambda self: hasattr(self, "world"))
    def logs_with_an_equal_record_are_equal_below_it(self) -> None:
        logs = [{batch.base_offset: batch for batch in _batches(one)} for one in self.world.replicas.values()]
        for index, mine in enumerate(logs):
            for other in logs[index + 1 :]:
                common = sorted(mine.keys() & other.keys())
                agree = [mine[base].epoch == other[base].epoch for base in common]
                last = max((at for at, equal in enumerate(agree) if equal), default=-1)
                assert all(mine[base].data == other[base].data for base in common[: last + 1])

    def _living(self) -> list[Replica]:
        return [one for one in self.world.replicas.values() if one.up]


def _batches(replica: Replica) -> list[RecordBatch]:
    log = replica.log
    return log.read(log.start, log.end_offset, 1 << 30) if log.start < log.end_offset else []


TestAnyOrderOfEvents = QuorumMachine.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=40, stateful_step_count=80, deadline=None)
