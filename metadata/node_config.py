"""The configuration that controllers and brokers share, and how either is made from a file and environment.

`NodeConfig` declares the common keys; `controller.config` and `broker.config` add their own. Loading judges each
key alone, then what keys demand of each other, then the keys nobody reads, and raises all problems at once:

- Kafka's keys that this program has no use for are ignored, with a warning (their values are not judged);
- Kafka's keys that would change what an operator relies on, were they ignored, are refused, with the way out;
- keys that neither knows are refused, with the nearest known one.

`static` keeps the texts of the keys that have an effect: the level above the defaults in effective configs, and
what DescribeConfigs shows as static (ours with `own_keys()`).
"""
# ruff: noqa: RUF009  (setting() is attrs.field())

import functools
import pathlib
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

import attrs

from quorate.metadata import addresses, config_providers, settings
from quorate.metadata.addresses import Address, SecurityProtocol
from quorate.metadata.checks import RequestRejected
from quorate.metadata.config_keys import (
    BROKER_KEYS,
    GROUP_KEYS,
    TOPIC_KEYS,
    ConfigKey,
    ConfigType,
    NodeConfigs,
    ResourceType,
    is_sensitive,
    topic_defaults,
    validate_topic_configs,
)
from quorate.metadata.config_keys.keys import base_name
from quorate.metadata.config_keys.validators import OneOf
from quorate.metadata.ids import Endpoint, NodeId
from quorate.metadata.security import settings as security
from quorate.metadata.security.authorizer import Authorizer, parse_authorizer_class, parse_super_users
from quorate.metadata.security.settings import USED as SECURITY_KEYS
from quorate.metadata.security.settings import (
    ClientSettings,
    Given,
    ListenerSettings,
    controller_client_settings,
    listener_prefix,
    listener_settings,
    uses,
)
from quorate.metadata.settings import Reader, SettingsWarning, at_least, own_setting, plugin_setting, setting

_MEBIBYTE: Final = 1024 * 1024
_MAX_BATCH_BYTES: Final = 8 * _MEBIBYTE
_NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def _directory(text: str) -> pathlib.Path:
    if not text:
        raise ValueError("It is empty; name a directory")
    return pathlib.Path(text)


@attrs.frozen(kw_only=True)
class NodeConfig:
    """What a node of either role reads from its file. Times in milliseconds, sizes in bytes."""

    ROLE: ClassVar[str]
    """What process.roles must say."""

    node_id: NodeId = setting("node.id", convert=NodeId)
    listeners: tuple[Endpoint, ...] = setting("listeners", convert=addresses.parse_listeners)
    """Where this node listens. An empty host is every interface; port 0 is any free port."""
    advertised_listeners: tuple[Endpoint, ...] = setting(
        "advertised.listeners", convert=addresses.parse_advertised_listeners
    )
    """How others reach each of them; port 0 stands for the port that the listener got."""
    security_protocols: Mapping[str, SecurityProtocol] = setting(
        "listener.security.protocol.map", convert=addresses.parse_protocol_map
    )
    controller_listener_names: tuple[str, ...] = setting(
        "controller.listener.names", convert=lambda names: tuple(name.upper() for name in names)
    )
    bootstrap_servers: tuple[Address, ...] = setting(
        "controller.quorum.bootstrap.servers", required=True, convert=addresses.parse_servers
    )
    metadata_log_dir: pathlib.Path = setting("metadata.log.dir", convert=_directory)

    election_timeout_ms: int = setting(
        "controller.quorum.election.timeout.ms", allowed=at_least(1), unit="ms"
    )
    fetch_timeout_ms: int = setting("controller.quorum.fetch.timeout.ms", allowed=at_least(1), unit="ms")
    election_backoff_max_ms: int = setting(
        "controller.quorum.election.backoff.max.ms", allowed=at_least(1), unit="ms"
    )
    request_timeout_ms: int = setting("controller.quorum.request.timeout.ms", allowed=at_least(1), unit="ms")
    retry_backoff_ms: int = setting("controller.quorum.retry.backoff.ms", unit="ms")
    fetch_max_bytes: int = setting("controller.quorum.fetch.max.bytes", unit="bytes")
    fetch_snapshot_max_bytes: int = setting("controller.quorum.fetch.snapshot.max.bytes", unit="bytes")

    log_segment_bytes: int = setting(
        "metadata.log.segment.bytes", allowed=at_least(_MAX_BATCH_BYTES), unit="bytes"
    )
    log_segment_ms: int = setting("metadata.log.segment.ms", allowed=at_least(1), unit="ms")
    snapshot_after_bytes: int = setting("metadata.log.max.record.bytes.between.snapshots", unit="bytes")
    snapshot_interval_ms: int = setting("metadata.log.max.snapshot.interval.ms", unit="ms")
    """0: no snapshot for its age alone."""
    retention_bytes: int = setting("metadata.max.retention.bytes", allowed=at_least(-1), unit="bytes")
    """Of log and snapshots together; -1: no limit."""
    retention_ms: int = setting("metadata.max.retention.ms", allowed=at_least(-1), unit="ms")
    """Of log and snapshots; -1: no limit."""

    connections_max_idle_ms: int = setting("connections.max.idle.ms", unit="ms")
    """Negative: idle connections are kept."""
    listen_backlog: int = setting("socket.listen.backlog.size")
    num_partitions: int = setting("num.partitions")
    default_replication_factor: int = setting("default.replication.factor", allowed=at_least(1, 32767))

    max_connections: int = own_setting(
        "max.connections",
        ConfigType.INT,
        "2000",
        "How many connections this node accepts at once, all listeners together. Further ones are closed.",
        allowed=at_least(1),
    )
    max_connections_per_ip: int = setting("max.connections.per.ip")
    max_connection_creation_rate: int = setting("max.connection.creation.rate", allowed=at_least(1))
    max_unread_bytes: int = own_setting(
        "max.unread.bytes",
        ConfigType.LONG,
        str(512 * _MEBIBYTE),
        "How many bytes of answers may wait for clients that do not read them. Beyond it the slowest is closed.",
        allowed=at_least(_MEBIBYTE),
        unit="bytes",
    )
    max_in_flight_requests: int = own_setting(
        "max.in.flight.requests.per.connection",
        ConfigType.INT,
        "256",
        "How many requests of one connection may wait for their answers. Then its reading pauses.",
        allowed=at_least(1),
    )
    max_frame_bytes: int = own_setting(
        "max.frame.bytes",
        ConfigType.INT,
        str(8 * _MEBIBYTE),
        "The largest request that is read. A connection that announces a larger one is closed.",
        allowed=at_least(_MEBIBYTE),
        unit="bytes",
    )
    free_space_floor_bytes: int = own_setting(
        "free.space.floor.bytes",
        ConfigType.LONG,
        str(128 * _MEBIBYTE),
        "Below this much free room on the metadata disk a leader refuses writes and hands over.",
        allowed=at_least(0),
        unit="bytes",
    )
    slow_flush_ms: int = own_setting(
        "slow.flush.ms",
        ConfigType.INT,
        "100",
        "A disk whose flushes take longer, by the median of the last 20, is called slow in log and status.",
        allowed=at_least(1),
        unit="ms",
    )
    shutdown_timeout_ms: int = own_setting(
        "shutdown.timeout.ms",
        ConfigType.INT,
        "30000",
        "How long an orderly shutdown may take before the process ends anyway.",
        allowed=at_least(1),
        unit="ms",
    )
    log_format: str = own_setting(
        "log.format",
        ConfigType.STRING,
        "console",
        "How this program writes its own log: for people, or one JSON object a line.",
        allowed=OneOf(("console", "json")),
    )
    log_level: str = own_setting(
        "log.level",
        ConfigType.STRING,
        "info",
        "Which of its log lines this program writes.",
        allowed=OneOf(("debug", "info", "warning", "error")),
    )
    metrics_listener: Address | None = own_setting(
        "metrics.listener",
        ConfigType.STRING,
        "",
        "host:port where metrics are served over HTTP, such as 127.0.0.1:9464. Empty: nowhere.",
        convert=lambda text: addresses.parse_named_bind_address(text) if text else None,
    )

    delegation_token_secret_key: str | None = setting("delegation.token.secret.key", secret=True)
    """What all nodes make the HMACs of delegation tokens with; None: there are no tokens."""

    has_authorizer: bool = setting("authorizer.class.name", convert=parse_authorizer_class)
    super_users: frozenset[str] = plugin_setting(
        "super.users",
        ConfigType.STRING,
        "",
        "Principals that may do everything, such as User:admin;User:broker. The nodes themselves must be among them.",
        convert=parse_super_users,
    )
    allow_everyone_if_no_acl_found: bool = plugin_setting(
        "allow.everyone.if.no.acl.found",
        ConfigType.BOOLEAN,
        "false",
        "Whether a resource that no ACL is about is everybody's.",
    )

    static: Mapping[str, str] = attrs.field(default=_NO_TEXTS, repr=False)
    """Texts as they were given, of the keys that have an effect."""
    listener_security: Mapping[str, ListenerSettings] = attrs.field(factory=dict, repr=False)
    """How each listener lets clients in; one that is missing is in the clear."""
    controller_security: ClientSettings = attrs.field(factory=ClientSettings, repr=False)
    """How this node reaches the controllers."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """From texts by key, for tests and tools.

        Raises:
            InvalidSettings: all that is wrong with them.
        """
        return cls.from_raw(settings.RawSettings.of(values))[0]

    @classmethod
    def load(
        cls, path: pathlib.Path, environ: Mapping[str, str], host_name: str | None = None
    ) -> tuple[Self, tuple[SettingsWarning, ...]]:
        """From a file and the environment. `host_name`: this machine's, for listeners that name no host.

        Raises:
            InvalidSettings: all that is wrong with them.
        """
        raw = settings.overlay(settings.read(path), environ, cls.known_keys())
        raw = config_providers.resolved(raw, environ)
        return cls.from_raw(raw, host_name)

    @classmethod
    def from_raw(
        cls,
        raw: settings.RawSettings,
        host_name: str | None = None,
        *,
        also_used: Collection[str] = (),
    ) -> tuple[Self, tuple[SettingsWarning, ...]]:
        """From texts with their origins. `also_used`: keys that something else reads from the same file.

        Raises:
            InvalidSettings: all that is wrong with them.
        """
        reader = Reader(_with_synonyms(raw))
        for _, declared in settings.settings_of(cls):
            reader.read(declared)
        for key in sorted(_inherited_keys() - reader.values.keys()):
            if reader.given(key):
                reader.read(settings.Setting(key=key))
        _check_inherited(reader)
        cls.check_place(reader, host_name)
        _check_authorizer(reader)
        cls.check(reader)
        ways = cls.check_security(reader)
        used = cls.used_keys().union(also_used)
        for key in raw.texts:
            _check_unused(reader, key, used, cls.ROLE)
        reader.check()
        values = {name: reader.values[declared.key] for name, declared in settings.settings_of(cls)}
        return cls(
            **values,
            static=_static(reader.raw, used),
            **ways,
        ), reader.warnings

    @classmethod
    def check_place(cls, reader: Reader, host_name: str | None) -> None:
        """What ties the node to its cluster: role, quorum, directory, listeners."""
        _check_role(reader, cls.ROLE)
        _check_quorum(reader)
        _check_directory(reader)
        check_listeners(reader, cls.ROLE, host_name)

    @classmethod
    def check(cls, reader: Reader) -> None:
        """What the role demands beyond what every node demands."""

    @classmethod
    def check_security(cls, reader: Reader) -> dict[str, Any]:
        """Fields that say how clients are let in and how this node is let in elsewhere."""
        listener_security, controller_security = _security(reader, cls.ROLE)
        return {"listener_security": listener_security, "controller_security": controller_security}

    @classmethod
    def own_keys(cls) -> Mapping[str, ConfigKey]:
        """The definitions of our own keys, for DescribeConfigs."""
        return {declared.key: declared.own for _, declared in settings.settings_of(cls) if declared.own}

    @classmethod
    def used_keys(cls) -> frozenset[str]:
        """Keys that have an effect on a node of this role."""
        fields = frozenset(declared.key for _, declared in settings.settings_of(cls))
        return fields | _inherited_keys() | _SYNONYMS_OF_FIELDS | SECURITY_KEYS

    @classmethod
    def known_keys(cls) -> frozenset[str]:
        """Keys that may stand in a file, used or not."""
        return cls.used_keys() | BROKER_KEYS.keys() | REMOVED_KEYS | REFUSED_KEYS.keys()

    @property
    def authorizer(self) -> Authorizer | None:
        """Who decides what clients may do; None: they may do everything."""
        if not self.has_authorizer:
            return None
        return Authorizer(super_users=self.super_users, allow_if_no_acl=self.allow_everyone_if_no_acl_found)

    @property
    def bootstrap_endpoints(self) -> tuple[Endpoint, ...]:
        """Where the quorum is found, on the first controller listener."""
        name = self.controller_listener_names[0]
        return tuple(Endpoint(name, server.host, server.port) for server in self.bootstrap_servers)


def process_roles(raw: settings.RawSettings) -> tuple[str, ...]:
    """The roles that a file names, for commands that serve either role; empty: it does not say."""
    text = raw.texts.get("process.roles")
    words = [] if text is None else text.value.split(",")
    return tuple(sorted(word.strip() for word in words if word.strip()))


@functools.cache
def _inherited_keys() -> frozenset[str]:
    """Kafka's keys that topics and groups inherit from a node, and the bounds of groups."""
    tables = (TOPIC_KEYS, GROUP_KEYS)
    inherited = {synonym.name for table in tables for key in table.values() for synonym in key.synonyms}
    bounds = {key for key in BROKER_KEYS if key.startswith("group.") and (".min." in key or ".max." in key)}
    return frozenset(inherited | bounds)


_SYNONYMS_OF_FIELDS: Final = frozenset(
    {"process.roles", "broker.id", "log.dirs", "log.dir", "config.providers"}
)


def _static(raw: settings.RawSettings, used: Iterable[str]) -> Mapping[str, str]:
    return MappingProxyType({key: raw.texts[key].value for key in sorted(used) if key in raw.texts})


# --- what keys demand of each other


def _with_synonyms(raw: settings.RawSettings) -> settings.RawSettings:
    """node.id and broker.id stand for each other, and metadata.log.dir is by default the first of log.dirs."""
    texts = dict(raw.texts)
    for one, other in (("node.id", "broker.id"), ("broker.id", "node.id")):
        if other in texts:
            texts.setdefault(one, texts[other])
    directories = texts.get("log.dirs") or texts.get("log.dir")
    if directories is not None:
        first = settings.Text(directories.value.partition(",")[0].strip(), directories.origin)
        texts.setdefault("metadata.log.dir", first)
    return attrs.evolve(raw, texts=texts)


def _check_role(reader: Reader, role: str) -> None:
    roles = process_roles(reader.raw)
    if not roles:
        reader.problem("process.roles", f"It is missing. Here it must be {role}.")
    elif set(roles) == {"broker", "controller"}:
        reader.problem(
            "process.roles",
            "A node is either a controller or a broker; both in one process is not supported. "
            "Write two files, with different node ids, and start two processes.",
        )
    elif roles != (role,):
        known = roles in (("broker",), ("controller",))
        hint = f" Start this node with `quorate {roles[0]} start`." if known else ""
        reader.problem("process.roles", f"Here it must be {role}.{hint}")
    broker_id, node_id = reader.raw.texts.get("broker.id"), reader.raw.texts.get("node.id")
    if broker_id and node_id and broker_id.value.strip() != node_id.value.strip():
        reader.problem(
            "broker.id", f"It must be the same as node.id, which is {node_id.value}; leave it out."
        )


def _check_inherited(reader: Reader) -> None:
    """What topics inherit must be possible for a topic: else none could be created without configs of its own."""
    static = {key: text.value for key, text in reader.raw.texts.items() if key in reader.values}
    defaults = topic_defaults(NodeConfigs(static=static))
    for name, text in defaults.items():
        try:
            validate_topic_configs({name: text}, defaults=defaults)
        except RequestRejected as refusal:
            given = next(synonym.name for synonym in TOPIC_KEYS[name].synonyms if synonym.name in static)
            reader.problem(given, f"Topics inherit it, and no topic can have it: {refusal.message}.")


def _check_quorum(reader: Reader) -> None:
    voters = reader.raw.texts.get("controller.quorum.voters")
    if voters is not None and voters.value.strip():
        servers = addresses.servers_of_voters(part.strip() for part in voters.value.split(","))
        example = f" = {servers}" if servers else " as host:port,..."
        reader.problem(
            "controller.quorum.voters",
            "Static voters (kraft.version 0) are not supported: the voters are kept in the metadata log. "
            "Remove this key, name the first voters once with `quorate storage format`, and set "
            f"controller.quorum.bootstrap.servers{example}",
        )
        if not reader.given("controller.quorum.bootstrap.servers"):
            return
    if reader.values.get("controller.quorum.bootstrap.servers") == ():
        reader.problem(
            "controller.quorum.bootstrap.servers",
            f"{'It is empty' if reader.given('controller.quorum.bootstrap.servers') else 'It is missing'}. "
            "List host:port of the controllers; this node finds the quorum through any of them.",
        )


def _check_authorizer(reader: Reader) -> None:
    """Warns of what reads as if it protected something."""
    for key in ("super.users", "allow.everyone.if.no.acl.found"):
        if reader.values.get("authorizer.class.name") is False and reader.values.get(key):
            reader.warn(key, "it has no effect without authorizer.class.name: every client may do everything")


def _check_directory(reader: Reader) -> None:
    if reader.values.get("metadata.log.dir") is None:
        reader.problem(
            "metadata.log.dir",
            "It is missing. Name the directory that holds this node's metadata log (or set log.dirs, whose "
            "first one is taken).",
        )
    directories = reader.raw.texts.get("log.dirs")
    if directories is not None and "," in directories.value:
        used = reader.raw.texts["metadata.log.dir"].value
        reader.warn("log.dirs", f"this node stores metadata only; of all directories it uses {used}")


def check_listeners(reader: Reader, role: str, host_name: str | None) -> None:
    """Listeners, their protocols and addresses, as far as these keys could be read."""
    names = reader.values.get("controller.listener.names")
    listeners = reader.values.get("listeners")
    protocols = reader.values.get("listener.security.protocol.map")
    if names is None or listeners is None or protocols is None:
        return
    own = [listener.name for listener in listeners]
    if not reader.given("listener.security.protocol.map"):
        protocols = _default_protocols(protocols, names, own)
        reader.values["listener.security.protocol.map"] = protocols
    if role == "controller":
        _check_controller_names(reader, own, names)
    else:
        _check_broker_names(reader, own, names)
    _check_protocols(reader, [*own, *names], protocols)
    if "listeners" in reader.values:
        _check_advertised(reader, listeners, host_name)


def _default_protocols(
    protocols: Mapping[str, SecurityProtocol], controller_names: Iterable[str], own: Iterable[str]
) -> Mapping[str, SecurityProtocol]:
    """Without a map of its own a node in the clear may name controller listeners as it likes (Kafka's rule)."""
    if any(
        protocols.get(name, 0) != SecurityProtocol.PLAINTEXT
        for name in (*controller_names, *own)
        if name in protocols
    ):
        return protocols
    return MappingProxyType({**dict.fromkeys(controller_names, SecurityProtocol.PLAINTEXT), **protocols})


def _check_controller_names(reader: Reader, own: list[str], names: tuple[str, ...]) -> None:
    others = [name for name in own if name not in names]
    missing = [name for name in names if name not in own]
    if not reader.given("listeners"):
        reader.problem("listeners", f"It is missing. Add listeners = {names[0]}://:9093, or another port.")
        return
    if others:
        reader.problem(
            "listeners",
            f"A controller has only the listeners named in controller.listener.names ({', '.join(names)}); "
            f"{', '.join(others)} is not among them.",
        )
    if missing:
        reader.problem(
            "controller.listener.names",
            f"A controller listens on all of them; {', '.join(missing)} is not in listeners.",
        )


def _check_broker_names(reader: Reader, own: list[str], names: tuple[str, ...]) -> None:
    shared = [name for name in names if name in own]
    if shared:
        reader.problem(
            "controller.listener.names",
            f"A broker names here the listeners of the controllers, none of its own; {', '.join(shared)} is "
            "in listeners too.",
        )
    if len(names) > 1:
        reader.warn("controller.listener.names", f"a broker uses only the first of them, {names[0]}")


def _check_protocols(reader: Reader, names: Iterable[str], protocols: Mapping[str, SecurityProtocol]) -> None:
    for name in dict.fromkeys(names):
        protocol = protocols.get(name)
        if protocol is None:
            reader.problem(
                "listener.security.protocol.map",
                f"It says no protocol for the listener {name}; add {name}:PLAINTEXT, "
                "or another one that it is to speak.",
            )


def _security(reader: Reader, role: str) -> tuple[Mapping[str, ListenerSettings], ClientSettings]:
    """Of every listener of this node, and of its own way to the controllers."""
    protocols = reader.values.get("listener.security.protocol.map") or {}
    listeners = reader.values.get("listeners") or ()
    names = reader.values.get("controller.listener.names") or ()
    texts = {key: text.value for key, text in reader.raw.texts.items()}
    given = Given(
        texts, lambda key, why: reader.problem(key, why, hide=is_sensitive(ResourceType.BROKER, key))
    )
    own = {
        one.name: listener_settings(given, one.name, protocols[one.name])
        for one in listeners
        if one.name in protocols
    }
    _warn_of_idle_keys(reader, {protocols[name] for name in (*own, *names[:1]) if name in protocols})
    if not names or names[0] not in protocols:
        return own, ClientSettings()
    way = controller_client_settings(given, names[0], protocols[names[0]], is_controller=role == "controller")
    return own, way


def _warn_of_idle_keys(reader: Reader, spoken: Collection[SecurityProtocol]) -> None:
    """An operator who has set certificates believes that something is secured by them."""
    for key in sorted(SECURITY_KEYS):
        if reader.given(key) and not any(uses(protocol, key) for protocol in spoken):
            reader.warn(
                key, "it has no effect: nothing here speaks " + ("TLS" if key.startswith("ssl.") else "SASL")
            )


def _check_advertised(reader: Reader, listeners: tuple[Endpoint, ...], host_name: str | None) -> None:
    """Gives every listener the address under which others reach it."""
    key = "advertised.listeners"
    advertised: tuple[Endpoint, ...] | None = reader.values.get(key)
    if advertised is None and reader.given(key):
        return
    own = {listener.name: listener for listener in listeners}
    unknown = [endpoint.name for endpoint in advertised or () if endpoint.name not in own]
    if unknown:
        reader.problem(
            key,
            f"{', '.join(unknown)} is not in listeners ({', '.join(own)}); only what listens can be advertised.",
        )
        return
    if advertised == ():
        reader.problem(key, "It is empty. Leave it out to advertise every listener as it is.")
        return
    if advertised is None:
        advertised = tuple(_reachable(reader, listener, host_name) for listener in listeners)
    if key not in {problem.key for problem in reader.problems}:
        reader.values[key] = advertised


def _reachable(reader: Reader, listener: Endpoint, host_name: str | None) -> Endpoint:
    if not addresses.is_wildcard(listener.host):
        return listener
    if listener.host == "" and host_name is not None:
        return attrs.evolve(listener, host=host_name)
    reader.problem(
        "advertised.listeners",
        f"It is missing, and the listener {listener.name} has no host that others could connect to. Add "
        f"advertised.listeners = {listener.name}://<name or address of this machine>:{listener.port or '<port>'}",
    )
    return listener


# --- keys that no field reads


REFUSED_KEYS: Final[Mapping[str, str]] = {
    **security.REFUSED,
    "zookeeper.connect": "A node with process.roles belongs to a quorum of controllers. Remove this key; or "
    "remove process.roles and the controller.* keys, and this node is a broker in ZooKeeper mode.",
}
"""Keys of Kafka that, were they ignored, would silently take away what the operator relies on."""

_IGNORED_BECAUSE: Final[Mapping[str, str]] = {
    "controller.quorum.append.linger.ms": "records are gathered while the disk flushes; there is no linger",
    "max.connections": "set quorate.max.connections",
    "socket.request.max.bytes": "set quorate.max.frame.bytes",
    "queued.max.requests": "set quorate.max.in.flight.requests.per.connection",
}

REMOVED_KEYS: Final = frozenset({
    "advertised.host.name",
    "advertised.port",
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "controlled.shutdown.max.retries",
    "controlled.shutdown.retry.backoff.ms",
    "eligible.leader.replicas.enable",
    "enable.zookeeper.id.generation",
    "host.name",
    "inter.broker.protocol.version",
    "leader.imbalance.per.broker.percentage",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "offsets.commit.required.acks",
    "password.encoder.cipher.algorithm",
    "password.encoder.iterations",
    "password.encoder.key.length",
    "password.encoder.keyfactory.algorithm",
    "password.encoder.old.secret",
    "password.encoder.secret",
    "port",
    "reserved.broker.max.id",
})  # fmt: skip
"""Keys of older Kafka releases that may still stand in a file."""


def _check_listener_of(reader: Reader, key: str) -> None:
    protocols = reader.values.get("listener.security.protocol.map") or {}
    named = [name for name in protocols if key.startswith(listener_prefix(name))]
    if not named:
        reader.warn(key, "no listener of that name is known here, so this key has no effect")
    elif not uses(protocols[named[0]], base_name(key)):
        reader.warn(key, f"that listener speaks {protocols[named[0]].name}, so this key has no effect")


def _check_unused(reader: Reader, key: str, used: frozenset[str], role: str) -> None:
    if key in used or key == "controller.quorum.voters" or key.startswith(config_providers.PREFIX):
        return
    text = reader.raw.texts[key].value.strip()
    base = base_name(key)
    if base in REFUSED_KEYS:
        if text:
            reader.problem(key, REFUSED_KEYS[base])
    elif base in SECURITY_KEYS:
        _check_listener_of(reader, key)
    elif key in _IGNORED_BECAUSE:
        reader.warn(key, f"this key of Kafka is ignored: {_IGNORED_BECAUSE[key]}")
    elif key in REMOVED_KEYS or key.startswith("zookeeper."):
        reader.warn(key, "this key is ignored; newer releases of Kafka do not have it either")
    elif key in BROKER_KEYS.by_name or key.startswith("listener.name."):
        reader.warn(key, "this key of Kafka has no effect on this node and is ignored")
    else:
        ours = key.startswith(settings.OWN_PREFIX)
        reader.unknown(key, used if ours else used | BROKER_KEYS.keys(), role)
