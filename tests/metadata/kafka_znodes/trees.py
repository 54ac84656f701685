"""Trees for tests: the real ones, and ones that are made of a few lines."""

import gzip
import json
import pathlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

from quorate.metadata.zookeeper.dump import load_lines
from quorate.metadata.zookeeper.znodes import Stat, Znode

ARTEFACTS = pathlib.Path(__file__).parents[2] / "artefacts" / "zookeeper"
REAL = ("small", "rich", "large", "before-copy")
SECRET = "zk-trees-encoder-secret"


Content = Mapping[str, bytes | str | tuple[bytes | str | None, int] | None]
"""Path -> data, or (data, version)."""


def _opened(name: str) -> list[str]:
    plain = ARTEFACTS / name
    if plain.exists():
        return plain.read_text(encoding="utf-8").split("\n")
    with gzip.open(ARTEFACTS / f"{name}.gz", "rt", encoding="utf-8") as file:
        return file.read().split("\n")


@cache
def real(name: str) -> dict[str, Znode]:
    """One of `REAL`; nobody may change it."""
    return load_lines(_opened(f"{name}.jsonl"))


def truth(name: str) -> dict[str, Any]:
    """What Kafka's AdminClient saw at the same moment."""
    found: dict[str, Any] = json.loads("\n".join(_opened(f"truth-{name}.json")))
    return found


def secrets() -> dict[str, Any]:
    """The clear text of every encrypted config."""
    found: dict[str, Any] = json.loads((ARTEFACTS / "truth-secrets.json").read_text())
    return found


def copy_records() -> list[dict[str, Any]]:
    """The records that Kafka's own copy of `before-copy` committed."""
    return [json.loads(line) for line in _opened("copy-records.jsonl") if line]


def made(content: Content) -> dict[str, Znode]:
    """A tree; missing parents have null data. What brokers hold (`/controller`, `/brokers/ids/*`) is ephemeral."""
    nodes: dict[str, tuple[bytes | None, int]] = {"/": (b"", 0)}
    for path, given in content.items():
        data, version = given if isinstance(given, tuple) else (given, 0)
        at = ""
        for part in path.split("/")[1:-1]:
            at += f"/{part}"
            nodes.setdefault(at, (None, 0))
        nodes[path] = (data.encode() if isinstance(data, str) else data, version)
    counts = Counter(path.rpartition("/")[0] or "/" for path in nodes if path != "/")
    return {
        path: Znode(path, data, _stat(zxid, path, data, version, counts[path]))
        for zxid, (path, (data, version)) in enumerate(nodes.items(), 1)
    }


def _stat(zxid: int, path: str, data: bytes | None, version: int, children: int) -> Stat:
    by_broker = path.startswith("/brokers/ids/") or (path == "/controller" and b'Epoch":-1' in (data or b""))
    return Stat(
        czxid=zxid,
        mzxid=zxid,
        ctime=1_718_000_000_000,
        mtime=1_718_000_000_000,
        version=version,
        cversion=children,
        aversion=0,
        ephemeral_owner=0x1000A if by_broker else 0,
        data_length=len(data or b""),
        num_children=children,
        pzxid=zxid,
    )


BROKER = (
    '{"version":5,"host":"b.example","port":9092,"endpoints":["INT://b.example:9092","EXT://198.51.100.7:9094"],'
    '"jmx_port":-1,"timestamp":"1718000000456","rack":"az-1",'
    '"listener_security_protocol_map":{"INT":"PLAINTEXT","EXT":"SASL_SSL"},"features":{}}'
)
ORDERS_ID = "o9HJ8Ft-TCKaEAwvbo1LFw"
ORDERS = (
    '{"version":3,"partitions":{"0":[2,3,4,1]},"adding_replicas":{"0":[4]},"removing_replicas":{"0":[1]},'
    f'"topic_id":"{ORDERS_ID}"}}'
)
STATE = '{"version":1,"leader":2,"leader_epoch":9,"controller_epoch":57,"isr":[2,3]}'
HEALTHY: Content = {
    "/cluster/id": '{"version":"1","id":"k3hT0mWcQ1uV8yZb5xN2Lg"}',
    "/controller": '{"version":2,"brokerid":1,"timestamp":"1718000000123","kraftControllerEpoch":-1}',
    "/controller_epoch": ("57", 57),
    **{f"/brokers/ids/{i}": (BROKER, 1) for i in (1, 2, 3, 4)},
    "/brokers/topics/orders": ORDERS,
    "/brokers/topics/orders/partitions/0/state": (STATE, 31),
    "/config/topics/orders": '{"version":1,"config":{"retention.ms":"86400000"}}',
    "/admin/delete_topics": None,
    "/latest_producer_id_block": '{"version":1,"broker":2,"block_start":"5000","block_end":"5999"}',
}
"""A small cluster without any trouble but a running reassignment."""


def healthy_and(more: Content, *without: str) -> dict[str, Znode]:
    """The healthy tree with some znodes set, and some taken away with all below them."""
    gone = tuple(f"{path}/" for path in without)
    kept = {
        path: data
        for path, data in HEALTHY.items()
        if path not in without and not (gone and path.startswith(gone))
    }
    return made({**kept, **more})
