"""The judgement alone, always; a short soak in the full matrix."""

import os
import pathlib
import random

import pytest

from tests.e2e.conftest import full
from tests.soak.judgement import Bound, Verdict, judge, table
from tests.soak.running import Plan, soak
from tests.soak.sampling import FILES, MEMORY, THREADS, measure

MEMORY_BOUND = Bound(quantity=MEMORY, unit="MiB", per_hour=16, noise=8)


def series(
    per_hour: float, minutes: float = 60, start: float = 100, jitter: float = 2.0
) -> list[tuple[float, float]]:
    rng = random.Random(4)
    count = int(minutes * 30)
    return [(2.0 * n, start + per_hour * 2.0 * n / 3600 + rng.uniform(-jitter, jitter)) for n in range(count)]


def judged(
    samples: list[tuple[float, float]], bound: Bound = MEMORY_BOUND, warm_up_s: float = 600
) -> Verdict:
    verdict = judge("one", bound, samples, warm_up_s)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize("per_hour", [20, 60, 1000])
def test_growth_is_refused(per_hour: float) -> None:
    verdict = judged(series(per_hour))
    assert verdict.problem is not None
    assert "grows" in verdict.problem
    assert abs(verdict.per_hour - per_hour) < 2


@pytest.mark.parametrize("per_hour", [-50, 0, 5, 14])
def test_what_is_flat_within_the_bound_is_not(per_hour: float) -> None:
    assert judged(series(per_hour)).problem is None


def test_a_short_run_is_not_refused_for_noise_but_for_a_leak() -> None:
    assert judged(series(60, minutes=4), warm_up_s=60).problem is None
    assert judged(series(600, minutes=4), warm_up_s=60).problem is not None


def test_what_a_start_takes_does_not_count() -> None:
    samples = [(at, value - (60 if at < 300 else 0)) for at, value in series(0)]
    assert judged(samples, warm_up_s=600).problem is None
    assert judged(samples, warm_up_s=0).problem is not None


def test_a_limit_is_a_limit() -> None:
    bound = Bound(quantity="directory", unit="MiB", per_hour=float("inf"), noise=0, at_most=101)
    assert judged(series(0, jitter=0.5), bound).problem is None
    assert judged(series(0, jitter=2.0), bound).problem == "above 101 MiB"


def test_too_few_samples_say_nothing() -> None:
    assert judge("one", MEMORY_BOUND, series(1000)[:9], 0) is None


def test_the_table_has_a_line_for_each() -> None:
    lines = table([judged(series(0)).row(), judged(series(100)).row()]).splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["VERDICT", "ok"]
    assert "grows" in lines[2]


def test_this_process_is_measured(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    taken = measure(os.getpid(), tmp_path)
    assert taken[MEMORY] > 5
    assert taken[THREADS] >= 1
    with (tmp_path / "file").open():
        assert measure(os.getpid(), tmp_path)[FILES] == taken[FILES] + 1
    assert 0.09 < taken["directory"] < 0.2


if full():  # it takes minutes

    @pytest.mark.e2e
    async def test_two_minutes_of_load_leave_nothing_behind(tmp_path: pathlib.Path) -> None:
        result = await soak(tmp_path, Plan(minutes=2))
        assert result.load.writes > 100
        assert result.restarts >= 2
        assert result.problems == []
