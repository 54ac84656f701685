"""`python -m tests.full`: the whole matrix, far more than the default test command has time for.

    pytest       with TESTS_FULL=1 (sizes and repetitions of the real thing) and nothing skipped in tests/e2e
    simulator    thousands of fresh seeds; --first-seed repeats a run

Everything runs, whatever failed before it; the exit code is the worst one.
"""

import argparse
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

SEEDS: Final = 10_000
_LAST_SEED: Final = 2**31


@attrs.frozen
class Run:
    """One command of the matrix."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(factory=dict)

    def text(self) -> str:
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return shlex.join([*settings, *self.words])


def matrix(first_seed: int, seeds: int, pytest_options: Sequence[str] = ()) -> tuple[Run, ...]:
    """What is run, in order."""
    everything = {"TESTS_FULL": "1", "TESTS_NO_SKIP": "1"}
    return (
        Run((sys.executable, "-m", "pytest", *pytest_options), everything),
        Run((sys.executable, "-m", "tests.sim", "--seed", str(first_seed), "--count", str(seeds))),
    )


def worst(codes: Sequence[int]) -> int:
    """0 only if all are; a process that a signal ended counts as a failure."""
    return max((code if code >= 0 else 1 for code in codes), default=0)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.full", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first-seed", type=int, default=None, help="instead of a fresh one")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"for the simulator (default {SEEDS})")
    parser.add_argument("pytest_options", nargs="*", help="handed on to pytest, behind a --")
    arguments = parser.parse_args(words)
    first_seed = arguments.first_seed
    if first_seed is None:
        first_seed = random.SystemRandom().randrange(_LAST_SEED)
    runs = matrix(first_seed, arguments.seeds, arguments.pytest_options)
    codes = []
    for run in runs:
        _say(f"== {run.text()}")
        codes.append(
            subprocess.run(run.words, env=os.environ | dict(run.environment), check=False).returncode
        )
    _say("== what ran")
    for run, code in zip(runs, codes, strict=True):
        _say(f"{'ok' if code == 0 else f'exit code {code}':>12}  {run.text()}")
    return worst(codes)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
