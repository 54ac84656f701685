"""One partition from what it is to what it should be: leader, ISR, epochs, reassignment (`partition_change`)."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.controller.partition_change import Election, Target, change_partition, without
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import merge
from quorate.metadata.records import NO_LEADER, RECOVERED, RECOVERING, UNCHANGED, PartitionChangeRecord
from tests.controller.world import directory

TOPIC = uuid.UUID(int=1000)


def partition(replicas: tuple[int, ...] = (1, 2, 3), **changes: Any) -> PartitionRegistration:
    fields: dict[str, Any] = {
        "replicas": replicas,
        "directories": tuple(directory(r) for r in replicas),
        "isr": replicas,
        "removing_replicas": (),
        "adding_replicas": (),
        "eligible_leader_replicas": (),
        "last_known_elr": (),
        "leader": replicas[0],
        "leader_recovery_state": RECOVERED,
        "leader_epoch": 5,
        "partition_epoch": 9,
        **changes,
    }
    return PartitionRegistration(**fields)


def change(
    before: PartitionRegistration,
    target: Target | None = None,
    *,
    active: tuple[int, ...] = (1, 2, 3, 4, 5, 6),
    election: Election = Election.ONLINE,
) -> PartitionChangeRecord | None:
    return change_partition(
        before,
        topic_id=TOPIC,
        partition_id=0,
        version=1,
        may_lead=lambda replica: replica in active,
        election=election,
        target=target or Target(),
        directory_of=directory,
    )


def said(record: PartitionChangeRecord | None) -> dict[str, Any]:
    """The fields that the record changes."""
    assert record is not None
    names = (
        "isr",
        "leader",
        "replicas",
        "removing_replicas",
        "adding_replicas",
        "leader_recovery_state",
        "directories",
    )
    return {name: getattr(record, name) for name in names if getattr(record, name) is not UNCHANGED}


def test_nothing_to_change_is_no_record() -> None:
    assert change(partition()) is None
    assert change(partition(), Target(isr=(1, 2, 3), leader_recovery_state=RECOVERED)) is None


def test_an_isr_that_shrinks_keeps_leader_and_leader_epoch() -> None:
    record = change(partition(), Target(isr=(1, 2)))

    assert said(record) == {"isr": (1, 2)}


def test_the_leader_stays_while_it_can() -> None:
    assert change(partition(leader=3)) is None


def test_a_leader_that_left_the_isr_is_followed_by_the_first_replica_in_sync() -> None:
    record = change(partition(isr=(3, 2, 1)), Target(isr=(3, 2)))

    assert said(record) == {"isr": (3, 2), "leader": 2}


def test_a_replica_that_may_not_lead_is_passed_over() -> None:
    assert said(change(partition(), active=(3,))) == {"leader": 3}


def test_nobody_can_lead() -> None:
    assert said(change(partition(isr=(1,)), active=(2, 3))) == {"leader": NO_LEADER}


def test_the_last_member_stays_in_the_isr() -> None:
    record = change(partition(isr=(1,)), Target(isr=()), active=(2, 3))

    assert said(record) == {"leader": NO_LEADER}


def test_who_is_back_leads_again_if_it_is_in_the_isr() -> None:
    before = partition(isr=(2,), leader=NO_LEADER)

    assert change(before, active=(1, 3)) is None
    assert said(change(before, active=(2,))) == {"leader": 2}


def test_preferred_takes_the_first_replica_only_from_the_isr() -> None:
    assert said(change(partition(leader=2), election=Election.PREFERRED)) == {"leader": 1}
    assert change(partition(leader=2, isr=(2, 3)), election=Election.PREFERRED) is None
    assert change(partition(leader=2), election=Election.PREFERRED, active=(2, 3)) is None


def test_unclean_makes_the_new_leader_the_whole_isr_in_recovery() -> None:
    record = change(partition(isr=(1,)), election=Election.UNCLEAN, active=(3, 2))

    assert said(record) == {"isr": (2,), "leader": 2, "leader_recovery_state": RECOVERING}


def test_unclean_prefers_a_clean_election() -> None:
    assert said(change(partition(), election=Election.UNCLEAN, active=(3,))) == {"leader": 3}


def test_unclean_with_nobody_active_leaves_it_leaderless() -> None:
    assert said(change(partition(), election=Election.UNCLEAN, active=())) == {"leader": NO_LEADER}


def test_a_recovered_leader_says_so() -> None:
    before = partition(isr=(1,), leader_recovery_state=RECOVERING)

    record = change(before, Target(leader_recovery_state=RECOVERED))

    assert said(record) == {"leader_recovery_state": RECOVERED}


def reassigning(**changes: Any) -> PartitionRegistration:
    """From (1, 2, 3) to (4, 5)."""
    fields: dict[str, Any] = {
        "isr": (1, 2, 3),
        "removing_replicas": (1, 2, 3),
        "adding_replicas": (4, 5),
        **changes,
    }
    return partition((4, 5, 1, 2, 3), **{"leader": 1, **fields})


def test_a_reassignment_waits_until_every_target_is_in_sync() -> None:
    assert said(change(reassigning(), Target(isr=(1, 2, 3, 4)))) == {"isr": (1, 2, 3, 4)}


def test_a_reassignment_completes_with_the_isr_change_that_fills_it() -> None:
    record = change(reassigning(isr=(1, 2, 3, 4)), Target(isr=(1, 2, 3, 4, 5)))

    assert said(record) == {
        "isr": (4, 5),
        "leader": 4,
        "replicas": (4, 5),
        "removing_replicas": (),
        "adding_replicas": (),
        "directories": (directory(4), directory(5)),
    }


def test_a_completed_reassignment_raises_the_leader_epoch_even_if_the_leader_stays() -> None:
    before = partition((1, 2, 3), removing_replicas=(3,))

    record = change(before)

    assert said(record)["leader"] == 1
    assert merge(before, record).leader_epoch == 6 if record else False


def test_the_last_member_that_goes_is_still_in_sync_with_itself() -> None:
    """It stays in the ISR without leading; a reassignment that only waited for it is over in the same change."""
    before = partition((1, 2), isr=(2,), leader=2, removing_replicas=(1,))

    record = change(before, Target(isr=()), active=())

    assert record is not None
    after = merge(before, record)
    assert (after.replicas, after.isr, after.leader) == ((2,), (2,), NO_LEADER)
    assert not after.is_reassigning


def test_new_replicas_get_a_directory_and_old_ones_keep_theirs() -> None:
    record = change(
        partition((1, 2)),
        Target(replicas=(3, 1, 2), removing=(2,), adding=(3,)),
    )

    assert said(record)["directories"] == (directory(3), directory(1), directory(2))
    assert said(record)["adding_replicas"] == (3,)
    assert said(record)["removing_replicas"] == (2,)


@st.composite
def partitions(draw: st.DrawFn) -> PartitionRegistration:
    replicas = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=5, unique=True)))
    isr = tuple(draw(st.lists(st.sampled_from(replicas), min_size=1, unique=True)))
    moving = draw(st.lists(st.sampled_from(replicas), unique=True, max_size=len(replicas) - 1))
    return partition(
        replicas,
        isr=isr,
        leader=draw(st.sampled_from((NO_LEADER, *isr))),
        removing_replicas=tuple(r for r in moving if r % 2),
        adding_replicas=tuple(r for r in moving if not r % 2),
    )


def test_a_reassignment_that_an_unclean_election_ends_is_completed_by_the_next_change() -> None:
    """As in Kafka, which looks at the reassignment first: what was to be removed was all that was in sync."""
    before = partition((3, 1), isr=(3,), removing_replicas=(3,), leader=NO_LEADER)
    record = change(before, active=(1,), election=Election.UNCLEAN)
    assert record is not None
    after = merge(before, record)
    assert (after.replicas, after.isr, after.leader, after.is_reassigning) == ((3, 1), (1,), 1, True)

    record = change(after, active=(1,), election=Election.UNCLEAN)
    assert record is not None
    settled = merge(after, record)
    assert (settled.replicas, settled.isr, settled.leader, settled.is_reassigning) == ((1,), (1,), 1, False)
    assert change(settled, active=(1,), election=Election.UNCLEAN) is None


@given(
    partitions(),
    st.sets(st.integers(1, 6)),
    st.sampled_from(Election),
    st.data(),
)
def test_laws(
    before: PartitionRegistration, active: set[int], election: Election, data: st.DataObject
) -> None:
    gone = data.draw(st.none() | st.sampled_from(before.replicas))
    active = active - {gone}
    isr = None if gone is None else without(before.isr, gone)

    record = change(before, Target(isr=isr), active=tuple(active), election=election)
    after = before if record is None else merge(before, record)

    assert after.isr, "the ISR is never empty"
    assert set(after.isr) <= set(after.replicas)
    assert after.leader == NO_LEADER or (after.leader in after.isr and after.leader in active)
    if election is Election.UNCLEAN and active & set(after.replicas):
        assert after.leader != NO_LEADER
    if after.leader == NO_LEADER:
        assert not active & set(after.isr)
    if after.leader != before.leader:
        assert after.leader_epoch == before.leader_epoch + 1
    if record is not None:
        assert after.partition_epoch == before.partition_epoch + 1
        again = change(after, active=tuple(active), election=election)
        if again is not None:
            assert not set(after.isr) <= set(before.isr), "one change is enough, but for an unclean leader's"
            settled = merge(after, again)
            assert before.is_reassigning
            assert not settled.is_reassigning
            assert change(settled, active=tuple(active), election=election) is None
    if not set(before.replicas) <= set(after.replicas):
        assert after.leader_epoch == before.leader_epoch + 1
        assert not after.is_reassigning
    assert len(after.directories) == len(after.replicas)


@pytest.mark.parametrize("election", Election)
def test_the_version_is_the_callers(election: Election) -> None:
    record = change_partition(
        partition(),
        topic_id=TOPIC,
        partition_id=7,
        version=0,
        may_lead=lambda replica: replica == 2,
        election=election,
    )

    assert record is not None
    assert (record.version, record.partition_id, record.topic_id) == (0, 7, TOPIC)
