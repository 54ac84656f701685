"""`python -m tests.e2e.faults --minutes M --controllers N`: real processes under fault for so long, and the verdict.

The seed draws what the nemesis and the clients do; what real processes make of it differs from run to run. If anything
is wrong the exit code is 1, the evidence is printed and the directory is kept.
"""

import argparse
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

import trio

from tests.e2e.faults import report
from tests.e2e.faults.harness import Finding, Plan, under_fault
from tests.e2e.faults.nemesis import FAULTS
from tests.secured import MODES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults are drawn")
    parser.add_argument("--controllers", type=int, default=3)
    parser.add_argument("--brokers", type=int, default=2, help="without any no topic can be created")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--security", choices=MODES, default=MODES[0], help="what the nodes ask of clients")
    parser.add_argument("--seed", type=int, default=None, help="a fresh one unless given")
    parser.add_argument(
        "--only", nargs="+", choices=sorted(FAULTS), metavar="FAULT", help="only these faults"
    )
    parser.add_argument("--directory", type=pathlib.Path, help="where the cluster lies; made, and kept")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    if arguments.brokers < 1:
        parser.error("--brokers must be at least 1: topics need somebody to hold their replicas")
    return arguments


def main() -> int:
    arguments = _arguments()
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:8.1f}  {line}\n")

    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**31)
    plan = Plan(
        controllers=arguments.controllers,
        brokers=arguments.brokers,
        clients=arguments.clients,
        security=arguments.security,
        seed=seed,
        seconds=arguments.minutes * 60,
        kinds=tuple(arguments.only or FAULTS),
    )
    directory = arguments.directory or pathlib.Path(tempfile.mkdtemp(prefix="quorate-faults-"))
    directory.mkdir(parents=True, exist_ok=True)
    say(f"seed {seed}, in {directory}")
    finding = trio.run(under_fault, directory, plan, say)
    _tell(finding, arguments.output)
    if finding.problems:
        say(f"the nodes' logs and disks are kept in {directory}")
        return 1
    if arguments.directory is None:
        shutil.rmtree(directory)
    return 0


def _tell(finding: Finding, form: str) -> None:
    told = report.document(finding)
    if form == "json":
        print(json.dumps(told))
    else:
        for line in report.lines(told):
            print(line)


if __name__ == "__main__":
    sys.exit(main())
