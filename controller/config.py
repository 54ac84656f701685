"""The configuration of a controller: what every node reads, and what only the active controller needs.

Sessions, periodic tasks, defaults of new topics, quotas on changes, delegation tokens; limits of our own.
"""

from typing import Any, ClassVar

import attrs

from quorate.metadata.config_keys import ConfigType
from quorate.metadata.node_config import NodeConfig
from quorate.metadata.settings import Reader, at_least, own_setting, plugin_setting, seconds_as_ms, setting
from quorate.metadata.zookeeper.connect_settings import KEYS, SECRET, connect_settings
from quorate.metadata.zookeeper.interface import ConnectSettings

MAX_RECORDS_PER_BATCH = 10_000


@attrs.frozen(kw_only=True)
class ControllerConfig(NodeConfig):
    """Kafka's keys keep Kafka's meaning and defaults."""

    ROLE: ClassVar[str] = "controller"

    auto_join: bool = setting("controller.quorum.auto.join.enable")
    """Whether this controller makes itself a voter, once in the life of its disk."""
    broker_session_timeout_ms: int = setting("broker.session.timeout.ms", allowed=at_least(1), unit="ms")
    max_idle_interval_ms: int = setting("metadata.max.idle.interval.ms", unit="ms")
    """How often the active controller writes a NoOp; 0: never."""
    auto_leader_rebalance_enable: bool = setting("auto.leader.rebalance.enable")
    leader_imbalance_check_interval_ms: int = setting(
        "leader.imbalance.check.interval.seconds", allowed=at_least(1), unit="seconds", convert=seconds_as_ms
    )
    unclean_leader_election_interval_ms: int = setting(
        "unclean.leader.election.interval.ms", allowed=at_least(1), unit="ms"
    )
    delete_topic_enable: bool = setting("delete.topic.enable")
    create_topic_policy: str | None = setting("create.topic.policy.class.name")
    """Where a policy is found: see `controller.policies`."""
    alter_config_policy: str | None = setting("alter.config.policy.class.name")
    remote_log_storage_system_enable: bool = setting("remote.log.storage.system.enable")
    quota_window_num: int = setting("controller.quota.window.num")
    quota_window_size_ms: int = setting(
        "controller.quota.window.size.seconds", unit="seconds", convert=seconds_as_ms
    )
    delegation_token_max_lifetime_ms: int = setting("delegation.token.max.lifetime.ms", unit="ms")
    delegation_token_expiry_time_ms: int = setting("delegation.token.expiry.time.ms", unit="ms")
    delegation_token_expiry_check_interval_ms: int = setting(
        "delegation.token.expiry.check.interval.ms", unit="ms"
    )

    migration_enabled: bool = plugin_setting(
        "zookeeper.metadata.migration.enable",
        ConfigType.BOOLEAN,
        "false",
        "Whether this quorum takes over a cluster from ZooKeeper. Set it before the controllers start for the first "
        "time; nothing is copied before `quorate migrate run`.",
    )
    zookeeper_connect: str = plugin_setting(
        "zookeeper.connect",
        ConfigType.STRING,
        "",
        "The ZooKeeper that the cluster is moved from: HOST:PORT,HOST:PORT/chroot.",
    )
    zookeeper_session_timeout_ms: int = plugin_setting(
        "zookeeper.session.timeout.ms", ConfigType.INT, "18000", "How long ZooKeeper keeps a session alive."
    )
    migration_min_batch_size: int = plugin_setting(
        "zookeeper.metadata.migration.min.batch.size",
        ConfigType.INT,
        "200",
        "How many records are gathered for a batch while copying from ZooKeeper.",
    )
    password_encoder_secret: str | None = plugin_setting(
        "password.encoder.secret",
        ConfigType.PASSWORD,
        "",
        "Decodes the passwords among brokers' dynamic configs in ZooKeeper: the brokers' own.",
        convert=lambda text: text or None,
    )
    password_encoder_old_secret: str | None = plugin_setting(
        "password.encoder.old.secret",
        ConfigType.PASSWORD,
        "",
        "The secret before, while the brokers' passwords are being encoded anew.",
        convert=lambda text: text or None,
    )
    migration_max_deleted_percent: int = own_setting(
        "migration.max.deleted.percent",
        ConfigType.INT,
        "50",
        "Writing to ZooKeeper stops if it would delete more than this share of the topics there at once.",
        allowed=at_least(0, 100),
    )

    max_records_per_operation: int = own_setting(
        "max.records.per.operation",
        ConfigType.INT,
        str(MAX_RECORDS_PER_BATCH),
        "How many changes one request may make. A larger one is refused, to be cut by the client.",
        allowed=at_least(1, MAX_RECORDS_PER_BATCH),
    )
    max_parked_requests: int = own_setting(
        "max.parked.requests",
        ConfigType.INT,
        "10000",
        "How many requests may wait for their commit. Beyond it the controller answers that it is busy.",
        allowed=at_least(1),
    )
    max_queued_requests: int = own_setting(
        "max.queued.requests",
        ConfigType.INT,
        "10000",
        "How many requests may wait for their turn. Beyond it the controller answers that it is busy.",
        allowed=at_least(1),
    )

    zookeeper: ConnectSettings = attrs.field(factory=lambda: ConnectSettings(hosts=""), repr=False)
    """How that ZooKeeper is spoken to: timeouts, TLS, logins."""

    @classmethod
    def check_security(cls, reader: Reader) -> dict[str, Any]:
        ways = super().check_security(reader)
        texts = {key: text.value.strip() for key, text in reader.raw.texts.items()}
        ways["zookeeper"] = connect_settings(
            reader.values.get("zookeeper.connect") or "",
            texts,
            lambda key, why: reader.problem(key, f"{why}.", hide=key in SECRET),
        )
        return ways

    @classmethod
    def used_keys(cls) -> frozenset[str]:
        return super().used_keys() | KEYS

    @classmethod
    def check(cls, reader: Reader) -> None:
        if reader.values.get("zookeeper.metadata.migration.enable") and not reader.values.get(
            "zookeeper.connect"
        ):
            reader.problem(
                "zookeeper.connect",
                "It is missing, and zookeeper.metadata.migration.enable is set. Name the ZooKeeper of the cluster that "
                "is to be moved, as its brokers do.",
            )
        lifetime, expiry = (
            reader.values.get(f"delegation.token.{part}.ms") for part in ("max.lifetime", "expiry.time")
        )
        if lifetime is not None and expiry is not None and expiry > lifetime:
            reader.problem(
                "delegation.token.expiry.time.ms",
                f"It must not exceed delegation.token.max.lifetime.ms, which is {lifetime}.",
            )
