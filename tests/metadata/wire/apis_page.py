"""docs/apis.md, from the request table and what servers declare: `python -m tests.metadata.wire.apis_page --rewrite`.

What is written by hand here are the rights that are asked for thing by thing, and why an API is not there; a test
demands that both say neither more nor less than the code leaves open.
"""

import pathlib
import sys
from collections.abc import Mapping
from typing import Final

from quorate.metadata.security.sasl_server import SASL_KEYS
from quorate.metadata.views import SAME_EVERYWHERE
from quorate.metadata.wire.api_names import API_NAMES, OWN_NAMES
from quorate.metadata.wire.cluster import ApiVersionsRequest
from quorate.metadata.wire.table import APIS, Access, Api
from tests.broker.test_access import OneBroker
from tests.controller.test_server import Behind, serving

PAGE: Final = pathlib.Path(__file__).parents[3] / "docs" / "apis.md"

BY_BROKERS: Final = frozenset({*OneBroker().server.serves, ApiVersionsRequest.api_key})
BY_CONTROLLERS: Final = frozenset({*serving(Behind()).serves, ApiVersionsRequest.api_key})

_HEAD: Final = """# Kafka's APIs

Every API key of Kafka 4.1: the versions that are offered, where they are answered, what a caller needs where an
authorizer is configured, and why one is missing. But for the rights ApiVersions tells a client the same of the node
that it asks.

A broker answers reads from its own image. What it forwards goes in an Envelope to the active controller, which decides
with the rights of the client that wrote it, not of the broker; of a forwarded API a broker offers what the active
controller speaks too.

Super users need nothing. Who lacks a right is answered CLUSTER_AUTHORIZATION_FAILED, or the code of the topic or group;
topics without DESCRIBE are left out of lists. READ, WRITE, DELETE and ALTER allow DESCRIBE; ALTER_CONFIGS allows
DESCRIBE_CONFIGS.

Of what came after 4.1, UnregisterController (94, Kafka 4.4) is not offered: it writes a record of a metadata.version
that is not offered here, and below that Kafka's controllers refuse it too. Brokers answer ListGroups with no groups,
since Kafka's kafka-configs asks for them before it describes what is configured of groups.

FindCoordinator, InitProducerId and ListTransactions are offered where brokers with topic data, Kafka's own, are
registered too: their clients ask whichever broker they find first. The answer names a coordinator among those brokers;
an idempotent producer gets its id from the active controller, a transactional one is sent to its coordinator.

Written from the code (`python -m tests.metadata.wire.apis_page --rewrite`); a test compares them.

| key | API | versions | at brokers | at controllers | needs |
|---|---|---|---|---|---|
"""

_OWN_HEAD: Final = """
## Ours

Requests that Kafka does not have. Clients skip the keys that they do not know.

| key | API | versions | where | needs |
|---|---|---|---|---|
"""

OWN: Final[Mapping[str, str]] = {
    "SteerMigration": "answered at the active controller, forwarded by brokers, where controllers have "
    "zookeeper.metadata.migration.enable (`quorate migrate`)"
}

PER_RESOURCE: Final[Mapping[str, str]] = {
    "Metadata": "DESCRIBE on each topic; to have one made on demand CREATE on it or on the cluster",
    "CreateTopics": "CREATE on each topic or on the cluster; DESCRIBE_CONFIGS on it to be told its configs",
    "DeleteTopics": "DELETE on each topic or on the cluster; of a name DESCRIBE comes first",
    "DescribeConfigs": "DESCRIBE_CONFIGS on each topic or group; on the cluster for brokers and client metrics",
    "AlterConfigs": "ALTER_CONFIGS on each topic or group; on the cluster for brokers and client metrics",
    "IncrementalAlterConfigs": "ALTER_CONFIGS on each topic or group; on the cluster for brokers and client metrics",
    "CreatePartitions": "ALTER on each topic",
    "CreateDelegationToken": "a login that is not by token; CREATE_TOKENS on the user, if it is for somebody else",
    "DescribeDelegationToken": "a login that is not by token; DESCRIBE on tokens of others, or DESCRIBE_TOKENS on "
    "their owners",
    "DescribeCluster": "nothing at brokers, ALTER on the cluster at controllers; to be told of rights DESCRIBE on it",
    "DescribeTopicPartitions": "DESCRIBE on each topic",
    "FindCoordinator": "DESCRIBE on each group or transactional id; CLUSTER_ACTION on the cluster for shared "
    "partitions",
    "InitProducerId": "IDEMPOTENT_WRITE on the cluster, or WRITE on any topic",
}

_OF_CALLERS: Final = dict.fromkeys(
    ("RenewDelegationToken", "ExpireDelegationToken"),
    "to be the token's owner or one of its renewers, by a login that is not by token",
)
_NO_DATA: Final = "no: brokers of this program store no topic data; Kafka's own brokers do"
_NO_GROUPS: Final = "no: groups are the business of brokers with topic data"
_NO_TRANSACTIONS: Final = "no: transactions are the business of brokers with topic data"
_GONE: Final = "no: Kafka 4.0 has given it up"
_NOT_YET: Final = "not yet"

_AT_LOGIN: Final = "at login"

MISSING: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "Produce",
            "ListOffsets",
            "DeleteRecords",
            "OffsetForLeaderEpoch",
            "AlterReplicaLogDirs",
            "DescribeProducers",
        ),
        _NO_DATA,
    ),
    **dict.fromkeys(("LeaderAndIsr", "StopReplica", "UpdateMetadata", "ControlledShutdown"), _GONE),
    **dict.fromkeys(
        (
            "OffsetCommit",
            "OffsetFetch",
            "JoinGroup",
            "Heartbeat",
            "LeaveGroup",
            "SyncGroup",
            "DescribeGroups",
            "DeleteGroups",
            "OffsetDelete",
            "ConsumerGroupHeartbeat",
            "ConsumerGroupDescribe",
            "ShareGroupHeartbeat",
            "ShareGroupDescribe",
            "ShareFetch",
            "ShareAcknowledge",
            "InitializeShareGroupState",
            "ReadShareGroupState",
            "WriteShareGroupState",
            "DeleteShareGroupState",
            "ReadShareGroupStateSummary",
            "StreamsGroupHeartbeat",
            "StreamsGroupDescribe",
            "DescribeShareGroupOffsets",
            "AlterShareGroupOffsets",
            "DeleteShareGroupOffsets",
        ),
        _NO_GROUPS,
    ),
    **dict.fromkeys(
        (
            "AddPartitionsToTxn",
            "AddOffsetsToTxn",
            "EndTxn",
            "WriteTxnMarkers",
            "TxnOffsetCommit",
            "DescribeTransactions",
        ),
        _NO_TRANSACTIONS,
    ),
    **dict.fromkeys(
        ("GetTelemetrySubscriptions", "PushTelemetry"),
        "no: metrics of clients are collected by brokers with topic data; their configs are kept here",
    ),
}


def is_offered(api: Api) -> bool:
    """A broker declares all that may be forwarded, and hides what no controller takes."""
    if api.key in SASL_KEYS:
        return True
    return api.key in BY_CONTROLLERS or (api.key in BY_BROKERS and not api.forwardable)


def page() -> str:
    kafkas = "".join(_row(key, API_NAMES[key]) for key in sorted(API_NAMES))
    return _HEAD + kafkas + _OWN_HEAD + "".join(_own_row(APIS[key]) for key in sorted(OWN_NAMES))


def _own_row(api: Api) -> str:
    versions = f"{api.first}" if api.first == api.last else f"{api.first}–{api.last}"
    return f"| {api.key} | {api.name} | {versions} | {OWN[api.name]} | {_needs(api)} |\n"


def _row(key: int, name: str) -> str:
    api = APIS.get(key)
    if api is None or not is_offered(api):
        return f"| {key} | {name} | | | | {MISSING[name]} |\n"
    versions = f"{api.first}" if api.first == api.last else f"{api.first}–{api.last}"
    return f"| {key} | {name} | {versions} | {_at_brokers(api)} | {_at_controllers(api)} | {_needs(api)} |\n"


def _at_brokers(api: Api) -> str:
    if api.key in SASL_KEYS:
        return _AT_LOGIN
    if api.key not in BY_BROKERS:
        return ""
    return "forwarded" if api.forwardable and api.request not in SAME_EVERYWHERE else "answered"


def _at_controllers(api: Api) -> str:
    if api.key in SASL_KEYS:
        return _AT_LOGIN
    if api.key not in BY_CONTROLLERS:
        return ""
    return "answered"


def _needs(api: Api) -> str:
    match api.access:
        case Access.NOTHING:
            return _OF_CALLERS.get(api.name, "nothing")
        case Access.PER_RESOURCE:
            return PER_RESOURCE[api.name]
        case _:
            return f"{api.access.name} on the cluster"


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    PAGE.write_text(page())
