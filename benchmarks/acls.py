"""One decision about a request, with many ACLs: microseconds; and what the next ACL costs."""

import pathlib
import time
from collections.abc import Callable
from typing import Any

import attrs

from benchmarks import machine
from quorate.metadata.security.acl_index import AclIndex, caller
from quorate.metadata.security.permissions import Acl, Operation, Pattern, Permission, Resource

_ROUNDS = 20_000


async def run(directory: pathlib.Path, *, acls: int) -> dict[str, Any]:
    """Three ways in which that many ACLs can be spread, and the worst case for a name of 249 letters."""
    yardstick = await machine.measure(directory)
    spread = {
        "a topic each": [_acl(f"topic-{i}") for i in range(acls)],
        "all on one topic": [_acl("orders", principal=f"User:{i}") for i in range(acls)],
        "one user, a host each": [
            _acl("orders", host=f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}") for i in range(acls)
        ],
        "prefixes of 20 lengths": [
            _acl(f"{i:020}"[: i % 20 + 1] + str(i), pattern=Pattern.PREFIXED) for i in range(acls)
        ],
        "prefixes of all 249 lengths": [
            _acl(f"{i}-".ljust(i % 249 + 1, "x")[: i % 249 + 1] + str(i), pattern=Pattern.PREFIXED)
            for i in range(acls)
        ],
    }
    return {
        "machine": attrs.asdict(yardstick),
        "acls": acls,
        "ways": [_measured(way, made) for way, made in spread.items()],
    }


def _acl(
    name: str, *, principal: str = "User:alice", host: str = "*", pattern: Pattern = Pattern.LITERAL
) -> Acl:
    return Acl(
        resource_type=Resource.TOPIC,
        resource_name=name,
        pattern_type=pattern,
        principal=principal,
        host=host,
        operation=Operation.READ,
        permission_type=Permission.ALLOW,
    )


def _measured(way: str, acls: list[Acl]) -> dict[str, Any]:
    began = time.perf_counter()
    index = AclIndex.EMPTY.changed((), acls)
    build_ms = (time.perf_counter() - began) * 1e3
    one_more = [_acl("one-more")]
    name = acls[len(acls) // 2].resource_name
    return {
        "way": way,
        "allowed_us": _us(lambda: _decide(index, name)),
        "denied_us": _us(lambda: _decide(index, "unknown".ljust(249, "x"))),
        "next_acl_us": _us(lambda: index.changed((), one_more)),
        "build_ms": build_ms,
    }


def _decide(index: AclIndex, name: str) -> None:
    index.decide(caller("User:alice", "10.0.0.1"), Operation.DESCRIBE, Resource.TOPIC, name, if_no_acl=False)


def _us(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        work()
    return (time.perf_counter() - began) / _ROUNDS * 1e6
