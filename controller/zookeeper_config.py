"""What a broker in ZooKeeper mode needs from its file in case it becomes the controller.

The same keys as those of a controller of a quorum; what such a one needs for its quorum is not asked for.
"""
# ruff: noqa: RUF009  (setting() is attrs.field())

import pathlib
from typing import Any

import attrs

from quorate.controller.config import ControllerConfig
from quorate.metadata import addresses
from quorate.metadata.addresses import Address
from quorate.metadata.security.settings import BETWEEN_BROKERS, ClientSettings
from quorate.metadata.settings import Reader, setting
from quorate.metadata.zookeeper import settings as zookeeper


@attrs.frozen(kw_only=True)
class ZooKeeperControllerConfig(ControllerConfig):
    """Read beside `broker.zookeeper_config`, which judges where the node belongs and how it is secured."""

    controller_listener_names: tuple[str, ...] = zookeeper.controller_names_setting()
    bootstrap_servers: tuple[Address, ...] = setting(
        "controller.quorum.bootstrap.servers", default="", convert=addresses.parse_servers
    )
    metadata_log_dir: pathlib.Path | None = setting(  # type: ignore[assignment]
        "metadata.log.dir", convert=lambda text: pathlib.Path(text) if text else None
    )
    auto_create_topics_enable: bool = setting("auto.create.topics.enable")
    metadata_version: int = zookeeper.protocol_setting()
    inter_broker_listener: str = setting("inter.broker.listener.name")
    inter_broker_protocol: str = setting("security.inter.broker.protocol")

    @classmethod
    def check_place(cls, reader: Reader, host_name: str | None) -> None:
        zookeeper.check_zookeeper_place(reader, host_name)

    @classmethod
    def check_security(cls, reader: Reader) -> dict[str, Any]:
        return {"listener_security": {}, "controller_security": ClientSettings()}

    @classmethod
    def used_keys(cls) -> frozenset[str]:
        return super().used_keys() | BETWEEN_BROKERS
