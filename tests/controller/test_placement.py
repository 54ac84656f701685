"""Where replicas go: the laws of `placement`, for any cluster."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.controller.placement import Candidate, place
from quorate.metadata.checks import ErrorCode, RequestRejected


@st.composite
def clusters(draw: st.DrawFn) -> list[Candidate]:
    ids = draw(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True))
    racks = st.sampled_from([None, "a", "b", "c", "d"])
    brokers = [Candidate(id=i, rack=draw(racks), fenced=draw(st.booleans())) for i in ids]
    if all(broker.fenced for broker in brokers):
        brokers[0] = Candidate(id=brokers[0].id, rack=brokers[0].rack, fenced=False)
    return brokers


@given(clusters(), st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_replicas_are_distinct_registered_and_led_by_an_unfenced_broker(
    brokers: list[Candidate], partitions: int, seed: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, len(brokers)))
    by_id = {broker.id: broker for broker in brokers}

    placed = place(brokers, partition_count=partitions, replication_factor=factor, rng=random.Random(seed))

    assert len(placed) == partitions
    for replicas in placed:
        assert len(replicas) == len(set(replicas)) == factor
        assert set(replicas) <= set(by_id)
        assert not by_id[replicas[0]].fenced


@given(clusters(), st.integers(0, 2**32), st.data())
def test_replicas_spread_over_as_many_racks_as_possible(
    brokers: list[Candidate], seed: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, len(brokers)))
    rack_of = {broker.id: broker.rack for broker in brokers}
    racks = len(set(rack_of.values()))

    for replicas in place(brokers, partition_count=20, replication_factor=factor, rng=random.Random(seed)):
        assert len({rack_of[replica] for replica in replicas}) == min(factor, racks)


@given(clusters(), st.integers(0, 2**32), st.integers(1, 4), st.data())
def test_every_unfenced_broker_leads_equally_often(
    brokers: list[Candidate], seed: int, rounds: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, len(brokers)))
    unfenced = [broker.id for broker in brokers if not broker.fenced]

    placed = place(
        brokers,
        partition_count=rounds * len(unfenced),
        replication_factor=factor,
        rng=random.Random(seed),
    )

    assert Counter(replicas[0] for replicas in placed) == dict.fromkeys(unfenced, rounds)


@given(st.integers(2, 9), st.integers(0, 2**32))
def test_followers_are_spread_evenly_in_a_cluster_without_racks(size: int, seed: int) -> None:
    brokers = [Candidate(id=i, rack=None, fenced=False) for i in range(size)]

    placed = place(brokers, partition_count=size * 20, replication_factor=2, rng=random.Random(seed))

    followers = Counter(replicas[1] for replicas in placed)
    assert max(followers.values()) - min(followers.get(i, 0) for i in range(size)) <= 3


@given(clusters(), st.integers(0, 2**32))
def test_a_fenced_broker_comes_after_the_unfenced_ones_of_its_rack(
    brokers: list[Candidate], seed: int
) -> None:
    by_id = {broker.id: broker for broker in brokers}

    for replicas in place(
        brokers, partition_count=10, replication_factor=len(brokers), rng=random.Random(seed)
    ):
        for rack in {broker.rack for broker in brokers}:
            fences = [by_id[replica].fenced for replica in replicas if by_id[replica].rack == rack]
            assert fences == sorted(fences)


def test_the_same_seed_places_the_same() -> None:
    brokers = [Candidate(id=i, rack=str(i % 3), fenced=False) for i in range(7)]

    first, again = (
        place(brokers, partition_count=50, replication_factor=3, rng=random.Random(5)) for _ in range(2)
    )
    other = place(brokers, partition_count=50, replication_factor=3, rng=random.Random(6))

    assert first == again != other


@pytest.mark.parametrize(
    ("brokers", "factor", "words"),
    [
        ([], 1, "only 0 broker(s) are registered"),
        ([Candidate(id=1, rack=None, fenced=False)], 2, "only 1 broker(s) are registered"),
        ([Candidate(id=1, rack=None, fenced=True)], 1, "All brokers are currently fenced"),
    ],
)
def test_too_few_brokers(brokers: list[Candidate], factor: int, words: str) -> None:
    with pytest.raises(RequestRejected, match="Unable to replicate") as refusal:
        place(brokers, partition_count=1, replication_factor=factor, rng=random.Random(1))

    assert refusal.value.code is ErrorCode.invalid_replication_factor
    assert words in refusal.value.message
