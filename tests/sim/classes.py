"""The classes of bugs that other systems had, the bugs of ours that stand for them, and the laws with theirs.

    python -m tests.sim.classes                  every bug, and the seed at which it is first caught
    python -m tests.sim.classes --bug NAME       one, and what was seen: the same in every process
    python -m tests.sim.classes --rewrite        measures all, and writes docs/bug-classes.md

The page holds what was measured when it was last written; a test holds it to the declarations, and other tests see that
every bug is caught within its limit (`test_planted_bugs`, `test_laws`).
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from tests.sim.all_bugs import BUGS, BY_NAME
from tests.sim.hunting import first_caught
from tests.sim.law_book import law
from tests.sim.planted_bugs import PlantedBug

PAGE: Final = pathlib.Path(__file__).parents[2] / "docs" / "bug-classes.md"


@attrs.frozen
class BugClass:
    """One class, as others met it."""

    number: int
    name: str
    seen_in: str
    bugs: tuple[str, ...]
    """Planted bugs of this class; the scenario is the worlds, or the story, in which each is looked for."""
    transcripts: tuple[str, ...] = ()
    """Stories under `tests/scenarios` that show the same step by step."""


CLASSES: Final = (
    BugClass(
        1,
        "a vote, or the epoch, is not durable before the answer",
        "PySyncObj#84, #201, #202; raftos",
        ("vote_not_persisted", "answer_sent_before_vote_is_written"),
        ("everybody_restarts",),
    ),
    BugClass(
        2,
        "acknowledged before it is flushed: a power cut loses committed records",
        "NATS 2.12.1; PySyncObj#84",
        ("fetch_before_flush", "answered_before_commit", "flush_that_does_nothing"),
    ),
    BugClass(
        3,
        "a leader acknowledges before its own disk write",
        "etcd#14370",
        ("leader_counts_itself_before_flush",),
        ("single_voter",),
    ),
    BugClass(
        4,
        "an old or doubled append cuts off, or doubles, matching records",
        "PySyncObj 0.3.17; raftos#26, #31; WRaft PR#118",
        ("truncation_below_the_high_watermark", "stale_fetch_response_accepted", "divergence_not_looked_for"),
        ("divergence", "divergence_of_several_epochs"),
    ),
    BugClass(
        5,
        "the high watermark goes back",
        "PySyncObj#166, #168",
        ("high_watermark_told_too_early", "watermark_forgotten_with_its_leader"),
    ),
    BugClass(
        6,
        "what a replica is known to have shrinks when messages overtake each other",
        "PySyncObj#167; raftos#25; WRaft",
        ("match_regresses_on_reordered_fetches",),
    ),
    BugClass(
        7,
        "records of an earlier epoch are committed by counting replicas",
        "PySyncObj#169; Raft paper, figure 8",
        ("old_epoch_committed_by_counting",),
        ("earlier_epoch_is_not_committed_by_counting",),
    ),
    BugClass(
        8,
        "two votes, or two leaders, in one epoch",
        "DaosRaft PR#70; Xraft; CCF#5891",
        (
            "two_votes_in_one_epoch",
            "majority_off_by_one",
            "elected_by_half_of_the_voters",
            "restarted_leader_leads_the_same_epoch",
            "resigned_leader_leads_on",
        ),
        ("restarted_leader_resigns",),
    ),
    BugClass(9, "the epoch goes back", "WRaft PR#118", ("older_epoch_believed",)),
    BugClass(
        10,
        "pre-votes counted across epochs; pre-votes that nobody ever wins",
        "cockroach#123297; kafka#17807",
        ("pre_votes_counted_as_votes", "equals_refuse_each_other"),
        ("peer_without_pre_votes",),
    ),
    BugClass(
        11,
        "a deposed, paused or cut-off leader answers reads with old news",
        "etcd#20418; Xraft; RATIS-1273; KAFKA-15489; Jepsen etcd 0.4.1",
        ("reads_not_confirmed", "delayed_fetch_confirms_a_read", "answer_not_held_until_it_shows"),
        ("read_at_a_former_leader", "read_without_a_majority", "leader_paused", "check_quorum"),
    ),
    BugClass(
        12,
        "voters changed before a record of the epoch is committed",
        "Ongaro, raft-dev 2015; openraft",
        (
            "voters_changed_before_the_epochs_first_commit",
            "change_before_the_first_commit",
            "two_changes_at_once",
            "two_changes_in_one_record",
        ),
        ("no_change_before_the_epochs_first_commit", "one_change_at_a_time"),
    ),
    BugClass(
        13,
        "a change that was cut off is not undone; restart with old voters; a removed voter returns",
        "PySyncObj#133; openraft; KAFKA-19850; etcd's zombie members",
        (
            "truncated_change_not_undone",
            "voters_not_rolled_back",
            "last_voters_not_known_before_the_flush",
            "restart_with_the_first_voters",
            "removed_voter_stands_again",
            "removed_voter_returns",
            "removed_too_early",
            "directory_id_ignored",
            "observer_elected",
        ),
        ("change_is_undone", "voter_removed", "wiped_voter"),
    ),
    BugClass(
        14,
        "races around a snapshot: the log behind it after a kill, install against leadership, damaged parts",
        "etcd#18055, #8091; canonical/raft#199; Redis-Raft",
        (
            "log_behind_its_snapshot_kept",
            "snapshot_installed_without_a_leader",
            "damaged_snapshot_believed",
            "no_snapshot_for_an_older_history",
        ),
        ("slow_follower_after_compaction",),
    ),
    BugClass(
        15,
        "recovery brings back a tail that was cut off",
        "etcd#22442",
        ("truncated_tail_comes_back", "flush_from_before_a_truncation_believed"),
    ),
    BugClass(
        16,
        "the applied offset and the state part: a batch is skipped, or state outlives its log",
        "etcd#13766, #14685, #20426",
        ("batch_after_snapshot_skipped", "last_batch_of_a_snapshot_not_read", "speculative_image_kept"),
    ),
    BugClass(
        17,
        "damage on a minority's disks (flipped bits, misdirected reads) costs the majority's data",
        "NATS 2.12.1; Protocol-Aware Recovery",
        ("damaged_log_not_noticed",),
    ),
    BugClass(
        18,
        "a failed fsync is tried again and then succeeds",
        "Rebello et al., ATC'20",
        ("fsync_failure_retried",),
    ),
    BugClass(
        19,
        "watchers lose, repeat or rewind events",
        "etcd#15220, #15271, #17529, #18089, #19179, #20221",
        (
            "broker_goes_back",
            "snapshot_changes_not_told",
            "publication_follows_an_older_one",
            "observer_served_uncommitted",
        ),
        ("uncommitted_is_not_served_to_observers",),
    ),
    BugClass(
        20,
        "an unknown outcome is tried again and happens twice, or is told wrongly",
        "FoundationDB's commit_unknown_result; Redpanda#3039",
        ("lost_write_sent_again", "refused_though_appended", "success_for_replaced_records"),
    ),
    BugClass(
        21,
        "sessions lost at failover: dead brokers never fenced, living ones fenced",
        "KAFKA-18138, 13841, 15019, 14392, 13955",
        ("sessions_lost_at_failover", "sessions_never_expire", "sessions_not_begun_in_full"),
    ),
    BugClass(
        22,
        "migration: a failover in each phase, stale reads, stray partitions, rollback",
        "KAFKA-15010, 16667, 16120, 16121, 20488",
        (
            "copy_without_a_transaction",
            "failed_dual_write_forgotten",
            "writes_without_a_fence",
            "no_reconciling_after_a_failover",
            "given_back_with_an_old_epoch",
        ),
    ),
    BugClass(
        23,
        "a snapshot loses history that a decision needs",
        "kafka#21025",
        ("snapshot_loses_the_voters", "own_snapshots_forgotten"),
    ),
    BugClass(
        24,
        "clocks, long pauses, full and stalling disks, one-way loss",
        "the nemeses of Jepsen and openraft",
        (
            "read_by_a_lease",
            "own_silence_held_against_brokers",
            "heartbeat_not_counted_on_arrival",
            "full_disk_ignored",
        ),
        ("one_way_partition", "cut_off_follower", "almost_full_disk"),
    ),
)

_HEAD: Final = """# Bug classes

The kinds of bugs that other systems had, and what stands for each here: a scenario (the worlds, or the story, in which
it is looked for), bugs of that kind that are planted on purpose, and the seed at which the first of these worlds gives
each away. [testing.md](testing.md) explains how to read it.

Written by `python -m tests.sim.classes --rewrite`, which measures the seeds; a test holds the rest to the declarations.
One row again, with what was seen: `python -m tests.sim.classes --bug NAME`.
"""


def measured(bugs: tuple[PlantedBug, ...] = BUGS) -> Iterator[tuple[PlantedBug, int | None, str]]:
    """Each bug, the first seed that catches it (None: none within its limit), and what was seen."""
    for bug in bugs:
        caught = first_caught(bug)
        yield (bug, None, "") if caught is None else (bug, *caught)


def page(seeds: Mapping[str, int]) -> str:
    """The whole page; `seeds`: by the name of a bug."""
    needed = [(law(bug.only), bug) for bug in BUGS if bug.only is not None]
    lines = [
        _HEAD,
        f"{len(CLASSES)} classes, {len(BUGS)} planted bugs, {len(needed)} of them for one law each.",
        "",
        "| # | class | seen in | scenario | planted bug | caught at seed | within |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in CLASSES:
        lines += _rows(one, seeds)
    lines += ["", "## Laws", "", _LAWS, "| law | said when it is broken | bug | caught at seed | within |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| `{one.where}` | {one.text} | `{bug.name}` | {seeds[bug.name]} | {bug.within} |"
        for one, bug in sorted(needed, key=lambda pair: pair[0].where)
    ]
    lines += ["", "## The bugs", "", "| planted bug | what it does |", "|---|---|"]
    lines += [f"| `{bug.name}` | {bug.story} |" for bug in BUGS]
    return "\n".join(lines) + "\n"


_LAWS: Final = """For each of these laws a bug that is found with it and, in the same worlds, by nobody without it.
"""


def _rows(one: BugClass, seeds: Mapping[str, int]) -> Iterator[str]:
    told = "".join(f", [{name}](../tests/scenarios/{name}.txt)" for name in one.transcripts)
    for index, name in enumerate(one.bugs):
        bug = BY_NAME[name]
        head = f"{one.number} | {one.name} | {one.seen_in}" if index == 0 else " | | "
        where = f"`{bug.where}`{told if index == 0 else ''}"
        yield f"| {head} | {where} | `{name}` | {seeds[name]} | {bug.within} |"


def seeds_on(text: str) -> dict[str, int]:
    """The measured seeds of a page."""
    rows = re.findall(r"\| `(\w+)` \| (\d+) \| \d+ \|$", text, re.MULTILINE)
    return {name: int(seed) for name, seed in rows}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim.classes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bug", choices=sorted(BY_NAME), metavar="NAME", help="only this one")
    parser.add_argument("--rewrite", action="store_true", help="write docs/bug-classes.md")
    arguments = parser.parse_args()
    seeds: dict[str, int] = {}
    missed = 0
    for bug, seed, seen in measured(BUGS if arguments.bug is None else (BY_NAME[arguments.bug],)):
        if seed is None:
            missed += 1
            _say(f"{bug.name}: NOT CAUGHT within {bug.within} seeds of {bug.where}")
            continue
        seeds[bug.name] = seed
        _say(f"{bug.name}: seed {seed} of {bug.where} (within {bug.within})")
        if arguments.bug is not None:
            _say(f"  {bug.story}\n  seen: {seen}")
    if arguments.rewrite and arguments.bug is None and not missed:
        PAGE.write_text(page(seeds))
    return 1 if missed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
