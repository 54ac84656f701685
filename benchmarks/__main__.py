"""python -m benchmarks writes|reads|security|failover|startup|image|acls|kafka|zookeeper [--output json]."""

import argparse
import functools
import json
import pathlib
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from benchmarks import acls, failover, image, kafka, reads, security, startup, writes, zookeeper


def main() -> None:
    arguments = _arguments()
    work = _WORK[arguments.what](arguments)
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="quorate-benchmark-") as directory:
        found = trio.run(work, pathlib.Path(directory))
    if arguments.output == "json":
        print(json.dumps(found))
    else:
        _show(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=sorted(_WORK))
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="writes, reads, security, kafka: length of each load"
    )
    parser.add_argument("--times", type=int, help="failover, startup, kafka: how often (20, 5, 5)")
    parser.add_argument("--partitions", type=int, default=1_000_000, help="image: how many")
    parser.add_argument("--kafka", default="4.3.1", help="kafka: the release of brokers and controllers")
    parser.add_argument("--acls", type=int, default=10_000, help="acls: how many")
    parser.add_argument(
        "--directory", type=pathlib.Path, help="where the logs lie: the disk that is measured"
    )
    return parser.parse_args()


Work = Callable[[pathlib.Path], Awaitable[dict[str, Any]]]

_WORK: dict[str, Callable[[argparse.Namespace], Work]] = {
    "writes": lambda arguments: functools.partial(writes.run, seconds=arguments.seconds),
    "reads": lambda arguments: functools.partial(reads.run, seconds=arguments.seconds),
    "security": lambda arguments: functools.partial(security.run, seconds=arguments.seconds),
    "failover": lambda arguments: functools.partial(failover.run, times=arguments.times or 20),
    "startup": lambda arguments: functools.partial(startup.run, times=arguments.times or 5),
    "image": lambda arguments: functools.partial(image.run, partitions=arguments.partitions),
    "kafka": lambda arguments: functools.partial(
        kafka.run, version=arguments.kafka, seconds=arguments.seconds, times=arguments.times or 5
    ),
    "acls": lambda arguments: functools.partial(acls.run, acls=arguments.acls),
    "zookeeper": lambda arguments: zookeeper.run,
}


def _show(found: dict[str, Any], indent: str = "") -> None:
    for key, value in found.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _show(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{indent}{key}")
            for row in value:
                print(f"{indent}  " + "  ".join(f"{name} {_text(number)}" for name, number in row.items()))
        else:
            print(f"{indent}{key:45} {_text(value)}")


def _text(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
