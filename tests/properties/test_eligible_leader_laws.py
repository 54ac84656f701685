"""Eligible leader replicas, against a model of the data: no clean election ever loses a committed write.

The model knows one thing of each replica: whether its log holds everything that was committed. A write is committed
while at least min.insync.replicas are in sync, and then all of those hold it and nobody else does (KIP-966). A broker
that stops uncleanly loses the end of its log. Everything else is what the controller decides.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.controller import isr
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.writer import digest, image_records
from quorate.metadata.records import NO_LEADER, RECOVERING
from tests.controller.test_eligible_leaders import fence, in_sync, restart, unfence, world_with
from tests.controller.world import World
from tests.metadata.model.building import image_of

BROKERS = (1, 2, 3)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "fence", "unfence", "shut down", "clean", "unclean", "caught up", "slow"]),
        st.sampled_from(BROKERS),
    ),
    max_size=30,
)


class Data:
    """The partition's logs."""

    def __init__(self, min_isr: int) -> None:
        self.min_isr = min_isr
        self.complete = set(BROKERS)

    def write(self, world: World) -> None:
        now = world.partition("t")
        if now.leader != NO_LEADER and len(now.isr) >= self.min_isr:
            self.complete = set(now.isr)

    def follow(self, world: World, before: int) -> None:
        """What a decision made of the partition may not lose anything, unless it says so."""
        now = world.partition("t")
        if now.leader not in (NO_LEADER, before) and now.leader_recovery_state == RECOVERING:
            self.complete = {now.leader}  # what the new leader has is all there is from now on
        assert now.leader == NO_LEADER or now.leader in now.isr
        assert not set(now.isr) & set(now.eligible_leader_replicas)
        assert {*now.isr, *now.eligible_leader_replicas} <= self.complete
        assert len(now.isr) < self.min_isr or not now.eligible_leader_replicas
        assert now.isr or now.leader == NO_LEADER
        assert len(now.last_known_elr) == (now.leader == NO_LEADER)


@given(min_isr=st.integers(1, 3), steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_no_clean_election_loses_what_was_committed(min_isr: int, steps: list[tuple[str, int]]) -> None:
    world, data = world_with(min_isr), Data(min_isr)
    for life, (what, broker_id) in enumerate(steps, 1):
        before = world.partition("t").leader
        broker = world.broker(broker_id)
        if what == "write":
            data.write(world)
        elif what == "fence":
            fence(world, broker_id)
        elif what == "unfence" and broker.fenced:
            unfence(world, broker_id)
        elif what == "shut down" and not broker.fenced and not broker.in_controlled_shutdown:
            world.replay(isr.begin_controlled_shutdown(world.context(), broker).records)
        elif what in ("clean", "unclean"):
            world.sessions.clear()
            if what == "unclean":
                data.complete.discard(broker_id)
            assert restart(world, broker_id, cleanly=what == "clean", life=life) is ErrorCode.none
        elif what == "caught up" and before != NO_LEADER:
            members = {*world.partition("t").isr, broker_id}
            if in_sync(world, *sorted(members)) is ErrorCode.none and before in data.complete:
                data.complete.add(broker_id)
        elif what == "slow" and before not in (NO_LEADER, broker_id):
            in_sync(world, *(m for m in world.partition("t").isr if m != broker_id))
        data.follow(world, before)
    assert digest(image_of(image_records(world.image))) == digest(world.image)
