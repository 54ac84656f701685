"""docs/command-line.md shows what each command prints as JSON: the same members, all the way down."""

import json
import pathlib
import re

import pytest

pytestmark = pytest.mark.e2e

_PAGE = pathlib.Path(__file__).parents[2] / "docs" / "command-line.md"
EXAMPLES = dict(
    re.findall(r"^### (.+?)\n.*?^```json\n(.+?)^```", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
)
_LINES = {
    "topics list": "topics list",
    "topics create": "topics create --topic fresh --if-not-exists",
    "topics describe": "topics describe --topic shapes",
    "topics alter": "topics alter --topic shapes --partitions 2 --validate-only",
    "topics delete": "topics delete --topic none --if-exists",
    "brokers list": "brokers list",
    "brokers describe": "brokers describe",
    "partitions elect-leaders": "partitions elect-leaders --election-type preferred --topic shapes --partition 0",
    "configs describe": "configs describe --topic shapes",
    "configs alter": "configs alter --topic shapes --add-config retention.ms=1000",
    "acls list": "acls list",
    "acls add": "acls add --topic shapes --allow-principal User:alice --operation Read",
    "acls remove": "acls remove --topic shapes --dry-run",
    "quotas describe": "quotas describe --user shapes",
    "quotas alter": "quotas alter --user shapes --add-config producer_byte_rate=1024",
    "users describe": "users describe --user shapes",
    "users alter": "users alter --user shapes --add-config SCRAM-SHA-512=[password=x]",
    "features describe": "features describe",
    "features upgrade": "features upgrade --metadata 21 --dry-run",
    "quorum status": "quorum status",
    "quorum describe": "quorum describe",
    "quorum add-controller": "quorum remove-controller 3 --dry-run",
    "image ls": "image ls /topics",
    "image cat": "image cat /features/metadataVersion",
    "image tree": "image tree /features",
    "log tail": "log tail -n 1 --type topic_record",
}

_ELSEWHERE = {
    *("tokens create", "tokens renew", "tokens expire", "tokens describe"),
    *("migrate plan", "migrate verify", "migrate status", "migrate rehearse"),
    *("zookeeper ls", "zookeeper get", "zookeeper dump", "zookeeper load", "zookeeper start"),
}
"""They need a cluster that asks who is there, or a ZooKeeper: test_tokens_live, test_migrate_commands,
test_migrate_steps, test_zookeeper_live."""


def members(value, path=""):
    """The paths of all members; of a list, those of its first item."""
    match value:
        case dict():
            return {f"{path}.{key}" for key in value} | {
                inner for key, below in value.items() for inner in members(below, f"{path}.{key}")
            }
        case [first, *_]:
            return members(first, f"{path}[]")
        case _:
            return set()


_TRIES = 100
_FREE = (".configs.", ".data.", ".quotas[].quotas.")
"""Below these stand names that users and records bring."""


def _fixed(members):
    return {one for one in members if not any(free in one for free in _FREE)}


def test_every_example_is_checked():
    assert EXAMPLES.keys() == _LINES.keys() | _ELSEWHERE


@pytest.mark.parametrize("command", _LINES)
def test_a_command_prints_what_the_page_shows(command, run, cluster):
    there = ["--bootstrap", cluster["bootstrap_controllers"], "--output", "json"]
    run("topics", "create", "--topic", "shapes", "--if-not-exists", "--config", "retention.ms=1000", *there)
    run(
        *["acls", "add", "--topic", "shapes", "--allow-principal", "User:alice", "--operation", "Read"],
        *there,
    )
    run("quotas", "alter", "--user", "shapes", "--add-config", "producer_byte_rate=1000", *there)
    run("users", "alter", "--user", "shapes", "--add-config", "SCRAM-SHA-256=[password=x]", *there)
    example = _fixed(members(json.loads(EXAMPLES[command])))
    for _ in range(_TRIES):  # a controller that has not heard of the topic yet shows less
        shown = _fixed(members(json.loads(run(*_LINES[command].split(), *there).out)))
        if shown == example:
            break

    assert shown == example
