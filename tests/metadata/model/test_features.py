"""Levels of metadata.version and what goes with them (facts: `MetadataVersion` of Kafka 4.3.1 and 3.9.2)."""

import pytest

from quorate.metadata.features import (
    DEFAULT_METADATA_VERSION,
    ELR_VERSION,
    KRAFT_VERSION,
    METADATA_VERSION,
    METADATA_VERSIONS,
    SUPPORTED,
    NotInThisVersion,
    default_features,
    describe_level,
    format_records,
    metadata_changed_between,
    parse_metadata_version,
    record_version,
    supported_ranges,
)
from quorate.metadata.records import (
    DATA_RECORDS,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    DataRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    TopicRecord,
    UserScramCredentialRecord,
)

# metadata.version: (RegisterBroker, Partition, PartitionChange, BrokerRegistrationChange), as Kafka reports them.
KAFKA = {
    6: (0, 0, 0, 0),
    7: (1, 0, 0, 1),
    8: (2, 0, 0, 1),
    16: (2, 0, 0, 1),
    17: (3, 1, 1, 2),
    22: (3, 1, 1, 2),
    23: (3, 2, 2, 2),
    29: (3, 2, 2, 2),
    30: (4, 2, 2, 3),
}
VERSIONED = (RegisterBrokerRecord, PartitionRecord, PartitionChangeRecord, BrokerRegistrationChangeRecord)


@pytest.mark.parametrize(("level", "versions"), KAFKA.items())
def test_record_versions_are_kafkas(level: int, versions: tuple[int, ...]) -> None:
    assert tuple(record_version(made, level) for made in VERSIONED) == versions


@pytest.mark.parametrize("made", DATA_RECORDS.values())
def test_a_record_version_exists_and_never_falls(made: type[DataRecord]) -> None:
    found: list[int] = []
    for level in METADATA_VERSIONS:
        try:
            found.append(record_version(made, level))
        except NotInThisVersion:
            assert not found or made is FenceBrokerRecord or made.__name__ == "UnfenceBrokerRecord"
    assert found == sorted(found)
    assert found[-1] == made.versions[1]


@pytest.mark.parametrize(
    ("made", "level"),
    [
        (RegisterControllerRecord, 14),
        (UserScramCredentialRecord, 10),
        (FeatureLevelRecord, 3),
        (ClearElrRecord, 22),
        (BrokerRegistrationChangeRecord, 5),
        (FenceBrokerRecord, 6),
    ],
)
def test_a_record_that_a_level_does_not_have_is_refused(made: type[DataRecord], level: int) -> None:
    with pytest.raises(
        NotInThisVersion, match=f"{made.__name__} does not exist at metadata.version {level} "
    ):
        record_version(made, level)
    assert record_version(TopicRecord, level) == 0


def test_levels_are_numbered_without_holes_and_known_by_name() -> None:
    assert list(METADATA_VERSIONS) == list(range(1, 31))
    assert [v.level for v in METADATA_VERSIONS.values()] == list(METADATA_VERSIONS)
    assert [METADATA_VERSIONS[i].name for i in (1, 7, 21, 23, 25, 30)] == [
        "3.0-IV1",
        "3.3-IV3",
        "3.9-IV0",
        "4.0-IV1",
        "4.0-IV3",
        "4.3-IV0",
    ]


def test_which_levels_changed_metadata() -> None:
    changed = [v.level for v in METADATA_VERSIONS.values() if v.changes_metadata]
    assert changed == [1, 3, 5, 6, 7, 8, 11, 13, 14, 15, 17, 23, 30]


@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [
        (21, 21, False),
        (22, 21, False),
        (23, 22, True),
        (25, 23, False),
        (21, 25, True),
        (25, 21, True),
        (29, 25, False),
    ],
)
def test_going_back_may_lose_what_a_level_brought(one: int, other: int, changed: bool) -> None:
    assert metadata_changed_between(one, other) is changed


@pytest.mark.parametrize(
    ("text", "level"), [("21", 21), ("3.9", 21), ("3.9-IV0", 21), ("4.0", 25), ("3.3-IV1", 5)]
)
def test_a_level_is_read_as_people_write_it(text: str, level: int) -> None:
    assert parse_metadata_version(text) == level


@pytest.mark.parametrize("text", ["", "0", "31", "5.0", "4.0-IV9", "3.9-", "²"])
def test_what_is_no_level_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is no metadata.version: give a level from 1 to 30, or a name such as 3.9-IV0"
    ):
        parse_metadata_version(text)


def test_what_this_code_offers() -> None:
    levels = SUPPORTED[METADATA_VERSION]
    assert DEFAULT_METADATA_VERSION in levels
    assert levels.lowest - 1 not in levels
    assert levels.highest + 1 not in levels
    assert all(level in METADATA_VERSIONS for level in range(levels.lowest, levels.highest + 1))
    assert (SUPPORTED[KRAFT_VERSION].lowest, SUPPORTED[KRAFT_VERSION].highest) == (0, 1)
    assert [r.name for r in supported_ranges()] == sorted(SUPPORTED)
    assert describe_level(21) == "21 (3.9-IV0)"
    assert describe_level(99) == "99"


@pytest.mark.parametrize(
    ("level", "defaults"),
    [
        (21, {}),
        (22, {"group.version": 1}),
        (25, {"group.version": 1, "transaction.version": 2}),
        (28, {"group.version": 1, "transaction.version": 2, "share.version": 1}),
        (30, {"group.version": 1, "transaction.version": 2, "share.version": 1, "streams.version": 1}),
    ],
)
def test_what_a_new_cluster_finalizes_by_default(level: int, defaults: dict[str, int]) -> None:
    """As `kafka-storage format --release-version` of 4.3.1 and 4.4.0 writes it."""
    found = default_features(level)
    assert found == {**defaults, **{name: 1 for name in found if name == ELR_VERSION}}
    assert all(found[name] in SUPPORTED[name] for name in found)


def test_a_new_log_begins_with_its_metadata_version() -> None:
    first, *rest = format_records(25, {"group.version": 1, "a.feature": 2, "unused": 0})
    assert first == FeatureLevelRecord(name=METADATA_VERSION, feature_level=25)
    assert rest == [
        FeatureLevelRecord(name="a.feature", feature_level=2),
        FeatureLevelRecord(name="group.version", feature_level=1),
    ]
    assert format_records() == (FeatureLevelRecord(name=METADATA_VERSION, feature_level=21),)
