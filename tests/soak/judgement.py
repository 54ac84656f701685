"""What a series of samples amounts to: flat, or growing. Nothing is measured here.

Growth is the slope of a straight line through the samples after warm-up, times the time they span. It must exceed what
the machine does by chance (`noise`) as well as what is allowed for an hour, so that neither a short nor a long run is
refused for a single step.
"""

from collections.abc import Iterable, Sequence
from statistics import linear_regression, median

import attrs

_ENDS = 5
"""So many samples make the first and the last value that people see."""


@attrs.frozen(kw_only=True)
class Bound:
    """How much one quantity may grow."""

    quantity: str
    unit: str
    per_hour: float
    noise: float
    at_most: float | None = None
    """Whatever the slope: no sample may be above."""


@attrs.frozen(kw_only=True)
class Verdict:
    """On one quantity of one process."""

    who: str
    bound: Bound
    samples: int
    first: float
    last: float
    highest: float
    growth: float
    """Over the time of the samples."""
    per_hour: float
    problem: str | None

    def row(self) -> tuple[str, ...]:
        unit = self.bound.unit
        return (
            self.who,
            self.bound.quantity,
            str(self.samples),
            f"{self.first:.1f} {unit}",
            f"{self.last:.1f} {unit}",
            f"{self.highest:.1f} {unit}",
            f"{self.per_hour:+.1f} {unit}/h",
            self.problem or "ok",
        )


TITLES = ("PROCESS", "WHAT", "SAMPLES", "FIRST", "LAST", "HIGHEST", "SLOPE", "VERDICT")


def judge(who: str, bound: Bound, series: Sequence[tuple[float, float]], warm_up_s: float) -> Verdict | None:
    """`series`: (seconds since the process started, value). None: too short to say anything."""
    kept = [(at, value) for at, value in series if at >= warm_up_s]
    if len(kept) < 2 * _ENDS:
        return None
    times, values = zip(*kept, strict=True)
    slope = linear_regression(times, values).slope
    growth, per_hour = slope * (times[-1] - times[0]), slope * 3600
    problem = None
    if bound.at_most is not None and max(values) > bound.at_most:
        problem = f"above {bound.at_most:g} {bound.unit}"
    elif growth > bound.noise and per_hour > bound.per_hour:
        problem = (
            f"grows: more than {bound.per_hour:g} {bound.unit}/h and {bound.noise:g} {bound.unit} in all"
        )
    return Verdict(
        who=who,
        bound=bound,
        samples=len(kept),
        first=median(values[:_ENDS]),
        last=median(values[-_ENDS:]),
        highest=max(values),
        growth=growth,
        per_hour=per_hour,
        problem=problem,
    )


def table(rows: Iterable[Sequence[str]]) -> str:
    """For a page or a terminal: columns under their titles."""
    lines = [TITLES, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(TITLES))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
