"""Three replicas, in any order Hypothesis thinks of: messages overtake each other, come twice, are lost; nodes die.

The simulator draws likely worlds, thousands of them; here every step is a choice, so that what goes wrong shrinks to
the few steps that matter. After each of them: the laws of each replica (`invariants`, which the driver checks), and
those of figure 3 of the Raft paper between them.
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, NodeId, Offset
from tests.scenarios.driver import Replica, World

NODES = st.sampled_from([None, NodeId(1), NodeId(2), NodeId(3)])
"""None: whoever leads."""
PAUSES = st.sampled_from([0, 1, 3, 30, 300, 3_500])
"""Milliseconds in which things take their course."""


class AnyOrder(World):
    """What would happen at a set time waits until it is picked."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[int, Callable[[], None]]] = []

    def at(self, when_ms: int, action: Callable[[], None]) -> None:
        self.waiting.append((when_ms, action))

    def run(self, milliseconds: int) -> None:
        """The likely course of things, without which nobody would ever be elected."""
        until = self.now_ms + milliseconds
        while self.waiting:
            index = min(range(len(self.waiting)), key=lambda one: self.waiting[one][0])
            if self.waiting[index][0] > until:
                break
            self.now_ms = max(self.now_ms, self.waiting[index][0])
            self.pick(index)
        self.now_ms = until

    def pick(self, index: int) -> None:
        _, action = self.waiting.pop(index)
        action()


class QuorumMachine(RuleBasedStateMachine):
    """See the module's docstring."""

    @initialize(twice=st.booleans(), luck=st.tuples(*[st.integers(0, 5)] * 3))
    def begin(self, twice: bool, luck: tuple[int, int, int]) -> None:
        self.world = AnyOrder()
        self.world.nodes(3)
        if twice:
            self.world.twice()
        self.leaders: dict[Epoch, NodeId] = {}
        self.committed: dict[Offset, RecordBatch] = {}
        for one, seed in zip(self.world.replicas.values(), luck, strict=True):
            one.start()
            self.world.luck(one, seed)
        self.world.run(300)

    @rule(picked=st.lists(st.integers(0, 1_000), max_size=8), then=PAUSES)
    def some_of_it_happens_early(self, picked: list[int], then: int) -> None:
        for one in picked:
            if self.world.waiting:
                self.world.pick(one % len(self.world.waiting))
        self.world.run(then)

    @rule(count=st.integers(1, 3), then=PAUSES)
    def a_leader_writes(self, count: int, then: int) -> None:
        for one in self._living():
            if one.core.leads:
                self.world.propose(one, count)
        self.world.run(then)

    @rule(node=NODES, then=PAUSES)
    def one_is_cut_off(self, node: NodeId | None, then: int) -> None:
        """And whoever was before is not any more: with two of three away nothing happens that could go wrong."""
        self.world.heal()
        one = self._node(node)
        for other in self.world.replicas:
            self.world.cut(one.id, other)
            self.world.cut(other, one.id)
        self.world.run(then)

    @rule(then=PAUSES)
    def the_network_heals(self, then: int) -> None:
        self.world.heal()
        self.world.run(then)

    @rule(node=NODES, then=PAUSES)
    def one_dies_and_the_dead_return(self, node: NodeId | None, then: int) -> None:
        one = self._node(node)
        self.the_dead_return(0)
        one.die()
        self.world.run(then)

    @rule(then=PAUSES)
    def the_dead_return(self, then: int) -> None:
        for one in self.world.replicas.values():
            if not one.up:
                one.start()
        self.world.run(then)

    @rule(node=NODES)
    def a_snapshot_is_taken(self, node: NodeId | None) -> None:
        replica = self._node(node)
        end = min(replica.core.high_watermark or 0, replica.core.log.flushed_end)
        taken = replica.core.log.newest_snapshot
        if replica.up and replica.core.high_watermark == end > (0 if taken is None else taken.offset):
            self.world.snapshot(replica)

    @invariant()
    @precondition(lambda self: hasattr(self, "world"))
    def figure_3(self) -> None:
        for one in self._living():
            self._state_machine_safety(one)
        for one in self._living():
            if one.core.leads:
                self._election_safety_and_leader_completeness(one)
        logs = [{batch.base_offset: batch for batch in _batches(one)} for one in self.world.replicas.values()]
        for index, mine in enumerate(logs):
            for other in logs[index + 1 :]:
                _log_matching(mine, other)

    def _state_machine_safety(self, one: Replica) -> None:
        """What is committed is the same everywhere, and was on two of the three disks when it was first called so."""
        for batch in _batches(one):
            if batch.end_offset <= (one.core.high_watermark or 0):
                if batch.base_offset not in self.committed:
                    holders = [other for other in self.world.replicas.values() if _holds(other, batch)]
                    assert len(holders) >= 2, f"{one.name} calls {batch.base_offset} committed"
                assert self.committed.setdefault(batch.base_offset, batch).data == batch.data

    def _election_safety_and_leader_completeness(self, one: Replica) -> None:
        epoch = one.core.election.epoch
        assert self.leaders.setdefault(epoch, one.id) == one.id
        for batch in self.committed.values():
            assert batch.epoch >= epoch or _holds(one, batch), f"{one.name} lacks {batch.base_offset}"

    def _node(self, node: NodeId | None) -> Replica:
        leaders = [one for one in self._living() if one.core.leads]
        return leaders[-1] if node is None and leaders else self.world.replicas[node or NodeId(1)]

    def _living(self) -> list[Replica]:
        return [one for one in self.world.replicas.values() if one.up]


def _batches(replica: Replica) -> list[RecordBatch]:
    log = replica.log
    return log.read(log.start, log.end_offset, 1 << 30) if log.start < log.end_offset else []


def _holds(replica: Replica, batch: RecordBatch) -> bool:
    """In its log, or in the snapshot that its log begins behind."""
    return batch.end_offset <= replica.log.start or any(one.data == batch.data for one in _batches(replica))


def _log_matching(mine: dict[Offset, RecordBatch], other: dict[Offset, RecordBatch]) -> None:
    """Logs that have one record in common are equal below it."""
    common = sorted(mine.keys() & other.keys())
    agree = [mine[base].epoch == other[base].epoch for base in common]
    last = max((at for at, equal in enumerate(agree) if equal), default=-1)
    assert all(mine[base].data == other[base].data for base in common[: last + 1])


TestAnyOrderOfEvents = QuorumMachine.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
