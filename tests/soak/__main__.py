"""`python -m tests.soak --minutes M`: load with restarts; does anything grow that should not? Exit code 1: it does."""

import argparse
import pathlib
import sys
import tempfile

import trio

from tests.soak.judgement import table
from tests.soak.running import Plan, soak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--writers", type=int, default=4, help="clients that write at a time")
    parser.add_argument(
        "--dir", type=pathlib.Path, default=None, help="keep the cluster there, with its logs"
    )
    arguments = parser.parse_args()
    plan = Plan(minutes=arguments.minutes, writers=arguments.writers)
    with tempfile.TemporaryDirectory() as temporary:
        result = trio.run(soak, arguments.dir or pathlib.Path(temporary), plan)
    load = result.load
    print(
        f"{plan.minutes:g} minutes, {load.writes} configs written, {load.topics} topics created and all but 20 "
        f"deleted, {load.reads} clients that read all metadata, {result.restarts} restarts, {load.failures} requests "
        f"to be tried again, longest time without an acknowledged write {load.longest_gap_s:.1f} s\n"
    )
    print(table(one.row() for one in result.verdicts))
    if result.problems:
        sys.exit("\nnot flat:\n  " + "\n  ".join(result.problems))
    print("\nflat")


if __name__ == "__main__":
    main()
