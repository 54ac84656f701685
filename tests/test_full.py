"""The whole matrix: what it consists of, that all of it runs, and what its exit code is."""

import sys

import pytest

from tests import full


def test_nothing_is_small_and_nothing_is_skipped() -> None:
    tests, _ = full.matrix(first_seed=3, seeds=2_000)

    assert tests.words == (sys.executable, "-m", "pytest")
    assert tests.environment == {"TESTS_FULL": "1", "TESTS_NO_SKIP": "1"}


def test_the_simulator_takes_these_words(capfd: pytest.CaptureFixture[str]) -> None:
    """The real simulator, with few seeds; pytest is only asked for its version."""
    code = full.main(["--first-seed", "11", "--seeds", "2", "--", "--version"])

    said = capfd.readouterr()
    assert code == 0, said
    assert "seed 11:" in said.out
    assert "seed 12:" in said.out
    assert said.out.count("          ok  ") == 2


def test_all_of_it_runs_and_the_worst_code_is_the_answer(capfd: pytest.CaptureFixture[str]) -> None:
    code = full.main(["--first-seed", "1", "--seeds", "1", "--", "--no-such-option"])

    said = capfd.readouterr()
    assert code == 4  # pytest's "usage"
    assert "exit code 4" in said.out
    assert "seed 1:" in said.out


def test_a_signal_is_a_failure() -> None:
    assert full.worst([0, -9]) == 1
    assert full.worst([0, 0]) == 0
