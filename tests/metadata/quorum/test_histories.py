"""Laws of the two histories that the core keeps of its log: epochs, and voters."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch, random_uuid
from quorate.metadata.quorum.epochs import EpochHistory
from quorate.metadata.quorum.voters import VoterHistory, VoterSet
from quorate.metadata.records import KRaftVersionRecord, VersionRange, Voter, VotersRecord

EPOCHS = st.lists(st.integers(1, 6), max_size=40).map(sorted)
"""The epoch of each record of a log."""


def history(epochs: list[int]) -> EpochHistory:
    made = EpochHistory()
    for offset, epoch in enumerate(epochs):
        made = made.with_append(Epoch(epoch), Offset(offset))
    return made


@given(EPOCHS)
def test_the_epoch_before_an_offset_is_that_of_the_record_there(epochs: list[int]) -> None:
    made = history(epochs)
    assert [made.epoch_before(Offset(end)) for end in range(len(epochs) + 1)] == [0, *epochs]


@given(EPOCHS, st.integers(0, 40))
def test_truncation_is_the_history_of_the_shorter_log(epochs: list[int], cut: int) -> None:
    cut = min(cut, len(epochs))
    assert history(epochs).truncated_to(Offset(cut)) == history(epochs[:cut])


@given(EPOCHS, st.integers(0, 8))
def test_the_end_for_an_epoch_is_the_last_record_at_or_below_it(epochs: list[int], asked: int) -> None:
    found = history(epochs).end_for(Epoch(asked), Offset(len(epochs)))
    below = [epoch for epoch in epochs if epoch <= asked]
    expected = OffsetAndEpoch(Offset(len(below)), Epoch(below[-1])) if below else None
    assert found == expected


@given(EPOCHS, st.integers(0, 40), st.integers(0, 40))
def test_forgetting_a_prefix_keeps_what_lies_behind_it_now_or_later(
    epochs: list[int], start: int, until: int
) -> None:
    """The log may be forgotten up to its very end, by a replica whose newest snapshot ends there."""
    until = min(until, len(epochs))
    start = min(start, until)
    kept = history(epochs[:until]).from_start(Offset(start), Offset(until))
    for offset, epoch in list(enumerate(epochs))[until:]:
        kept = kept.with_append(Epoch(epoch), Offset(offset))
    for end in range(start + 1, len(epochs) + 1):
        assert kept.epoch_before(Offset(end)) == epochs[end - 1]
    assert all(one.epoch < other.epoch and one.offset < other.offset for one, other in pairwise(kept.starts))


RNG = random.Random(3)
IDS = {n: random_uuid(RNG) for n in range(1, 6)}


def voters(*numbers: int) -> VotersRecord:
    return VoterSet.of(
        Voter(
            voter_id=NodeId(n),
            voter_directory_id=IDS[n],
            endpoints=(Endpoint("CONTROLLER", "h", n),),
            kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
        )
        for n in numbers
    ).record()


def test_the_last_voters_in_the_log_are_in_force_and_a_cut_brings_back_the_ones_before() -> None:
    made = VoterHistory.of(
        [
            (Offset(1), KRaftVersionRecord(k_raft_version=1)),
            (Offset(2), voters(1, 2, 3)),
            (Offset(7), voters(1, 2)),
        ]
    )
    assert made.last.ids == (1, 2)
    assert made.truncated_to(Offset(7)).last.ids == (1, 2, 3)
    assert made.truncated_to(Offset(2)).last.ids == ()
    assert made.at(Offset(5)) == (1, made.truncated_to(Offset(5)).last)


def test_a_majority_is_more_than_half() -> None:
    assert [VoterHistory.of([(Offset(0), voters(*range(1, n + 1)))]).last.majority for n in range(1, 6)] == [
        1,
        2,
        2,
        3,
        3,
    ]
