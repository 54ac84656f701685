"""The driver on the real trees of Kafka 3.9: what it waits for, the copy, both sides, the end, the way back."""

from typing import Any

import pytest

from quorate.controller.migration.states import DriverState
from quorate.controller.migration.verify import verify
from quorate.metadata.records import MigrationOrder, MigrationState
from quorate.metadata.zookeeper.embedded import Fault
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_controller
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.znodes import Tree
from tests.controller.migration.bench import Migration, real_tree

S = DriverState
SMALL = real_tree("small.jsonl")
SECRETS = ("encoder-secret",)
BROKERS = (1, 2, 3)
BOTH = [fault for fault in Fault]


def migration(tree: Tree = SMALL, **how: Any) -> Migration:
    made = Migration(tree=tree, **how)
    made.quorum.register(*BROKERS)
    return made


async def copied(tree: Tree = SMALL, **how: Any) -> Migration:
    """Level on both sides."""
    made = migration(tree, **how)
    made.quorum.order(MigrationOrder.RUN)
    await made.until(S.DUAL_WRITE)
    return made


def both_sides_are_equal(made: Migration) -> None:
    found = verify(made.znodes(), made.quorum.image)
    assert not found.differences, [str(one) for one in found.differences]


def topics_there(made: Migration) -> set[str]:
    return {
        paths.name(path)
        for path in made.znodes()
        if path.startswith("/brokers/topics/") and path.count("/") == 3
    }


# --- waiting


async def test_it_waits_for_brokers_then_for_an_order_and_says_so(autojump_clock: object) -> None:
    made = Migration(tree=SMALL)
    made.quorum.register(1, 3)
    await made.until(S.WAIT_FOR_BROKERS)
    assert made.driver.document()["waiting_for"] == [
        "broker 2 is in ZooKeeper and has not registered with the quorum"
    ]

    made.quorum.register(2)
    await made.until(S.WAIT_FOR_ORDER)
    status = made.driver.document()
    assert status["waiting_for"] == []
    assert "quorate migrate run" in status["what_to_do"]
    assert made.quorum.image.migration is MigrationState.PRE_MIGRATION
    assert decode_controller(made.znodes()["/controller"].data).kraft_epoch == -1


async def test_force_does_not_wait_for_brokers(autojump_clock: object) -> None:
    made = Migration(tree=SMALL)
    made.quorum.order(MigrationOrder.RUN, forced=True)
    await made.until(S.DUAL_WRITE)
    both_sides_are_equal(made)


async def test_a_controller_without_the_flag_is_waited_for(autojump_clock: object) -> None:
    made = migration()
    made.quorum.order(MigrationOrder.RUN)
    made.quorum.lacks_flag()
    await made.until(S.WAIT_FOR_CONTROLLER_QUORUM)
    assert made.driver.document()["waiting_for"] == [
        "controller 3000 was started without zookeeper.metadata.migration.enable"
    ]


# --- the copy


@pytest.mark.parametrize("name", ["small.jsonl", "before-copy.jsonl.gz"])
async def test_the_image_is_what_zookeeper_said(name: str, autojump_clock: object) -> None:
    tree = real_tree(name)
    made = Migration(tree=tree, secrets=SECRETS_OF[name])
    made.quorum.order(MigrationOrder.RUN, forced=True)
    await made.until(S.DUAL_WRITE)

    image = made.quorum.image
    assert image.migration is MigrationState.MIGRATION
    assert not verify(tree, image).differences
    both_sides_are_equal(made)
    said = made.driver.document()["copied"]
    level = image.features.metadata_version
    records = list(read(tree, ReadOptions(metadata_version=level, secrets=SECRETS_OF[name])).records())
    assert said["records"] == len(records)


async def test_equal_things_are_not_written_again(autojump_clock: object) -> None:
    """Kafka's first reconcile rewrote quotas, credentials and tokens, and told every broker of each."""
    made = await copied()
    before = {path: node.stat.mzxid for path, node in SMALL.items()}
    touched = {path for path, node in made.znodes().items() if before.get(path) != node.stat.mzxid}
    assert touched == {"/controller", "/controller_epoch", "/migration"}
