"""AlterClientQuotas: which entities may have which quotas, what is written, what is refused."""

import math
from typing import Any

import pytest

from quorate.controller.quotas import alter_client_quotas
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.quotas import AlterClientQuotasRequest, AlteredEntry, EntityData, OpData
from tests.controller.world import World


def entity(**parts: str | None) -> tuple[EntityData, ...]:
    return tuple(
        EntityData(entity_type=kind.replace("_", "-"), entity_name=name) for kind, name in parts.items()
    )


def entry(who: tuple[EntityData, ...], **quotas: float | None) -> AlteredEntry:
    return AlteredEntry(
        entity=who,
        ops=tuple(
            OpData(key=key, remove=True) if value is None else OpData(key=key, value=value)
            for key, value in quotas.items()
        ),
    )


def alter(world: World, *entries: AlteredEntry, validate_only: bool = False) -> list[ErrorCode]:
    request = AlterClientQuotasRequest(entries=entries, validate_only=validate_only)
    results = world.run(alter_client_quotas, request).entries
    assert [result.entity for result in results] == [one.entity for one in entries]
    assert all((r.error_message is None) == (r.error_code is ErrorCode.none) for r in results)
    return [result.error_code for result in results]


def quotas_of(world: World, *key: tuple[str, str | None]) -> dict[str, float]:
    return dict(world.image.quotas.of(tuple(sorted(key, key=lambda part: part[0]))))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    "who",
    [
        entity(user="alice"),
        entity(user=None),
        entity(client_id="app"),
        entity(user="alice", client_id=None),
        entity(client_id="app", user="alice"),
    ],
)
def test_quotas_are_set_changed_and_removed(world: World, who: tuple[EntityData, ...]) -> None:
    key = [(part.entity_type, part.entity_name) for part in who]

    assert alter(world, entry(who, producer_byte_rate=1000.0, request_percentage=12.5)) == [ErrorCode.none]
    assert quotas_of(world, *key) == {"producer_byte_rate": 1000.0, "request_percentage": 12.5}

    alter(world, entry(who, producer_byte_rate=None, controller_mutation_rate=0.5))
    assert quotas_of(world, *key) == {"request_percentage": 12.5, "controller_mutation_rate": 0.5}


def test_addresses_have_a_quota_of_their_own(world: World) -> None:
    assert alter(world, entry(entity(ip="10.0.0.1"), connection_creation_rate=5.0)) == [ErrorCode.none]
    assert alter(world, entry(entity(ip="::1"), connection_creation_rate=5.0)) == [ErrorCode.none]
    assert quotas_of(world, ("ip", "10.0.0.1")) == {"connection_creation_rate": 5.0}


def test_nothing_is_written_for_what_is_so_already(world: World) -> None:
    alter(world, entry(entity(user="alice"), producer_byte_rate=1000.0))
    before = world.next_offset

    codes = alter(world, entry(entity(user="alice"), producer_byte_rate=1000.0, consumer_byte_rate=None))

    assert (codes, world.next_offset) == ([ErrorCode.none], before)


def test_one_entity_that_is_refused_does_not_keep_the_others(world: World) -> None:
    codes = alter(
        world,
        entry(entity(user="alice"), producer_byte_rate=-1.0, consumer_byte_rate=1.0),
        entry(entity(user="bob"), producer_byte_rate=1.0),
    )

    assert codes == [ErrorCode.invalid_request, ErrorCode.none]
    assert not quotas_of(world, ("user", "alice"))
    assert quotas_of(world, ("user", "bob"))


def test_validate_only_writes_nothing(world: World) -> None:
    assert alter(world, entry(entity(user="a"), producer_byte_rate=1.0), validate_only=True) == [
        ErrorCode.none
    ]
    assert not quotas_of(world, ("user", "a"))


@pytest.mark.parametrize(
    "wrong",
    [
        entry(()),
        entry(entity(group="g"), producer_byte_rate=1.0),
        entry(entity(ip="10.0.0.1", user="a"), producer_byte_rate=1.0),
        entry((*entity(user="a"), *entity(user="b")), producer_byte_rate=1.0),
        entry(entity(user=""), producer_byte_rate=1.0),
        entry(entity(ip="no.such.address"), connection_creation_rate=1.0),
        entry(entity(ip="10.0.0.1"), producer_byte_rate=1.0),
        entry(entity(user="a"), connection_creation_rate=1.0),
        entry(entity(user="a"), bytes_per_day=1.0),
        entry(entity(user="a"), bytes_per_day=None),
        *[
            entry(entity(user="a"), producer_byte_rate=value)
            for value in (0.0, -1.0, 1.5, math.nan, math.inf, 1e300)
        ],
        entry(entity(user="a"), request_percentage=math.nan),
        entry(entity(ip="10.0.0.1"), connection_creation_rate=2.0**31),
        AlteredEntry(entity=entity(user="a"), ops=(OpData(key="producer_byte_rate", value=1.0),) * 2),
    ],
)
def test_what_is_refused(world: World, wrong: Any) -> None:
    before = world.next_offset

    assert alter(world, wrong) == [ErrorCode.invalid_request]
    assert world.next_offset == before


def test_an_entity_that_is_named_twice_is_refused_each_time_in_whatever_order(world: World) -> None:
    codes = alter(
        world,
        entry(entity(user="a", client_id="c"), producer_byte_rate=1.0),
        entry(entity(client_id="c", user="a"), producer_byte_rate=2.0),
        entry(entity(user="a"), producer_byte_rate=3.0),
    )

    assert codes == [ErrorCode.invalid_request, ErrorCode.invalid_request, ErrorCode.none]
