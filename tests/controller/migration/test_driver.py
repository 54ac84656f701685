"""The driver on the real trees of Kafka 3.9: what it waits for, the copy, both sides, the end, the way back."""

import itertools
import json
from typing import Any

import attrs
import pytest
import trio

from quorate.controller.migration.checks import Facts
from quorate.controller.migration.states import DriverState
from quorate.controller.migration.verify import Phase, VerifyOptions, verify
from quorate.metadata.records import MigrationOrder, MigrationState
from quorate.metadata.wire.cluster import FeatureUpdateKey, UpdateFeaturesRequest
from quorate.metadata.wire.topics import DeleteTopicsRequest, DeleteTopicState
from quorate.metadata.zookeeper.embedded import Call, Fault
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import MigrationZnode, decode_controller, encode_migration
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.znodes import SetData, Tree
from tests.controller.desk import create, set_config
from tests.controller.migration.bench import SECRETS, Crashes, Migration, real_tree

S = DriverState
SMALL = real_tree("small.jsonl")
BROKERS = (1, 2, 3)
NO_BROKERS = Facts(brokers_registered=False)
"""The registrations here have no endpoints."""


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
    found = verify(
        made.znodes(),
        made.quorum.image,
        VerifyOptions(phase=Phase.DUAL_WRITE, secrets=SECRETS, facts=NO_BROKERS),
    )
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
    made = Migration(tree=tree)
    made.quorum.order(MigrationOrder.RUN, forced=True)
    await made.until(S.DUAL_WRITE)

    image = made.quorum.image
    assert image.migration is MigrationState.MIGRATION
    assert not verify(tree, image, VerifyOptions(secrets=SECRETS, facts=NO_BROKERS)).differences
    both_sides_are_equal(made)
    said = made.driver.document()["copied"]
    level = image.features.metadata_version
    records = list(read(tree, ReadOptions(metadata_version=level, secrets=SECRETS)).records())
    assert said["records"] == len(records)


async def test_the_epoch_is_above_every_states(autojump_clock: object) -> None:
    """Brokers and their own controllers take nothing from one with a smaller epoch; `plan` has promised as much."""
    path = f"/brokers/topics/{some_topic()}/partitions/0/state"
    state = {**json.loads(SMALL[path].data or b""), "controller_epoch": 99}
    tree = {**SMALL, path: attrs.evolve(SMALL[path], data=json.dumps(state).encode())}
    made = await copied(tree)
    assert made.znodes()["/controller_epoch"].data == b"100"
    assert made.driver.board.controller_epoch == 100


async def test_equal_things_are_not_written_again(autojump_clock: object) -> None:
    """Kafka's first reconcile rewrote quotas, credentials and tokens, and told every broker of each."""
    made = await copied()
    before = {path: node.stat.mzxid for path, node in SMALL.items()}
    touched = {path for path, node in made.znodes().items() if before.get(path) != node.stat.mzxid}
    assert touched == {"/controller", "/controller_epoch", "/migration"}


# --- both sides


async def test_what_the_quorum_does_appears_in_zookeeper(autojump_clock: object) -> None:
    made = await copied()
    made.quorum.ask(create("later", partitions=3))
    made.quorum.ask(set_config("later", "retention.ms", "1000"))
    made.quorum.ask(DeleteTopicsRequest(topics=(DeleteTopicState(name=some_topic()),), timeout_ms=1_000))
    await made.level()

    assert "later" in topics_there(made)
    assert some_topic() not in topics_there(made)
    assert b"retention.ms" in made.znodes()["/config/topics/later"].data
    both_sides_are_equal(made)
    lag = made.driver.document()["zookeeper"]
    assert (lag["lag_records"], lag["lag_ms"]) == (0, 0)


async def test_whoever_is_told_of_a_change_finds_it(autojump_clock: object) -> None:
    """However much is written at once: a transaction that ended between a config and its notification would have
    brokers read the old one, and keep it."""
    made = await copied()
    for number in range(150):
        made.quorum.ask(create(f"topic-{number}", partitions=1))
    await made.level()
    made.quorum.ask(create("later", partitions=1))
    for number in range(150):
        made.quorum.ask(set_config(f"topic-{number}", "retention.ms", "1000"))
    sent: list[tuple[str, ...]] = []
    made.server.fault = lambda call: sent.append(call.paths) if call.name == "multi" else None
    await made.level()

    told = 0
    for multi in sent:
        configs = [path for path in multi if path.startswith("/config/topics/topic-")]
        told += len(configs)
        assert multi.count("/config/changes/config_change_") == len(configs)
    assert told == 150
    assert any(len(multi) > 200 for multi in sent), "nothing was gathered"


async def test_records_that_zookeeper_has_no_place_for_are_not_written(autojump_clock: object) -> None:
    """Kafka rewrites /migration twice a second while nothing happens."""
    made = await copied()
    async with made.running():
        before = made.driver.board.writes, made.znodes()["/migration"].stat.version
        offset = made.quorum.image.offset
        made.quorum.desk.pass_time(5_000)
        made.quorum.moved()
        await trio.sleep(1)
        assert made.quorum.image.offset > offset
        assert made.driver.board.written_offset == made.quorum.image.offset
        assert (made.driver.board.writes, made.znodes()["/migration"].stat.version) == before


async def test_a_new_leader_claims_anew_and_the_old_one_writes_nothing_more(autojump_clock: object) -> None:
    made = await copied()
    old_epoch = made.driver.board.controller_epoch
    made.quorum.fail_over()
    made.quorum.ask(create("by-the-new-one"))
    made.replace_driver()
    await made.until(S.DUAL_WRITE)

    assert made.driver.board.controller_epoch > old_epoch
    both_sides_are_equal(made)


async def test_what_somebody_changed_behind_its_back_is_set_right(autojump_clock: object) -> None:
    """A topic deleted in ZooKeeper by hand comes back with the next leader."""
    made = await copied()
    session = made.server.connect()
    for path in sorted(made.znodes(), reverse=True):
        if path.startswith(f"/brokers/topics/{some_topic()}"):
            await session.delete(path)
    made.quorum.fail_over()
    made.replace_driver()
    await made.until(S.DUAL_WRITE)
    both_sides_are_equal(made)


async def test_metadata_version_stays_while_both_sides_are_written(autojump_clock: object) -> None:
    made = await copied()
    update = FeatureUpdateKey(feature="metadata.version", max_version_level=22, upgrade_type=1)
    answer = made.quorum.ask(UpdateFeaturesRequest(feature_updates=(update,), timeout_ms=1_000))
    assert "finalize the migration first" in answer.error_message


# --- what stops it


async def test_a_log_without_most_topics_empties_nothing(autojump_clock: object) -> None:
    """The second attempt after a way back, with the first one's /migration: Kafka deleted everything (Strimzi
    #11262)."""
    tree = real_tree("rich.jsonl.gz")
    made = Migration(tree=tree)
    made.quorum.order(MigrationOrder.RUN, forced=True)
    await made.until(S.DUAL_WRITE)
    before = topics_there(made)
    doomed = [DeleteTopicState(name=name) for name in sorted(before)]
    made.quorum.ask(DeleteTopicsRequest(topics=tuple(doomed), timeout_ms=1_000))
    made.quorum.fail_over()
    made.replace_driver()
    await made.until_mishap()

    assert topics_there(made) == before
    assert "would delete" in made.driver.document()["last_error"]["text"]


async def test_the_migration_of_another_attempt_forbids_a_copy(autojump_clock: object) -> None:
    made = migration()
    session = made.server.connect()
    await session.create("/migration", encode_migration(MigrationZnode(controller_id=9, offset=812, epoch=3)))
    made.quorum.order(MigrationOrder.RUN)
    await made.until_blocked()

    [blocker] = made.driver.document()["blockers"]
    assert blocker["code"] == "leftover"
    assert made.quorum.image.migration is MigrationState.PRE_MIGRATION
    assert decode_controller(made.znodes()["/controller"].data).kraft_epoch == -1
    assert made.quorum.image.migration_order.order == MigrationOrder.WAIT  # type: ignore[union-attr]


async def test_a_topic_without_an_id_is_named_and_the_cluster_is_left_in_peace(
    autojump_clock: object,
) -> None:
    """Kafka's driver stays in WAIT_FOR_BROKERS for ever, or halts (zookeeper.md 3.6)."""
    path = f"/brokers/topics/{some_topic()}"
    tree = dict(SMALL)
    members = json.loads(tree[path].data or b"")
    del members["topic_id"]
    tree[path] = attrs.evolve(tree[path], data=json.dumps(members).encode())
    made = migration(tree)
    made.quorum.order(MigrationOrder.RUN)
    await made.until_blocked()
    assert path in {one["path"] for one in made.driver.document()["blockers"]}
    assert decode_controller(made.znodes()["/controller"].data).kraft_epoch == -1


async def test_what_the_log_would_not_take_is_not_begun(autojump_clock: object) -> None:
    """Begun, it would end with the leader's resignation, and so the next one's, while the cluster is held."""
    path = f"/config/topics/{some_topic()}"
    huge = {"version": 1, "config": {"cleanup.policy": "x" * 40_000}}
    tree = {**SMALL, path: attrs.evolve(SMALL[path], data=json.dumps(huge).encode())}
    made = migration(tree)
    made.quorum.order(MigrationOrder.RUN)
    await made.until_blocked()

    assert [one["code"] for one in made.driver.document()["blockers"]] == ["malformed-record"]
    assert made.quorum.resigned == []
    assert decode_controller(made.znodes()["/controller"].data).kraft_epoch == -1


async def test_what_comes_just_before_the_claim_may_block_still(autojump_clock: object) -> None:
    """Then the seat is let go again: nobody would lead the brokers."""
    made = migration()
    path, data = f"/config/topics/{some_topic()}", b"{"
    somebody = made.server.connect().session_id

    def write_first(call: Call) -> None:
        if call.name == "multi" and made.znodes()[path].data != data:
            made.server.write(somebody, SetData(path, data))

    made.server.fault = write_first
    made.quorum.order(MigrationOrder.RUN)
    await made.until_blocked()
    await made.until(S.WAIT_FOR_ORDER)

    assert path in {one["path"] for one in made.driver.document()["blockers"]}
    assert made.quorum.resigned == []
    assert "/controller" not in made.znodes()
    assert "/migration" not in made.znodes()


async def test_the_wrong_cluster_is_not_copied(autojump_clock: object) -> None:
    made = migration(formatted_for="another-cluster-id-000")
    made.quorum.order(MigrationOrder.RUN)
    await made.until_blocked()
    assert "another-cluster" in {one["code"] for one in made.driver.document()["blockers"]}


# --- the end


async def test_it_ends_only_when_no_broker_is_left_in_zookeeper(autojump_clock: object) -> None:
    made = await copied()
    assert made.driver.reasons_against_end() == (
        "broker 1 runs in ZooKeeper mode",
        "broker 2 runs in ZooKeeper mode",
        "broker 3 runs in ZooKeeper mode",
    )
    await made.ask_for_the_end()
    assert made.state is S.DUAL_WRITE

    await made.move_brokers_to_the_quorum()
    assert made.driver.reasons_against_end() == ()
    await made.ask_for_the_end()

    assert made.state is S.FINISHED
    assert made.quorum.image.migration is MigrationState.POST_MIGRATION
    assert decode_controller(made.znodes()["/controller"].data).broker_id == 3000
    assert b"finished" in made.znodes()["/migration"].data


async def test_it_does_not_end_while_both_sides_differ(autojump_clock: object) -> None:
    made = await copied()
    await made.move_brokers_to_the_quorum()
    session = made.server.connect()
    async with made.running():
        await session.set(f"/config/topics/{some_topic()}", b'{"version":1,"config":{"retention.ms":"7"}}')
        await made.driver.end()

    assert made.state is S.DUAL_WRITE
    verified = made.driver.document()["verified"]
    assert not verified["equal"]
    assert made.quorum.image.migration is MigrationState.MIGRATION


# --- the way back


async def test_zookeeper_gets_the_cluster_back_with_all_that_happened_since(autojump_clock: object) -> None:
    made = await copied()
    made.quorum.ask(create("since", partitions=2))
    made.quorum.order(MigrationOrder.ROLL_BACK)
    await made.until(S.ROLLED_BACK)

    assert "since" in topics_there(made)
    both_sides_are_equal(made)
    nodes = made.znodes()
    assert "/controller" not in nodes
    assert "/migration" not in nodes
    highest = read(nodes, ReadOptions(secrets=SECRETS)).highest_controller_epoch
    assert int(nodes["/controller_epoch"].data) > highest
    assert made.quorum.ask(create("too-late")).topics[0].error_code.name == "not_controller"


async def test_brokers_that_need_the_quorum_are_waited_for(autojump_clock: object) -> None:
    made = await copied()
    made.quorum.register(2, migrating=False)
    made.quorum.order(MigrationOrder.ROLL_BACK)
    await made.until(S.ROLLBACK_WAIT_FOR_BROKERS)
    assert made.driver.document()["waiting_for"] == ["broker 2 runs in KRaft mode"]
    made.quorum.ask(create("while-waiting"))
    await made.level()
    assert "while-waiting" in topics_there(made)

    made.quorum.order(MigrationOrder.RUN)
    await made.until(S.DUAL_WRITE)
    made.quorum.order(MigrationOrder.ROLL_BACK, forced=True)
    await made.until(S.ROLLED_BACK)


async def test_back_before_anything_was_copied(autojump_clock: object) -> None:
    made = migration()
    await made.until(S.WAIT_FOR_ORDER)
    made.quorum.order(MigrationOrder.ROLL_BACK)
    await made.until(S.ROLLED_BACK)
    assert {path: node.data for path, node in made.znodes().items()} == {
        path: node.data for path, node in SMALL.items()
    }


# --- whatever fails, wherever


def some_topic() -> str:
    return min(
        paths.name(path) for path in SMALL if path.startswith("/brokers/topics/") and path.count("/") == 3
    )


async def forth(made: Migration) -> None:
    """A whole migration with something to write on the way."""
    made.quorum.order(MigrationOrder.RUN)
    await made.until(S.DUAL_WRITE)
    made.quorum.ask(create("one", partitions=2))
    made.quorum.ask(set_config("one", "retention.ms", "5"))
    await made.level()


async def back(made: Migration) -> None:
    made.quorum.order(MigrationOrder.ROLL_BACK)
    await made.until(S.ROLLED_BACK)


def nothing_is_lost(made: Migration) -> None:
    """At no moment: ZooKeeper has every topic that it had."""
    before = {
        paths.name(path) for path in SMALL if path.startswith("/brokers/topics/") and path.count("/") == 3
    }
    assert before <= topics_there(made)


async def test_killed_at_every_moment_of_the_way_there(autojump_clock: object) -> None:
    """Between each pair of writes, to the log and to ZooKeeper, the next leader finds its way."""
    for moment in itertools.count(1):
        made = migration(crashes=Crashes(at=moment))
        if await made.completes(forth):
            break
        nothing_is_lost(made)
        await made.recover(S.DUAL_WRITE)
        both_sides_are_equal(made)
        nothing_is_lost(made)
    assert moment > 20


async def test_killed_at_every_moment_of_the_way_back(autojump_clock: object) -> None:
    ready = await copied()
    ready.quorum.ask(create("since", partitions=2))
    for moment in itertools.count(1):
        made = await copied()
        made.quorum.ask(create("since", partitions=2))
        made.crashes.at = made.crashes.moments + moment
        if await made.completes(back):
            break
        nothing_is_lost(made)
        await made.recover(S.ROLLED_BACK)
        both_sides_are_equal(made)
        assert "/controller" not in made.znodes()
        assert "/migration" not in made.znodes()
    assert moment > 8


@pytest.mark.parametrize("fault", list(Fault))
async def test_every_write_may_fail_once_applied_or_not(fault: Fault, autojump_clock: object) -> None:
    for number in itertools.count(1):
        made = migration()
        made.fail(number, fault)
        await forth(made)
        await made.level()
        both_sides_are_equal(made)
        await back(made)
        both_sides_are_equal(made)
        assert "/controller" not in made.znodes()
        if not made.failed:
            break
    assert number > 10


async def test_a_paused_leader_that_wakes_up_writes_nothing(autojump_clock: object) -> None:
    """Two drivers race: the older leader stood still before its write, and a newer one claimed meanwhile."""
    made = await copied()
    async with made.paused_while_writing(lambda: made.quorum.ask(create("from-the-old-log"))) as wake:
        made.quorum.fail_over()
        newer = made.another_driver()
        await made.until(S.DUAL_WRITE, driver=newer)
        after = {path: node.stat.mzxid for path, node in made.znodes().items()}
        await wake()
    assert {path: node.stat.mzxid for path, node in made.znodes().items()} == after
    both_sides_are_equal(made)
