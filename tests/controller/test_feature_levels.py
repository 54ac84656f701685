"""UpdateFeatures (KIP-584, KIP-778): all or nothing, and only what every node can live with."""

import uuid
from typing import Any

import pytest

from quorate.controller.feature_levels import SAFE_DOWNGRADE, UNSAFE_DOWNGRADE, UPGRADE, update_features
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import KRAFT_VERSION, LIGHTWEIGHT, METADATA_VERSION
from quorate.metadata.ids import NodeId
from quorate.metadata.quorum.voters import VoterHistory
from quorate.metadata.records import (
    AnyDataRecord,
    FeatureLevelRecord,
    FeatureRange,
    KRaftVersionRecord,
    RegisterControllerRecord,
    VersionRange,
    Voter,
    VotersRecord,
)
from quorate.metadata.wire.cluster import FeatureUpdateKey, UpdateFeaturesRequest
from tests.controller.world import World

OWN_NODE = 3000


def updating(name: str, level: int, how: int = UPGRADE) -> FeatureUpdateKey:
    return FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=how)


def request(*updates: FeatureUpdateKey, validate_only: bool = False) -> UpdateFeaturesRequest:
    return UpdateFeaturesRequest(feature_updates=updates, validate_only=validate_only)


def voters(*ids: int, kraft_version: int = 1) -> VoterHistory:
    spoken = VersionRange(min_supported_version=0, max_supported_version=1)
    named = tuple(
        Voter(
            voter_id=NodeId(i),
            voter_directory_id=uuid.UUID(int=i),
            endpoints=(),
            kraft_version_feature=spoken,
        )
        for i in ids
    )
    return VoterHistory.of(
        enumerate((KRaftVersionRecord(k_raft_version=kraft_version), VotersRecord(voters=named)))
    )


def decide(world: World, *updates: FeatureUpdateKey, **context: Any) -> list[AnyDataRecord]:
    return list(update_features(world.context(**context), request(*updates)).records)


def why_not(world: World, *updates: FeatureUpdateKey, **context: Any) -> str:
    result = update_features(world.context(**context), request(*updates))
    assert result.records == ()
    assert result.response.results == ()
    assert result.response.error_code is ErrorCode.invalid_update_version
    message = result.response.error_message or ""
    assert message.startswith("The update failed for all features since the following feature had an error: ")
    return message.partition("error: ")[2]


def controller(world: World, node_id: int, lowest: int = 21, highest: int = 25) -> None:
    ranges = (
        FeatureRange(name=METADATA_VERSION, min_supported_version=lowest, max_supported_version=highest),
    )
    world.replay([
        RegisterControllerRecord(
            controller_id=NodeId(node_id),
            incarnation_id=uuid.UUID(int=node_id),
            zk_migration_ready=False,
            end_points=(),
            features=ranges,
        )
    ])  # fmt: skip


@pytest.fixture
def world() -> World:
    made = World()
    made.add_broker(1)
    made.add_broker(2, fenced=True)
    return made


# --- up


def test_an_upgrade(world: World) -> None:
    assert decide(world, updating(METADATA_VERSION, 25)) == [
        FeatureLevelRecord(name=METADATA_VERSION, feature_level=25)
    ]


def test_what_follows_is_written_in_the_versions_of_the_new_level(world: World) -> None:
    world.run(update_features, request(updating(METADATA_VERSION, 25)))

    assert world.context().metadata_version == 25


def test_a_level_that_is_final_already_needs_no_record(world: World) -> None:
    assert decide(world, updating(METADATA_VERSION, 21)) == []
    assert decide(world, updating(METADATA_VERSION, 21, SAFE_DOWNGRADE)) == []
    assert decide(world) == []


def test_validate_only_checks_everything_and_writes_nothing(world: World) -> None:
    result = update_features(world.context(), request(updating(METADATA_VERSION, 25), validate_only=True))
    assert result.records == ()

    refused = update_features(world.context(), request(updating(METADATA_VERSION, 26), validate_only=True))
    assert refused.response.error_code is ErrorCode.invalid_update_version


@pytest.mark.parametrize(
    ("api_version", "named"), [(0, [METADATA_VERSION]), (1, [METADATA_VERSION]), (2, [])]
)
def test_results_feature_by_feature_are_of_old_versions(
    world: World, api_version: int, named: list[str]
) -> None:
    result = update_features(world.context(api_version=api_version), request(updating(METADATA_VERSION, 25)))

    assert [one.feature for one in result.response.results] == named
    assert result.response.error_code is ErrorCode.none


# --- down


def test_a_downgrade_that_loses_nothing(world: World) -> None:
    world.run(update_features, request(updating(METADATA_VERSION, 22)))

    assert "without setting the upgrade type" in why_not(world, updating(METADATA_VERSION, 21))
    assert decide(world, updating(METADATA_VERSION, 21, SAFE_DOWNGRADE)) == [
        FeatureLevelRecord(name=METADATA_VERSION, feature_level=21)
    ]
    assert decide(world, updating(METADATA_VERSION, 21, UNSAFE_DOWNGRADE)) != []


@pytest.mark.parametrize("target", [21, 22])
def test_a_downgrade_that_could_lose_something(world: World, target: int) -> None:
    world.run(update_features, request(updating(METADATA_VERSION, 25)))

    safe = why_not(world, updating(METADATA_VERSION, target, SAFE_DOWNGRADE))
    unsafe = why_not(world, updating(METADATA_VERSION, target, UNSAFE_DOWNGRADE))

    assert "might delete metadata information: 4.0-IV1 (eligible leader replicas)" in safe
    assert "Unsafe metadata downgrade is not supported" in unsafe
    assert decide(world, updating(METADATA_VERSION, 23, SAFE_DOWNGRADE)) != []


# --- what is refused


@pytest.mark.parametrize("how", [0, 4, -1])
def test_an_unknown_type_of_change(world: World, how: int) -> None:
    assert "does not support the given upgrade type" in why_not(world, updating(METADATA_VERSION, 22, how))


def test_levels_that_cannot_be(world: World) -> None:
    assert "cannot be less than 0" in why_not(world, updating(METADATA_VERSION, -1))
    assert "Local controller 3000 only supports versions 21-30" in why_not(
        world, updating(METADATA_VERSION, 31)
    )
    assert "only supports" in why_not(world, updating(METADATA_VERSION, 2**15 - 1))
    assert "cannot be less than 0" in why_not(world, updating(METADATA_VERSION, -(2**15)))
    # What is not supported is said before what would be lost.
    assert "only supports" in why_not(world, updating(METADATA_VERSION, 20, SAFE_DOWNGRADE))
    assert "only supports" in why_not(world, updating(METADATA_VERSION, 0, UNSAFE_DOWNGRADE))


def test_down_to_a_newer_level(world: World) -> None:
    assert "Can't downgrade to a newer version" in why_not(
        world, updating(METADATA_VERSION, 22, SAFE_DOWNGRADE)
    )


@pytest.mark.parametrize("fenced", [False, True])
def test_every_registered_broker_must_support_it(world: World, fenced: bool) -> None:
    world.add_broker(7, fenced=fenced, features={METADATA_VERSION: (1, 22)})

    assert "Broker 7 only supports versions 1-22" in why_not(world, updating(METADATA_VERSION, 23))
    assert decide(world, updating(METADATA_VERSION, 22)) != []


def test_every_registered_controller_must_support_it(world: World) -> None:
    controller(world, 3001, highest=22)
    controller(world, OWN_NODE, highest=21)  # of a former life: what runs now is judged by itself

    assert "Controller 3001 only supports versions 21-22" in why_not(world, updating(METADATA_VERSION, 23))
    assert decide(world, updating(METADATA_VERSION, 22)) != []


def test_a_voter_that_is_not_registered_may_be_anything(world: World) -> None:
    controller(world, 3001)
    quorum = voters(OWN_NODE, 3001, 3002)

    assert "Controller 3002 has not registered" in why_not(
        world, updating(METADATA_VERSION, 22), voters=quorum
    )
    controller(world, 3002)
    assert decide(world, updating(METADATA_VERSION, 22), voters=quorum) != []


@pytest.mark.parametrize("name", ["nonsense", "", LIGHTWEIGHT])
@pytest.mark.parametrize("level", [0, 1])
def test_features_that_are_not_known(world: World, name: str, level: int) -> None:
    world.add_broker(3, lightweight=True)

    assert "Local controller 3000 does not support this feature" in why_not(world, updating(name, level))


def test_a_feature_that_a_log_brought_along_can_only_be_given_up(world: World) -> None:
    world.replay([FeatureLevelRecord(name="group.version", feature_level=1)])

    assert "does not support this feature" in why_not(world, updating("group.version", 1))
    assert decide(world, updating("group.version", 0, SAFE_DOWNGRADE)) == [
        FeatureLevelRecord(name="group.version", feature_level=0)
    ]


def test_one_that_fails_stops_all(world: World) -> None:
    good, bad = updating(METADATA_VERSION, 22), updating("nonsense", 1)

    for pair in ((good, bad), (bad, good)):
        assert "for feature nonsense" in why_not(world, *pair)


def test_a_feature_named_twice(world: World) -> None:
    twice = request(updating(METADATA_VERSION, 22), updating(METADATA_VERSION, 23))

    result = update_features(world.context(), twice)
    assert (result.records, result.response.error_code) == ((), ErrorCode.invalid_request)


def test_old_versions_are_told_feature_by_feature(world: World) -> None:
    asked = request(updating(METADATA_VERSION, 22), updating("nonsense", 1))
    result = update_features(world.context(api_version=1), asked)

    assert (result.records, result.response.error_code) == ((), ErrorCode.none)
    good, bad = result.response.results
    assert (good.feature, good.error_code) == (METADATA_VERSION, ErrorCode.invalid_update_version)
    assert (bad.feature, bad.error_code) == ("nonsense", ErrorCode.invalid_update_version)
    assert (bad.error_message or "").startswith("Invalid update version 1 for feature nonsense.")
    assert good.error_message == (
        f"The update failed for all features since the following feature had an error: {bad.error_message}"
    )


# --- kraft.version and dependencies


def quorum_features(world: World) -> None:
    for broker_id in (1, 2):
        world.add_broker(broker_id, features={KRAFT_VERSION: (0, 1)})


def test_kraft_version_is_the_quorums_and_stays(world: World) -> None:
    quorum_features(world)
    quorum = voters(OWN_NODE)

    assert decide(world, updating(KRAFT_VERSION, 1), voters=quorum) == []
    assert "The quorum is at 1" in why_not(world, updating(KRAFT_VERSION, 0, SAFE_DOWNGRADE), voters=quorum)
    assert "The quorum is at 0" in why_not(world, updating(KRAFT_VERSION, 1))


def test_a_feature_needs_its_metadata_version(world: World) -> None:
    for broker_id in (1, 2):
        world.add_broker(broker_id, features={"group.version": (0, 1)})
    group = updating("group.version", 1)

    assert "group.version 1 depends on metadata.version 22 (4.0-IV0)" in why_not(world, group)
    both = request(group, updating(METADATA_VERSION, 22))
    assert len(update_features(world.context(), both).records) == 2
    world.run(update_features, both)
    down = updating(METADATA_VERSION, 21, SAFE_DOWNGRADE)
    assert "group.version 1 depends on" in why_not(world, down)
    assert decide(world, down, updating("group.version", 0, SAFE_DOWNGRADE)) != []
