"""The configuration of a broker: what every node reads, and its life in the cluster.

A broker of ours stores metadata only, so Kafka's keys for topic data are ignored with a warning.
"""

from typing import ClassVar

import attrs

from quorate.metadata.config_keys import ConfigType
from quorate.metadata.node_config import NodeConfig
from quorate.metadata.settings import Reader, at_least, own_setting, setting


@attrs.frozen(kw_only=True)
class BrokerConfig(NodeConfig):
    """Kafka's keys keep Kafka's meaning and defaults."""

    ROLE: ClassVar[str] = "broker"

    rack: str | None = setting("broker.rack")
    heartbeat_interval_ms: int = setting("broker.heartbeat.interval.ms", allowed=at_least(1), unit="ms")
    session_timeout_ms: int = setting("broker.session.timeout.ms", allowed=at_least(1), unit="ms")
    initial_registration_timeout_ms: int = setting(
        "initial.broker.registration.timeout.ms", allowed=at_least(1), unit="ms"
    )
    controlled_shutdown_enable: bool = setting("controlled.shutdown.enable")
    auto_create_topics_enable: bool = setting("auto.create.topics.enable")

    controlled_shutdown_grace_ms: int = own_setting(
        "controlled.shutdown.grace.ms",
        ConfigType.INT,
        "30000",
        "How long a broker waits for the controller's leave to shut down before it goes anyway.",
        allowed=at_least(1),
        unit="ms",
    )

    @classmethod
    def check(cls, reader: Reader) -> None:
        beat = reader.values.get("broker.heartbeat.interval.ms")
        session = reader.values.get("broker.session.timeout.ms")
        if beat is not None and session is not None and beat * 2 > session:
            reader.warn(
                "broker.heartbeat.interval.ms",
                f"at {beat} ms, two heartbeats do not fit into broker.session.timeout.ms ({session} ms, which "
                "counts at the controllers): one lost heartbeat fences this broker",
            )
