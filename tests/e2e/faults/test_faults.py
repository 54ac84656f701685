"""Short runs of the harness, one a kind of fault; and its verdict is held to notice what it must.

The long ones are `python -m tests.e2e.faults --minutes 60 --controllers 5`, and five minutes each with TESTS_FULL=1.
"""

import pathlib

import attrs
import pytest
import trio

from tests.e2e.conftest import full, skip
from tests.e2e.faults.harness import AFTERWARDS, Finding, Plan, judge_history, under_fault
from tests.e2e.faults.nemesis import Fault, Holding
from tests.e2e.faults.report import causes, document, lines, well_s
from tests.sim.history import Ending, Kind, Operation, Sight

pytestmark = pytest.mark.e2e

WITHIN_S = 240.0
"""Hours of a loaded machine aside; beyond it something hangs."""
BRIEFLY = Holding(short_s=(0.2, 1.0), long_share=0.0)


async def stands(directory: pathlib.Path, plan: Plan, within_s: float = WITHIN_S) -> Finding:
    """Runs it; whatever is wrong fails the test, with the report."""
    with trio.fail_after(within_s):
        finding = await under_fault(directory, plan, lambda line: None)
    told = document(finding)
    assert finding.problems == [], "\n".join(lines(told))
    assert told["operations"] == len(finding.record.history.operations) > len(finding.record.acknowledged_s)
    assert len(finding.record.acknowledged_s) >= AFTERWARDS
    for read in ("Metadata", "DescribeConfigs", "DescribeTopicPartitions"):
        assert finding.record.endings[f"{read} at a controller", "done"] > 0
    return finding


def briefly(*script: str, small_disks: bool = False) -> Plan:
    return Plan(script=script, holding=BRIEFLY, small_disks=small_disks, brokers=1)


async def test_killed_and_stopped_processes(tmp_path: pathlib.Path) -> None:
    finding = await stands(tmp_path, briefly("pause-leader", "kill-all"))

    assert len(finding.nemesis.faults) == 2
    _check_that_it_bites(finding)


def _check_that_it_bites(finding: Finding) -> None:
    """The verdict on a history that was real, and then was doctored."""
    record, changes = finding.record, finding.changes
    assert judge_history(record, changes) == []
    topic = max(changes.effects, key=lambda name: len(changes.effects[name]))
    values = [effect for effect in changes.effects[topic] if effect.isdigit()]

    moment = record.moment() + 1
    old = Operation(
        number=0, client=99, kind=Kind.READ, topic=topic, began=moment, ended=moment + 1, ending=Ending.DONE
    )
    old.seen, old.sight = (0, values[0]), Sight.VALUE
    record.history.operations.append(old)
    (problem,) = judge_history(record, changes)
    assert f"cannot be: {old}" in problem
    old.stale = True
    assert judge_history(record, changes) == []
    record.history.operations.remove(old)

    lost = next(
        one for one in record.history.operations if one.kind is Kind.SET and one.ending is Ending.DONE
    )
    changes.effects[lost.topic].remove(lost.value)
    del changes.written[lost.value]
    told = judge_history(record, changes)
    assert told[0] == f"acknowledged, and not in the log: {lost}"
    assert "not linearizable" in told[1]


async def test_a_network_that_is_not_to_be_relied_on(tmp_path: pathlib.Path) -> None:
    script = (
        "isolate-leader",
        "one-way",
        "resets",
        "half-closes",
        "slow-network",
        "clients-apart",
        "flapping",
    )
    finding = await stands(tmp_path, briefly(*script))

    assert len(finding.nemesis.faults) == len(script)
    assert finding.nemesis.network.counts["reset"] > 0


async def test_a_disk_without_room(tmp_path: pathlib.Path) -> None:
    finding = await stands(tmp_path, briefly("disk-low", "disk-full", small_disks=True))

    _skip_what_is_impossible(finding)
    assert [fault.what for fault in finding.nemesis.faults] == [
        "disk below its floor",
        "disk full to the last byte",
    ]


async def test_a_disk_that_flushes_slowly_or_not_at_all(tmp_path: pathlib.Path) -> None:
    finding = await stands(tmp_path, briefly("fsync-fails", "fsync-slow"))

    _skip_what_is_impossible(finding)
    said = [node.log.read_text() for node in finding.nemesis.cluster.files.controllers]
    assert any("fsync" in text or "flush" in text for text in said)


def _skip_what_is_impossible(finding: Finding) -> None:
    if finding.impossible:
        skip("; ".join(finding.impossible))


if full():

    @pytest.mark.parametrize("controllers", [3, 5])
    async def test_everything_at_once_for_five_minutes(tmp_path: pathlib.Path, controllers: int) -> None:
        plan = Plan(controllers=controllers, seconds=300.0, seed=controllers)
        finding = await stands(tmp_path, plan, within_s=1200.0)

        assert len(finding.nemesis.faults) > 30


# --- the report


def test_a_gap_is_blamed_on_what_was_at_work_then_or_had_just_ended() -> None:
    kill, pause = Fault("kill", ("a",), 10.0, 12.0), Fault("pause", ("b",), 20.0, 21.0)
    assert causes([kill, pause], 11.0, 20.5) == ("kill (a)", "pause (b)")
    assert causes([kill, pause], 13.0, 14.0) == ("after kill (a)",)
    assert causes([kill, pause], 50.0, 51.0) == ()
    assert causes([attrs.evolve(pause, ended_s=None)], 50.0, 51.0) == ("pause (b)",)


def test_a_majority_is_well_as_long_as_faults_strike_a_minority() -> None:
    one = Fault("kill", ("controller-1",), 10.0, 14.0)
    other = Fault("pause", ("controller-2", "broker-101"), 12.0, 13.0)
    again = Fault("late", ("controller-1",), 12.0, 20.0)
    assert well_s([], 4.0, 24.0, minority=1) == 20.0
    assert well_s([one, again], 4.0, 24.0, minority=1) == 20.0
    assert well_s([one, other, again], 4.0, 24.0, minority=1) == 11.0
    assert well_s([one, other, again], 4.0, 24.0, minority=2) == 20.0
    assert well_s([again, attrs.evolve(other, ended_s=None)], 4.0, 24.0, minority=1) == 8.0
