"""What a run under fault came to, for people and for programs."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from tests.e2e.faults.harness import Finding
from tests.e2e.faults.nemesis import Fault

_LONGEST: Final = 5
_A_MOMENT_S: Final = 0.5
_LEAST_BLAMED_S: Final = 10.0
"""A fault that ended so long before a gap began is not named as its cause."""


@attrs.frozen(kw_only=True)
class Gap:
    """A time without an acknowledged write. Seconds, since the run began."""

    from_s: float
    length_s: float
    well_s: float
    """The longest stretch of it in which no fault was at work on more than a minority of the controllers. What an
    earlier fault has left (starting processes, an election) falls into it."""
    causes: tuple[str, ...]
    """The faults that were at work then."""


def gaps(finding: Finding) -> list[Gap]:
    """All that are longer than a moment, the longest first."""
    times, faults = sorted(finding.record.acknowledged_s), finding.nemesis.faults
    minority = (finding.plan.controllers - 1) // 2
    found = [
        Gap(
            from_s=one - finding.record.began_s,
            length_s=later - one,
            well_s=well_s(faults, one, later, minority),
            causes=causes(faults, one, later),
        )
        for one, later in itertools.pairwise(times)
        if later - one > _A_MOMENT_S
    ]
    return sorted(found, key=lambda gap: -gap.length_s)


def well_s(faults: Sequence[Fault], from_s: float, until_s: float, minority: int) -> float:
    """The longest stretch between two moments with at most so many controllers under any fault."""
    edges = {from_s, until_s}
    for one in faults:
        edges |= {edge for edge in (one.began_s, one.ended_s) if edge is not None and from_s < edge < until_s}
    longest = stretch = 0.0
    for start, end in itertools.pairwise(sorted(edges)):
        at_work = [one for one in faults if one.began_s <= start and (one.ended_s or until_s) >= end]
        struck = {name for one in at_work for name in one.whom if name.startswith("controller")}
        stretch = stretch + end - start if len(struck) <= minority else 0.0
        longest = max(longest, stretch)
    return longest


def causes(faults: Sequence[Fault], from_s: float, until_s: float) -> tuple[str, ...]:
    """Which faults were at work between two moments; else the last that had ended shortly before."""
    at_work = [one for one in faults if one.began_s < until_s and (one.ended_s or until_s) > from_s]
    if at_work:
        return tuple(map(str, at_work))
    before = [one for one in faults if one.ended_s and from_s - _LEAST_BLAMED_S < one.ended_s <= from_s]
    return tuple(f"after {one}" for one in before[-1:])


def document(finding: Finding) -> dict[str, Any]:
    """All of it."""
    plan, record = finding.plan, finding.record
    found = gaps(finding)
    lengths = sorted(later - one for one, later in itertools.pairwise(sorted(record.acknowledged_s)))
    return {
        "controllers": plan.controllers,
        "brokers": plan.brokers,
        "clients": plan.clients,
        "seed": plan.seed,
        "operations": finding.checked_operations,
        "topics": len(record.topics_used),
        "writes_acknowledged": len(record.acknowledged_s),
        "changes_in_log": sum(map(len, finding.changes.effects.values())),
        "last_epoch": finding.last_epoch,
        "faults": dict(sorted(Counter(_kind(one) for one in finding.nemesis.faults).items())),
        "connections": dict(sorted(finding.nemesis.network.counts.items())),
        "outcomes": {f"{what}: {ending}": count for (what, ending), count in sorted(record.endings.items())},
        "gaps_s": {name: _percentile(lengths, share) for name, share in _SHARES.items()},
        "longest_gaps": [attrs.asdict(gap) for gap in found[:_LONGEST]],
        "longest_gaps_of_a_majority": [
            attrs.asdict(gap) for gap in sorted(found, key=lambda gap: -gap.well_s)[:_LONGEST]
        ],
        "not_tried": finding.impossible,
        "problems": finding.problems,
    }


_SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def _percentile(sorted_values: list[float], share: float) -> float | None:
    if not sorted_values:
        return None
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def _kind(fault: Fault) -> str:
    """Without what differs from one to the next."""
    return " ".join(word for word in fault.what.split() if not word.strip(".").isdigit())


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield (
        f"{told['operations']} operations on {told['topics']} topics, "
        f"{told['writes_acknowledged']} writes acknowledged, "
        f"{told['changes_in_log']} changes in the log, last epoch {told['last_epoch']} (seed {told['seed']})"
    )
    for title, key in (("faults", "faults"), ("connections", "connections"), ("operations", "outcomes")):
        yield f"{title}:"
        yield from (f"  {count:>8}  {name}" for name, count in told[key].items())
    shares = ", ".join(f"{name} {value:.3f} s" for name, value in told["gaps_s"].items() if value is not None)
    yield f"times between two acknowledged writes: {shares}"
    for gap in told["longest_gaps"]:
        yield f"  {gap['length_s']:8.3f} s from {gap['from_s']:.1f} s on: {_why(gap)}"
    yield "of these the longest stretches in which faults were at work on a minority of the controllers at most:"
    for gap in told["longest_gaps_of_a_majority"]:
        yield f"  {gap['well_s']:8.3f} s within {gap['length_s']:.3f} s from {gap['from_s']:.1f} s on: {_why(gap)}"
    yield from (f"not tried: {reason}" for reason in told["not_tried"])
    for problem in told["problems"]:
        yield f"VIOLATION: {problem}"
    if not told["problems"]:
        yield "nothing acknowledged was lost, all images are equal"
        yield "the history is linearizable, with no old answer of an active controller forgiven"


def _why(gap: dict[str, Any]) -> str:
    return "; ".join(gap["causes"]) or "no fault was at work"
