"""What Kafka's tools print of Quorate and not of Kafka: each difference once, with its reason."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from tests.e2e.java.artifacts import VERSIONS


@attrs.frozen(kw_only=True)
class Difference:
    """Where Kafka prints lines that match `kafka`, ours are `ours`; nothing: there is no such line.

    versions: whose recordings have such lines.
    """

    chapters: Sequence[str]
    kafka: str
    ours: str = ""
    why: str
    versions: Sequence[str] = VERSIONS


DIFFERENCES: Final = (
    Difference(
        chapters=("configs",),
        kafka=r"(  retention.ms=5 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=5)\}",
        ours=r"\1, DEFAULT_CONFIG:log.retention.hours=168}\n",
        why="Kafka drops synonyms before the first one with a default; see tests/metadata/config_keys",
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"Feature: (group|share|streams|transaction)\.version .*",
        why="what these versions are about is not in this program",
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"(Feature: metadata.version\sSupportedMinVersion: )\S+(\sSupportedMaxVersion: )\S+(\s.*)",
        ours=r"\g<1>3.9-IV0\g<2>4.0-IV3\3\n",
        why="the levels are ours",
        versions=("4.4.0",),
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"(Feature: metadata.version\sSupportedMinVersion: )\S+(\sSupportedMaxVersion: )\S+(\s.*)",
        ours=r"\g<1>3.9-IV0\g<2>UNKNOWN 25\3\n",
        why="the levels are ours, and tools of 3.9 have no name for the last one",
        versions=("3.9.2",),
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"(Feature: kraft\.version\s.*)",
        ours="Feature: eligible.leader.replicas.version\tSupportedMinVersion: 0\tSupportedMaxVersion: 1"
        "\tFinalizedVersionLevel: 0\tEpoch: <n>\n\\1\n",
        why="3.9 knows nothing of eligible leader replicas yet",
        versions=("3.9.2",),
    ),
    Difference(
        chapters=("features",),
        kafka=r"(Could not downgrade metadata\.version to 1\. Invalid )metadata\.version 1\. Unable to set .*",
        ours=r"\1update version 1 for feature metadata.version. Local controller <id> only supports versions <range>\n",
        why="the lowest level is the same for all of our nodes, and is asked for first, as in 4.x",
        versions=("3.9.2",),
    ),
)

ELSEWHERE: Final[Mapping[tuple[str, str], str]] = {
    ("tokens", "plaintext"): "the tool itself demands a login",
    ("client-metrics", "3.9.2"): "3.9 describes what is set; 4.x, as we do, also what is not",
}
"""(chapter, version or mode) that are not compared, and why: another cell has the chapter."""

MORE_TRUTHFUL: Final = frozenset({"flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"})
"""Kafka drops synonyms before the first one with a default; see tests/metadata/config_keys."""

OURS: Final = frozenset({"allow.everyone.if.no.acl.found"})
"""A setting of Kafka's authorizer, not of its brokers, which therefore list it only where it is set."""

APIS_TO_COME: Final = frozenset(
    {
        "UnregisterController",
    }
)
"""Those about metadata that are not offered; whoever offers one takes it from here. The last one came with 4.4."""

ABOUT_MESSAGES: Final = re.compile(
    "Produce|Fetch|Offset|Group|Transaction|Txn|Share|Records|LogDirs|Heartbeat|Coordinator"
)
"""APIs about messages, groups and transactions; brokers here hold metadata only."""


def expected(chapter: str, version: str, golden: str) -> str:
    """What Kafka's tools print of Quorate, from what they print of Kafka."""
    for one in DIFFERENCES:
        if chapter in one.chapters and version in one.versions:
            golden = re.sub(f"(?m)^(?:{one.kafka})\n", one.ours, golden)
    return golden
