"""What a configuration file in ZooKeeper mode must say, whoever reads it: a broker's part or a controller's (pure).

Such a node has no process.roles, no metadata log and, unless it takes part in a migration, no controllers. Every one
of them is a broker, and each may become the controller.
"""

from collections.abc import Mapping
from typing import Any, Final

from quorate.metadata.addresses import SecurityProtocol
from quorate.metadata.config_keys import ConfigType
from quorate.metadata.features import METADATA_VERSIONS, parse_metadata_version
from quorate.metadata.node_config import check_listeners, process_roles
from quorate.metadata.settings import RawSettings, Reader, plugin_setting

CONNECT: Final = "zookeeper.connect"
MIGRATION: Final = "zookeeper.metadata.migration.enable"
PROTOCOL: Final = "inter.broker.protocol.version"
_LISTENER: Final = "inter.broker.listener.name"
_SECURITY: Final = "security.inter.broker.protocol"
_SERVERS: Final = "controller.quorum.bootstrap.servers"
_NAMES: Final = "controller.listener.names"
_LAST_RELEASE: Final = "3.9"
"""Of Kafka, with a ZooKeeper mode."""


def is_zookeeper_mode(raw: RawSettings) -> bool:
    """Whether a file describes a broker in ZooKeeper mode: it names ZooKeeper and no role (Kafka's rule)."""
    return CONNECT in raw.texts and not process_roles(raw)


def metadata_version_of(protocol: str) -> int:
    """The metadata.version level whose part inter.broker.protocol.version plays in ZooKeeper mode.

    Raises:
        ValueError: not a level of the last release that has such a mode.
    """
    level = parse_metadata_version(protocol.strip())
    if not METADATA_VERSIONS[level].name.startswith(f"{_LAST_RELEASE}-"):
        raise ValueError(
            f"ZooKeeper mode is that of Kafka {_LAST_RELEASE} here. Leave the key out, or say {_LAST_RELEASE}, once "
            "every broker is of this release"
        )
    return level


def protocol_setting() -> Any:
    """A field for the metadata.version level."""
    return plugin_setting(
        PROTOCOL,
        ConfigType.STRING,
        _LAST_RELEASE,
        "Plays the part of metadata.version; what all brokers of the cluster speak.",
        convert=metadata_version_of,
    )


def controller_names_setting() -> Any:
    """A field for the controllers' listeners; empty, unless the node migrates."""
    return plugin_setting(
        _NAMES,
        ConfigType.LIST,
        "",
        "The listeners of the controllers that take over from ZooKeeper; only in a migration.",
        convert=lambda names: tuple(name.upper() for name in names),
    )


def split_connect(text: str) -> tuple[str, str]:
    """(hosts, chroot): what stands before the first slash, and from it on; the chroot "" where there is none.

    Raises:
        ValueError: no host, or a chroot that is no path.
    """
    hosts, slash, path = text.strip().partition("/")
    if not hosts.strip(" ,"):
        raise ValueError(
            "List host:port of the ZooKeeper servers, such as localhost:2181 or a:2181,b:2181/kafka"
        )
    chroot = (slash + path).rstrip("/")
    if "//" in chroot or "," in chroot:
        raise ValueError(
            f"{slash + path} is no path; it stands once, behind the last host: a:2181,b:2181/kafka"
        )
    return hosts, chroot


def check_zookeeper_place(reader: Reader, host_name: str | None) -> None:
    """In the place of role, quorum and directory of other nodes."""
    broker_id, node_id = reader.raw.texts.get("broker.id"), reader.raw.texts.get("node.id")
    if broker_id and node_id and broker_id.value.strip() != node_id.value.strip():
        reader.problem(
            "broker.id", f"It must be the same as node.id, which is {node_id.value}; leave one of them out."
        )
    if node_id is not None and node_id.value.strip().startswith("-"):
        reader.problem("broker.id", "Ids are not given by ZooKeeper here. Name one, from 0 on.")
    migrates = reader.values.get(MIGRATION) is True or _says_true(reader.raw, MIGRATION)
    if migrates:
        _check_migration(reader)
    else:
        for key in (_SERVERS, "controller.quorum.voters", _NAMES):
            text = reader.raw.texts.get(key)
            if text is not None and text.value.strip():
                reader.problem(
                    key,
                    f"A broker in ZooKeeper mode knows no controllers unless it migrates. Remove this key, or add "
                    f"{MIGRATION} = true.",
                )
    check_listeners(reader, "broker", host_name)
    _check_inter_broker_listener(reader)


def _says_true(raw: RawSettings, key: str) -> bool:
    text = raw.texts.get(key)
    return text is not None and text.value.strip().lower() == "true"


def _check_migration(reader: Reader) -> None:
    if not reader.values.get(_SERVERS):
        reader.problem(
            _SERVERS,
            "It is missing. A broker that migrates names host:port of the controllers that take over.",
        )
    if not reader.values.get(_NAMES):
        reader.problem(
            _NAMES,
            "It is missing. A broker that migrates names the controllers' listener, such as CONTROLLER.",
        )
    if reader.values.get("metadata.log.dir") is None:
        reader.problem(
            "metadata.log.dir",
            "It is missing. A broker that migrates registers with the directory that it will use in KRaft mode; an "
            "empty one is made ready at the first start.",
        )


def _check_inter_broker_listener(reader: Reader) -> None:
    """Settles which listener the other brokers use; in Kafka it must be named unless it is called like its protocol."""
    listeners = reader.values.get("listeners")
    if listeners is None or "listener.security.protocol.map" not in reader.values:
        return
    names = [one.name for one in listeners]
    if reader.given(_LISTENER) and reader.given(_SECURITY):
        reader.problem(_SECURITY, f"Only one of this key and {_LISTENER} may be set.")
        return
    wanted = reader.values.get(_LISTENER) or reader.values.get(_SECURITY)
    if wanted in names:
        reader.values[_LISTENER] = wanted
    elif len(names) == 1 and not reader.given(_LISTENER) and not reader.given(_SECURITY):
        reader.values[_LISTENER] = names[0]
    else:
        reader.problem(
            _LISTENER,
            f"The brokers talk to each other on the listener {wanted}, and there is none of that name "
            f"({', '.join(names)}). Name one of them here.",
        )


def inter_broker_protocol(values: Mapping[str, Any]) -> tuple[str, SecurityProtocol] | None:
    """(listener, its protocol) of the way between brokers; None: it was not settled."""
    name = values.get(_LISTENER)
    protocol = (values.get("listener.security.protocol.map") or {}).get(name)
    return None if name is None or protocol is None else (name, protocol)
