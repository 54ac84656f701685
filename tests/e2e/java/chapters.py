"""The walk of an administrator through Kafka's own tools, in chapters that need nothing of each other.

A step is a command line as a script of Kafka's takes it, without where the cluster is. A chapter uses names of its own
and leaves nothing that another one would see. `golden/VERSION/WHERE/CHAPTER.txt` is what the tools print on Kafka's own
servers (record.py).
"""

from collections.abc import Mapping
from typing import Final, Literal

import attrs

Where = Literal["brokers", "controllers"]
"""brokers: `--bootstrap-server` names brokers. controllers: `--bootstrap-controller` names controllers."""

BOTH: Final[tuple[Where, ...]] = ("brokers", "controllers")
BROKERS: Final[tuple[Where, ...]] = ("brokers",)


@attrs.frozen
class Step:
    """One command, and what of its output later ones use.

    command: names in braces stand for the files of the chapter and for what earlier steps kept.
    keep: a name, and the expression whose first group is kept under it.
    since: the first version whose tools know this.
    sorted: whether the order of the lines means nothing.
    until: told again until this is in what it prints: what it asks for comes to brokers a little later.
    """

    command: str
    keep: tuple[str, str] | None = None
    since: str = ""
    sorted: bool = False
    until: str = ""


@attrs.frozen(kw_only=True)
class Chapter:
    """Steps in order. files: names and contents of files that they read."""

    name: str
    where: tuple[Where, ...]
    steps: tuple[Step, ...]
    files: Mapping[str, str] = attrs.field(factory=dict)


def _steps(*commands: str | Step) -> tuple[Step, ...]:
    return tuple(Step(one) if isinstance(one, str) else one for one in commands)


TOPICS: Final = Chapter(
    name="topics",
    where=BROKERS,
    steps=_steps(
        "kafka-topics --create --topic placed --replica-assignment 101:102,102:103 --config retention.ms=1000",
        "kafka-topics --create --topic placed --partitions 1",
        "kafka-topics --create --topic placed --partitions 1 --if-not-exists",
        "kafka-topics --create --topic drawn --partitions 7 --replication-factor 3",
        "kafka-topics --create --topic by.default",
        "kafka-topics --create --topic wide --partitions 1 --replication-factor 4",
        "kafka-topics --create --topic none --partitions 0",
        "kafka-topics --create --topic nowhere --replica-assignment 101:999",
        "kafka-topics --create --topic twice --replica-assignment 101:101",
        "kafka-topics --create --topic no/slash --partitions 1",
        "kafka-topics --create --topic by_default --partitions 1",
        "kafka-topics --create --topic odd --partitions 1 --config no.such.key=1",
        "kafka-topics --create --topic odd --partitions 1 --config retention.ms=soon",
        Step("kafka-topics --list", sorted=True),
        "kafka-topics --list --topic pl.*",
        Step("kafka-topics --describe --topic placed", keep=("id", r"TopicId: (\S+)")),
        "kafka-topics --describe --topic-id {id}",
        "kafka-topics --describe --topic nothere",
        "kafka-topics --describe --topics-with-overrides",
        "kafka-topics --describe --under-replicated-partitions",
        "kafka-topics --describe --unavailable-partitions",
        "kafka-topics --describe --under-min-isr-partitions",
        "kafka-topics --describe --topic placed --at-min-isr-partitions",
        "kafka-topics --alter --topic placed --partitions 3 --replica-assignment 101:102,102:103,103:101",
        "kafka-topics --alter --topic placed --partitions 2",
        "kafka-topics --alter --topic nothere --partitions 2",
        "kafka-topics --describe --topic placed",
        "kafka-topics --delete --topic placed",
        "kafka-topics --delete --topic placed",
        "kafka-topics --delete --topic placed --if-exists",
        "kafka-topics --delete --topic drawn",
        "kafka-topics --delete --topic by.default",
        "kafka-topics --list",
    ),
)

CONFIGS: Final = Chapter(
    name="configs",
    where=BROKERS,
    steps=_steps(
        "kafka-topics --create --topic tuned --replica-assignment 101:102,102:103",
        "kafka-configs --alter --topic tuned --add-config cleanup.policy=[compact,delete],retention.ms=5",
        "kafka-configs --describe --topic tuned",
        "kafka-configs --describe --entity-type topics --entity-name tuned",
        "kafka-configs --alter --topic tuned --add-config retention.ms=soon",
        "kafka-configs --alter --topic tuned --add-config no.such.key=1",
        "kafka-configs --alter --topic tuned --delete-config no.such.key",
        "kafka-configs --alter --topic nothere --add-config retention.ms=5",
        "kafka-configs --describe --topic nothere",
        "kafka-configs --alter --topic tuned --delete-config retention.ms",
        "kafka-configs --describe --entity-type topics",
        "kafka-configs --alter --topic tuned --add-config-file {more}",
        Step("kafka-configs --describe --topic tuned", until="segment.bytes"),
        "kafka-configs --alter --broker 101 --add-config background.threads=12",
        "kafka-configs --alter --broker-defaults --add-config background.threads=14",
        Step("kafka-configs --describe --broker 101", until="DYNAMIC_DEFAULT_BROKER_CONFIG"),
        "kafka-configs --describe --broker-defaults",
        "kafka-configs --describe --entity-type brokers",
        "kafka-configs --alter --broker 101 --add-config background.threads=many",
        "kafka-configs --alter --broker 101 --add-config broker.rack=here",
        "kafka-configs --alter --broker 101 --delete-config background.threads",
        "kafka-configs --alter --broker-defaults --delete-config background.threads",
        "kafka-topics --delete --topic tuned",
    ),
    files={"more": "segment.bytes=1048576\nmin.insync.replicas=2\n"},
)

CONFIGS_AT_CONTROLLERS: Final = Chapter(
    name="configs-at-controllers",
    where=("controllers",),
    steps=_steps(
        "kafka-topics --create --topic tuned --replica-assignment 101:102,102:103",
        "kafka-configs --alter --topic tuned --add-config cleanup.policy=[compact,delete],retention.ms=5",
        "kafka-configs --alter --topic tuned --add-config retention.ms=soon",
        "kafka-configs --alter --topic tuned --add-config no.such.key=1",
        "kafka-configs --alter --topic tuned --delete-config no.such.key",
        "kafka-configs --alter --topic nothere --add-config retention.ms=5",
        "kafka-configs --alter --topic tuned --delete-config retention.ms",
        "kafka-configs --alter --topic tuned --add-config-file {more}",
        "kafka-configs --alter --broker-defaults --add-config background.threads=14",
        "kafka-configs --describe --broker-defaults",
        "kafka-configs --describe --entity-type brokers",
        "kafka-configs --alter --broker-defaults --delete-config background.threads",
        "kafka-topics --delete --topic tuned",
    ),
    files={"more": "segment.bytes=1048576\nmin.insync.replicas=2\n"},
)

EVERY_CONFIG: Final = Chapter(
    name="every-config",
    where=BROKERS,
    steps=_steps(
        "kafka-topics --create --topic plain --replica-assignment 101",
        "kafka-configs --describe --topic plain --all",
        "kafka-configs --describe --broker 101 --all",
        "kafka-topics --delete --topic plain",
    ),
)

USERS: Final = Chapter(
    name="users",
    where=BROKERS,
    steps=_steps(
        "kafka-configs --alter --user alice --add-config "
        "SCRAM-SHA-256=[password=secret],SCRAM-SHA-512=[iterations=8192,password=other]",
        "kafka-configs --alter --user alice --add-config SCRAM-SHA-256=[password=secret]",
        "kafka-configs --alter --user alice --add-config SCRAM-SHA-512=[iterations=8192,password=other]",
        "kafka-configs --describe --user alice",
        "kafka-configs --alter --user alice --add-config consumer_byte_rate=2048.5",
        "kafka-configs --alter --user alice --add-config producer_byte_rate=1024,consumer_byte_rate=2048",
        "kafka-configs --alter --user alice --add-config producer_byte_rate=-1",
        "kafka-configs --alter --user-defaults --client tool --add-config request_percentage=20",
        "kafka-configs --alter --client-defaults --add-config controller_mutation_rate=10",
        "kafka-configs --alter --ip 127.0.0.9 --add-config connection_creation_rate=20",
        "kafka-configs --alter --ip-defaults --add-config connection_creation_rate=100",
        "kafka-configs --alter --ip no.such.host.invalid --add-config connection_creation_rate=20",
        "kafka-configs --describe --user alice",
        Step("kafka-configs --describe --entity-type users --entity-type clients", sorted=True),
        Step("kafka-configs --describe --entity-type clients", sorted=True),
        Step("kafka-configs --describe --entity-type ips", sorted=True),
        "kafka-configs --alter --user alice --delete-config producer_byte_rate",
        "kafka-configs --alter --user alice --delete-config SCRAM-SHA-512",
        "kafka-configs --describe --user alice",
        "kafka-configs --alter --user alice --delete-config SCRAM-SHA-512",
        "kafka-configs --alter --user bob --delete-config SCRAM-SHA-256",
        "kafka-configs --alter --user alice --delete-config consumer_byte_rate",
        "kafka-configs --alter --user alice --delete-config SCRAM-SHA-256",
        "kafka-configs --alter --user-defaults --client tool --delete-config request_percentage",
        "kafka-configs --alter --client-defaults --delete-config controller_mutation_rate",
        "kafka-configs --alter --ip 127.0.0.9 --delete-config connection_creation_rate",
        "kafka-configs --alter --ip-defaults --delete-config connection_creation_rate",
        "kafka-configs --describe --user alice",
        "kafka-configs --describe --entity-type ips",
    ),
)

CLIENT_METRICS: Final = Chapter(
    name="client-metrics",
    where=BROKERS,
    steps=_steps(
        "kafka-client-metrics --alter --name slow --metrics org.apache.kafka.producer. --interval 30000 "
        "--match client_id=x",
        "kafka-client-metrics --alter --name slow --interval 1",
        "kafka-client-metrics --list",
        "kafka-client-metrics --describe",
        "kafka-client-metrics --describe --name slow",
        Step(
            "kafka-configs --alter --entity-type client-metrics --entity-name slow --add-config interval.ms=60000",
            since="4.0",
        ),
        Step(
            "kafka-configs --alter --entity-type client-metrics --entity-name slow --add-config no.such.key=1",
            since="4.0",
        ),
        Step("kafka-configs --describe --entity-type client-metrics --entity-name slow", since="4.0"),
        Step("kafka-configs --describe --entity-type client-metrics", since="4.0"),
        "kafka-client-metrics --delete --name slow",
        "kafka-client-metrics --list",
        "kafka-client-metrics --describe --name slow",
    ),
)

GROUPS: Final = Chapter(
    name="groups",
    where=BROKERS,
    steps=_steps(
        Step(
            "kafka-configs --alter --group readers --add-config consumer.session.timeout.ms=50000",
            since="4.0",
        ),
        Step("kafka-configs --alter --group readers --add-config consumer.session.timeout.ms=1", since="4.0"),
        Step("kafka-configs --alter --group readers --add-config no.such.key=1", since="4.0"),
        Step("kafka-configs --describe --group readers", since="4.0"),
        Step("kafka-configs --describe --entity-type groups", since="4.0"),
        Step(
            "kafka-configs --alter --group readers --delete-config consumer.session.timeout.ms", since="4.0"
        ),
        Step("kafka-configs --describe --group readers", since="4.0"),
    ),
)

ACLS: Final = Chapter(
    name="acls",
    where=BOTH,
    steps=_steps(
        Step(
            "kafka-acls --add --allow-principal User:alice --operation Read --operation Describe --topic guarded",
            sorted=True,
        ),
        Step(
            "kafka-acls --add --deny-principal User:mallory --deny-host 127.0.0.9 --operation All --topic guarded",
            sorted=True,
        ),
        Step(
            "kafka-acls --add --allow-principal User:alice --producer --topic logs- --resource-pattern-type prefixed",
            sorted=True,
        ),
        Step(
            "kafka-acls --add --allow-principal User:bob --consumer --topic guarded --group readers",
            sorted=True,
        ),
        Step("kafka-acls --add --allow-principal User:bob --operation Alter --cluster", sorted=True),
        Step(
            "kafka-acls --add --allow-principal User:bob --operation CreateTokens --user-principal User:alice",
            sorted=True,
        ),
        Step(
            "kafka-acls --add --allow-principal User:bob --operation Describe --delegation-token *",
            sorted=True,
        ),
        Step(
            "kafka-acls --add --allow-principal User:alice --transactional-id tx --operation Write",
            sorted=True,
        ),
        Step("kafka-acls --list", sorted=True),
        Step("kafka-acls --list --topic guarded", sorted=True),
        Step("kafka-acls --list --topic logs-1 --resource-pattern-type match", sorted=True),
        Step("kafka-acls --list --principal User:bob", sorted=True),
        "kafka-acls --list --topic nothere",
        "kafka-acls --remove --force --allow-principal User:alice --operation Read --topic guarded",
        Step("kafka-acls --list --topic guarded", sorted=True),
        "kafka-acls --remove --force --topic guarded",
        "kafka-acls --remove --force --topic logs- --resource-pattern-type prefixed",
        "kafka-acls --remove --force --group readers",
        "kafka-acls --remove --force --cluster",
        "kafka-acls --remove --force --user-principal User:alice",
        "kafka-acls --remove --force --delegation-token *",
        "kafka-acls --remove --force --transactional-id tx",
        "kafka-acls --list",
    ),
)

REASSIGNMENTS: Final = Chapter(
    name="reassignments",
    where=BROKERS,
    steps=_steps(
        "kafka-topics --create --topic moved --replica-assignment 101:102,102:101",
        "kafka-reassign-partitions --list",
        "kafka-reassign-partitions --execute --reassignment-json-file {nowhere}",
        "kafka-reassign-partitions --execute --reassignment-json-file {unknown}",
        "kafka-reassign-partitions --execute --reassignment-json-file {swap}",
        "kafka-reassign-partitions --verify --reassignment-json-file {swap}",
        Step("kafka-topics --describe --topic moved", until="Replicas: 102,101"),
        "kafka-reassign-partitions --cancel --reassignment-json-file {swap}",
        Step(
            "kafka-reassign-partitions --generate --topics-to-move-json-file {all} --broker-list 101,102",
            sorted=True,
        ),
        "kafka-reassign-partitions --list",
        "kafka-topics --delete --topic moved",
    ),
    files={
        "swap": '{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[102,101]}]}',
        "all": '{"version":1,"topics":[{"topic":"moved"}]}',
        "nowhere": '{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[102,999]}]}',
        "unknown": '{"version":1,"partitions":[{"topic":"nothere","partition":0,"replicas":[102,101]}]}',
    },
)

CONTROLLERS_ALONE: Final = Chapter(
    name="controllers-alone",
    where=("controllers",),
    steps=_steps(
        "kafka-topics --create --topic moved --replica-assignment 101:102,102:101",
        Step("kafka-reassign-partitions --list", since="4.0"),
        Step(
            "kafka-reassign-partitions --cancel --preserve-throttles --reassignment-json-file {swap}",
            since="4.0",
        ),
        "kafka-topics --delete --topic moved",
        Step("kafka-configs --alter --broker 1 --add-config background.threads=12", since="4.0"),
        Step("kafka-configs --describe --broker 1", since="4.0"),
        Step("kafka-configs --alter --broker 1 --delete-config background.threads", since="4.0"),
    ),
    files={"swap": '{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[102,101]}]}'},
)
"""What only controllers are asked, and what they are not asked."""

ELECTIONS: Final = Chapter(
    name="elections",
    where=BROKERS,
    steps=_steps(
        "kafka-topics --create --topic led --replica-assignment 101:102,102:103",
        "kafka-leader-election --election-type preferred --topic led --partition 0",
        "kafka-leader-election --election-type unclean --topic led --partition 1",
        "kafka-leader-election --election-type preferred --topic led --partition 7",
        "kafka-leader-election --election-type preferred --topic nothere --partition 0",
        "kafka-leader-election --election-type preferred --path-to-json-file {led}",
        "kafka-leader-election --election-type preferred --all-topic-partitions",
        "kafka-topics --delete --topic led",
    ),
    files={"led": '{"partitions":[{"topic":"led","partition":0},{"topic":"led","partition":1}]}'},
)

QUORUM: Final = Chapter(
    name="quorum",
    where=BOTH,
    steps=_steps(
        "kafka-metadata-quorum describe --status",
        "kafka-metadata-quorum describe --replication",
        "kafka-metadata-quorum describe --replication --human-readable",
        "kafka-metadata-quorum remove-controller --controller-id 9 --controller-directory-id AAAAAAAAAAAAAAAAAAAACQ",
    ),
)

CLUSTER: Final = Chapter(
    name="cluster",
    where=BOTH,
    steps=_steps(
        "kafka-cluster cluster-id",
        Step("kafka-cluster list-endpoints", since="4.0"),
        Step("kafka-cluster list-endpoints --include-fenced-brokers", since="4.0"),
        "kafka-cluster unregister --id 999",
        "kafka-features describe",
    ),
)

FEATURES: Final = Chapter(
    name="features",
    where=BOTH,
    steps=_steps(
        "kafka-features upgrade --feature metadata.version=999",
        "kafka-features upgrade --feature no.such.feature=1",
        "kafka-features downgrade --unsafe --feature metadata.version=1",
        "kafka-features disable --feature metadata.version",
        "kafka-features upgrade --feature kraft.version=1",
        Step("kafka-features upgrade --dry-run --feature metadata.version=22", since="4.0"),
        Step("kafka-features upgrade --feature metadata.version=22", since="4.0"),
        Step("kafka-features upgrade --feature metadata.version=22", since="4.0"),
        Step("kafka-features describe", since="4.0"),
        Step("kafka-features downgrade --feature metadata.version=21", since="4.0"),
        Step("kafka-features describe", since="4.0"),
    ),
)

TOKENS: Final = Chapter(
    name="tokens",
    where=BROKERS,
    steps=_steps(
        Step(
            "kafka-delegation-tokens --create --max-life-time-period -1 --renewer-principal User:alice",
            keep=("hmac", r"^\S+\s+(\S{50,})\s"),
        ),
        Step("kafka-delegation-tokens --describe", until="tokens : 1"),
        "kafka-delegation-tokens --describe --owner-principal User:nobody",
        "kafka-delegation-tokens --renew --renew-time-period -1 --hmac {hmac}",
        "kafka-delegation-tokens --expire --expiry-time-period -1 --hmac {hmac}",
        Step("kafka-delegation-tokens --describe", until="tokens : 0"),
        "kafka-delegation-tokens --renew --renew-time-period -1 --hmac {hmac}",
    ),
)

API_VERSIONS: Final = Chapter(name="api-versions", where=BROKERS, steps=_steps("kafka-broker-api-versions"))

CHAPTERS: Final = (
    TOPICS,
    CONFIGS,
    CONFIGS_AT_CONTROLLERS,
    EVERY_CONFIG,
    USERS,
    CLIENT_METRICS,
    GROUPS,
    ACLS,
    REASSIGNMENTS,
    CONTROLLERS_ALONE,
    ELECTIONS,
    QUORUM,
    CLUSTER,
    TOKENS,
    API_VERSIONS,
    FEATURES,
)
"""In the order in which they are recorded: the last one changes what others would see."""
