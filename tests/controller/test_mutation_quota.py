"""controller_mutation_rate: whose bucket it is, how it fills, and what becomes of requests that ask for more."""

from collections.abc import Mapping

import pytest

from quorate.controller.mutation_quota import MOST_BUCKETS, RATE, Allowance, MutationQuotas, quota_of
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.image.settings import QuotasImage
from quorate.metadata.records import ClientQuotaRecord, QuotaEntity
from quorate.metadata.wire.quotas import AlterClientQuotasRequest, AlteredEntry, EntityData, OpData
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from tests.controller.desk import Desk
from tests.controller.world import config

BURST_S = 11
"""controller.quota.window.num times controller.quota.window.size.seconds."""


def quotas(rates: Mapping[tuple[tuple[str, str | None], ...], float]) -> QuotasImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all([
        ClientQuotaRecord(
            entity=tuple(QuotaEntity(entity_type=kind, entity_name=name) for kind, name in entity),
            key=RATE,
            value=rate,
            remove=False,
        )
        for entity, rate in rates.items()
    ])  # fmt: skip
    return delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0)).quotas


USER, CLIENT = ("user", "u"), ("client-id", "c")
ANY_USER, ANY_CLIENT = ("user", None), ("client-id", None)
ORDER = [
    ((USER, CLIENT), ("u", "c")),
    ((USER, ANY_CLIENT), ("u", "c")),
    ((USER,), ("u", "")),
    ((ANY_USER, CLIENT), ("u", "c")),
    ((ANY_USER, ANY_CLIENT), ("u", "c")),
    ((ANY_USER,), ("u", "")),
    ((CLIENT,), ("", "c")),
    ((ANY_CLIENT,), ("", "c")),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_most_specific_quota_counts(first: int) -> None:
    rates = {entity: float(number + 1) for number, (entity, _) in enumerate(ORDER) if number >= first}

    assert quota_of(quotas(rates), "u", "c") == (ORDER[first][1], first + 1)


def test_another_quota_and_another_client_are_no_limit() -> None:
    found = quotas({(("user", "v"),): 1.0, (("client-id", "d"),): 1.0})

    assert quota_of(found, "u", "c") is None
    assert quota_of(found, "", "") is None


ONE = quotas({(USER,): 10.0})


def allowed(buckets: MutationQuotas, now_ms: int, *, strict: bool = True) -> Allowance:
    return buckets.allowance(ONE, "User:u", "c", now_ms, strict=strict)


def take(buckets: MutationQuotas, permits: int, now_ms: int, *, strict: bool = True) -> Allowance:
    allowance = allowed(buckets, now_ms, strict=strict)
    allowance.take(permits)
    buckets.keep(allowance)
    return allowance


def test_a_full_bucket_may_be_overdrawn_once_and_then_nothing_is_taken() -> None:
    buckets = MutationQuotas(config())
    assert take(buckets, BURST_S * 10, 1_000).throttle_ms == 0
    assert take(buckets, 90, 1_000).throttle_ms == 0  # it was empty, and not in debt

    late = allowed(buckets, 1_000)
    with pytest.raises(RequestRejected) as refusal:
        late.take(1)
    assert refusal.value.code is ErrorCode.throttling_quota_exceeded
    assert late.throttle_ms == 9_000

    waited = allowed(buckets, 6_000)
    with pytest.raises(RequestRejected):
        waited.take(1)
    assert waited.throttle_ms == 4_000
    assert take(buckets, 1, 10_000).throttle_ms == 0


def test_old_clients_get_what_they_ask_for_and_are_told_to_be_quiet() -> None:
    buckets = MutationQuotas(config())
    take(buckets, BURST_S * 10, 0, strict=False)

    assert take(buckets, 80, 0, strict=False).throttle_ms == 8_000
    assert take(buckets, 90, 0, strict=False).throttle_ms == 17_000
    assert take(buckets, 1, 17_000, strict=False).throttle_ms == 100


@pytest.mark.parametrize("rate", [5e-324, 1e-9])
def test_with_the_smallest_rates_the_answer_can_still_be_said(rate: float) -> None:
    desk = limited(rate)
    response = desk.ask(creating("a", "b", partitions=1000), principal="User:alice", api_version=5)

    assert response.throttle_time_ms == 2**31 - 1


def test_it_never_holds_more_than_the_burst_and_a_clock_that_stands_gives_nothing() -> None:
    buckets = MutationQuotas(config(quota_window_num=3, quota_window_size_ms=2_000))
    take(buckets, 0, 0)
    allowance = allowed(buckets, 10**9)

    assert allowance.bucket.permits == 3 * 2 * 10
    assert allowed(buckets, 10**9).bucket == allowance.bucket


def test_buckets_that_are_full_again_are_forgotten() -> None:
    every = quotas({(ANY_USER, ANY_CLIENT): 10.0})
    buckets = MutationQuotas(config())
    for number in range(MOST_BUCKETS + 50):
        allowance = buckets.allowance(every, "User:u", f"c{number}", 0, strict=True)
        allowance.take(BURST_S * 10 + 5)
        buckets.keep(allowance)
    assert len(buckets) == MOST_BUCKETS

    later = buckets.allowance(every, "User:u", "c", BURST_S * 1_000 + 500, strict=True)
    later.take(1)
    buckets.keep(later)
    assert len(buckets) == 1


# --- requests


def limited(rate: float = 1.0, user: str | None = "alice") -> Desk:
    desk = Desk(config=config(broker_session_timeout_ms=10**9)).lead()
    desk.broker(1)
    entity = (EntityData(entity_type="user", entity_name=user),)
    op = OpData(key=RATE, value=rate)
    desk.ask(AlterClientQuotasRequest(entries=(AlteredEntry(entity=entity, ops=(op,)),)))
    return desk


def creating(*names: str, partitions: int = 1, validate_only: bool = False) -> CreateTopicsRequest:
    return CreateTopicsRequest(
        topics=tuple(
            CreatableTopic(name=name, num_partitions=partitions, replication_factor=1) for name in names
        ),
        validate_only=validate_only,
    )


def codes(items: object) -> list[ErrorCode]:
    return [item.error_code for item in items]  # type: ignore[attr-defined]


EXCEEDED = ErrorCode.throttling_quota_exceeded


def test_topics_beyond_the_quota_are_refused_one_by_one() -> None:
    desk = limited()

    response = desk.ask(creating("a", "b", "c", partitions=BURST_S), principal="User:alice")

    assert codes(response.topics) == [ErrorCode.none, ErrorCode.none, EXCEEDED]
    assert response.throttle_time_ms == BURST_S * 1_000
    assert desk.controller.newest_image.topics.names() == ["a", "b"]
    assert codes(desk.ask(creating("d"), principal="User:bob").topics) == [ErrorCode.none]

    desk.pass_time(BURST_S * 1_000)
    response = desk.ask(creating("c"), principal="User:alice")
    assert (codes(response.topics), response.throttle_time_ms) == ([ErrorCode.none], 0)


def test_before_version_6_they_are_created_and_the_client_shall_wait() -> None:
    desk = limited()

    response = desk.ask(creating("a", "b", "c", partitions=BURST_S), principal="User:alice", api_version=5)

    assert codes(response.topics) == [ErrorCode.none] * 3
    assert response.throttle_time_ms == 2 * BURST_S * 1_000


def test_growing_and_deleting_count_as_well() -> None:
    desk = limited()
    desk.ask(creating("a", "b", partitions=BURST_S), principal="User:root")
    desk.ask(creating("c", partitions=BURST_S + 1), principal="User:alice")
    grow = CreatePartitionsRequest(
        topics=(CreatePartitionsTopic(name="a", count=BURST_S + 1),), timeout_ms=1_000
    )
    delete = DeleteTopicsRequest(topics=(DeleteTopicState(name="b"),), timeout_ms=1_000)

    assert codes(desk.ask(grow, principal="User:alice", api_version=3).results) == [EXCEEDED]
    refused = desk.ask(delete, principal="User:alice", api_version=5)
    assert codes(refused.responses) == [EXCEEDED]
    assert refused.throttle_time_ms > 0
    old = desk.ask(grow, principal="User:alice", api_version=2)
    assert codes(old.results) == [ErrorCode.none]
    assert old.throttle_time_ms == 2_000
    old = desk.ask(delete, principal="User:alice", api_version=4)
    assert codes(old.responses) == [ErrorCode.none]
    assert old.throttle_time_ms == (2 + BURST_S) * 1_000


def test_what_is_refused_for_another_reason_takes_nothing() -> None:
    desk = limited()
    desk.ask(creating("a", partitions=BURST_S), principal="User:alice")

    desk.ask(creating("a", "?", partitions=50), principal="User:alice")

    response = desk.ask(creating("b"), principal="User:alice")
    assert codes(response.topics) == [ErrorCode.none]


def test_a_new_leader_begins_with_full_buckets() -> None:
    desk = limited()
    desk.ask(creating("a", partitions=BURST_S + 1), principal="User:alice")
    assert codes(desk.ask(creating("b"), principal="User:alice").topics) == [EXCEEDED]
    desk.lose(epoch=2)

    desk.lead(epoch=3)

    assert codes(desk.ask(creating("b"), principal="User:alice").topics) == [ErrorCode.none]
