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


def _of_4(name: str, highest: int) -> str:
    """A feature that Kafka 4.x brought, as tools of 3.9 print it."""
    parts = (
        "SupportedMinVersion: 0",
        f"SupportedMaxVersion: {highest}",
        "FinalizedVersionLevel: 0",
        "Epoch: <n>",
    )
    return "\\t".join((f"Feature: {name}.version", *parts)) + "\\n"


DIFFERENCES: Final = (
    Difference(
        chapters=("configs",),
        kafka=r"(  retention.ms=5 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=5)\}",
        ours=r"\1, DEFAULT_CONFIG:log.retention.hours=168}\n",
        why="Kafka drops synonyms before the first one with a default; see tests/metadata/config_keys",
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"(Feature: share\.version\sSupportedMinVersion: 0\sSupportedMaxVersion: )2(.*)",
        ours=r"\g<1>1\2\n",
        why="its level 2 came with metadata.version 4.4",
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"(Feature: metadata.version\sSupportedMinVersion: )\S+(\sSupportedMaxVersion: )\S+(\s.*)",
        ours=r"\g<1>3.9-IV0\g<2>4.3-IV0\3\n",
        why="the levels are ours",
        versions=("4.4.0",),
    ),
    Difference(
        chapters=("cluster", "features"),
        kafka=r"(Feature: kraft.version\s.*)\n"
        r"(Feature: metadata.version\sSupportedMinVersion: )\S+(\sSupportedMaxVersion: )\S+(\s.*)",
        ours=_of_4("eligible.leader.replicas", 1)
        + _of_4("group", 1)
        + r"\1\n\g<2>3.9-IV0\g<3>UNKNOWN 30\4\n"
        + _of_4("share", 1)
        + _of_4("streams", 1)
        + _of_4("transaction", 2),
        why="the levels are ours, tools of 3.9 have no name for the last one, and know nothing of the other features",
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
