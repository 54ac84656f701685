"""The configuration of a broker in ZooKeeper mode, as Kafka 3.9 has it.

It is told from another broker's by `zookeeper.connect` without `process.roles`. What it needs if it becomes the
controller is read from the same file by `controller.zookeeper_config`.
"""
# ruff: noqa: RUF009  (setting() is attrs.field())

import pathlib
from typing import Any

import attrs

from quorate.broker.config import BrokerConfig
from quorate.metadata import addresses
from quorate.metadata.addresses import Address
from quorate.metadata.config_keys import ConfigType
from quorate.metadata.security.settings import BETWEEN_BROKERS, ClientSettings, Given, broker_client_settings
from quorate.metadata.settings import Reader, plugin_setting, setting
from quorate.metadata.zookeeper import settings as zookeeper
from quorate.metadata.zookeeper.connect_settings import KEYS, SECRET, connect_settings
from quorate.metadata.zookeeper.interface import ConnectSettings


def _connect(text: str) -> str:
    hosts, chroot = zookeeper.split_connect(text)
    return hosts + chroot


def _no_acls(wanted: bool) -> bool:
    if wanted:
        raise ValueError(
            "ACLs on znodes are not written here. Remove this key, and keep others off ZooKeeper by its own means"
        )
    return wanted


@attrs.frozen(kw_only=True)
class ZooKeeperBrokerConfig(BrokerConfig):
    """Kafka's keys keep Kafka's meaning and defaults."""

    controller_listener_names: tuple[str, ...] = zookeeper.controller_names_setting()
    bootstrap_servers: tuple[Address, ...] = setting(
        "controller.quorum.bootstrap.servers", default="", convert=addresses.parse_servers
    )
    """Only in a migration."""
    metadata_log_dir: pathlib.Path | None = setting(  # type: ignore[assignment]
        "metadata.log.dir", convert=lambda text: pathlib.Path(text) if text else None
    )
    """Where this broker keeps who it is, and in KRaft mode its metadata; None: nowhere."""

    zookeeper_connect: str = plugin_setting(
        zookeeper.CONNECT,
        ConfigType.STRING,
        "",
        "The ZooKeeper servers as host:port,host:port, and behind the last one the path below which the cluster lies.",
        convert=_connect,
    )
    zookeeper_set_acl: bool = plugin_setting(
        "zookeeper.set.acl",
        ConfigType.BOOLEAN,
        "false",
        "Whether znodes are made for their maker alone. Only false is possible here.",
        convert=_no_acls,
    )
    migrates: bool = plugin_setting(
        zookeeper.MIGRATION,
        ConfigType.BOOLEAN,
        "false",
        "Whether this broker registers with the controllers that take over from ZooKeeper (KIP-866).",
    )
    metadata_version: int = zookeeper.protocol_setting()
    inter_broker_listener: str = setting("inter.broker.listener.name")
    """The listener on which the other brokers reach this one."""
    inter_broker_protocol: str = setting("security.inter.broker.protocol")

    between_brokers: ClientSettings = attrs.field(factory=ClientSettings, repr=False)
    """How this broker reaches the others."""
    zookeeper: ConnectSettings = attrs.field(factory=lambda: ConnectSettings(hosts=""))
    """How ZooKeeper is reached: addresses and chroot, timeouts, credentials, TLS."""

    @classmethod
    def check_place(cls, reader: Reader, host_name: str | None) -> None:
        zookeeper.check_zookeeper_place(reader, host_name)

    @classmethod
    def check_security(cls, reader: Reader) -> dict[str, Any]:
        ways = super().check_security(reader)
        way = zookeeper.inter_broker_protocol(reader.values)
        if way is not None:
            texts = {key: text.value for key, text in reader.raw.texts.items()}
            given = Given(texts, lambda key, why: reader.problem(key, why, hide="jaas" in key))
            ways["between_brokers"] = broker_client_settings(given, *way)
        hosts = reader.values.get(zookeeper.CONNECT, "")
        texts = {key: text.value.strip() for key, text in reader.raw.texts.items()}
        ways["zookeeper"] = connect_settings(
            hosts, texts, lambda key, why: reader.problem(key, f"{why}.", hide=key in SECRET)
        )
        return ways

    @classmethod
    def used_keys(cls) -> frozenset[str]:
        return super().used_keys() | BETWEEN_BROKERS | KEYS
