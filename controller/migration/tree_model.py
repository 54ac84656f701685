"""ZooKeeper's side of a comparison: rows out of the bytes of znodes, taken apart here and nowhere else.

This is on purpose a second, plain reading of what the migration's own reader reads: short, with the standard library,
and without its code but for the cipher of passwords. Where the two disagree a comparison shows it.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import attrs

from quorate.controller.migration.model import (
    Hider,
    Model,
    Row,
    acl_key,
    broker_fields,
    broker_key,
    credential_key,
    entity_key,
    hidden_bytes,
    ids,
    partition_key,
)
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.read_configs import is_password
from quorate.metadata.zookeeper.kafka_znodes.secrets import decode_secret
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.znodes import Tree, Znode

_KINDS: Final = {"Topic": 2, "Group": 3, "Cluster": 4, "TransactionalId": 5, "DelegationToken": 6, "User": 7}
_OPERATION_NAMES: Final = (
    "all",
    "read",
    "write",
    "create",
    "delete",
    "alter",
    "describe",
    "clusteraction",
    "describeconfigs",
    "alterconfigs",
    "idempotentwrite",
    "createtokens",
    "describetokens",
    "twophasecommit",
)
_OPERATIONS: Final = {name: number for number, name in enumerate(_OPERATION_NAMES, 2)}
_PERMISSIONS: Final = {"deny": 2, "allow": 3}
_MECHANISMS: Final = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}


def model_of_tree(tree: Tree, hide: Hider, secrets: tuple[str, ...] = ()) -> Model:
    """What a tree says. Whatever means nothing is told in `unreadable`, and is in no row."""
    return _TreeModel(tree, hide, secrets).model()


@attrs.define
class _TreeModel:
    tree: Tree
    hide: Hider
    secrets: tuple[str, ...]
    made: Model = attrs.Factory(Model)
    names: dict[str, list[str]] = attrs.Factory(dict)

    def model(self) -> Model:
        for path in self.tree:
            above, _, name = path.rpartition("/")
            self.names.setdefault(above, []).append(name)
        for below in (
            self._topics,
            self._configs,
            self._clients,
            self._producer_ids,
            self._acls,
            self._tokens,
        ):
            below()
        self._each("/brokers/ids", self._broker)
        return self.made

    def _each(self, folder: str, look: Callable[[str, Znode], None]) -> None:
        """`look` at each child; what it cannot read is told."""
        for name in self.names.get(folder, ()):
            node = self.tree[f"{folder}/{name}"]
            try:
                look(name, node)
            except (ValueError, KeyError, TypeError, AttributeError, FormError) as error:
                self.made.unreadable.append((node.path, _told(error)))

    def _put(self, category: Category, key: str, node: Znode, **fields: Any) -> None:
        named = {name.replace("_", " "): value for name, value in fields.items()}
        row = Row(fields=named, path=node.path, version=node.stat.version, mzxid=node.stat.mzxid)
        self.made.add(category, key, row)

    # ---- topics

    def _topics(self) -> None:
        doomed = set(self.names.get("/admin/delete_topics", ()))

        def look(name: str, node: Znode) -> None:
            topic = json.loads(node.data or b"")
            if name in doomed:
                self.made.aside[Category.TOPICS][name] = Row(fields={}, path=node.path)
                return
            indexes = sorted(map(int, topic["partitions"]))
            topic_id = base64.urlsafe_b64decode(topic["topic_id"] + "==").hex()
            self._put(Category.TOPICS, name, node, id=topic_id, partitions=ids(indexes))
            for index in indexes:
                self._partition(name, index, topic, node)

        self._each("/brokers/topics", look)

    def _partition(self, name: str, index: int, topic: Mapping[str, Any], topic_node: Znode) -> None:
        moving = {
            word: (topic.get(f"{word}_replicas") or {}).get(str(index), []) for word in ("adding", "removing")
        }
        replicas = topic["partitions"][str(index)]
        node = self.tree.get(f"/brokers/topics/{name}/partitions/{index}/state")
        key = partition_key(name, index)
        if node is None or node.data is None:
            self.made.defaulted.append(key)
            state = {"leader": replicas[0] if replicas else -1, "leader_epoch": 0, "isr": replicas}
            node, epoch = topic_node, 0
        else:
            try:
                state, epoch = json.loads(node.data), node.stat.version
            except ValueError as error:
                self.made.unreadable.append((node.path, _told(error)))
                return
        self._put(
            Category.PARTITIONS,
            key,
            node,
            replicas=ids(replicas),
            adding=ids(moving["adding"]),
            removing=ids(moving["removing"]),
            leader=state["leader"],
            leader_epoch=state["leader_epoch"],
            isr=ids(state["isr"]),
            recovery=state.get("leader_recovery_state", 0),
            partition_epoch=epoch,
        )

    # ---- configs, quotas, credentials

    def _configs(self) -> None:
        topics = set(self.names.get("/brokers/topics", ()))
        doomed = set(self.names.get("/admin/delete_topics", ()))

        def of_topic(name: str, node: Znode) -> None:
            for key, value in _settings(node).items():
                if name not in topics or name in doomed:
                    self.made.aside[Category.TOPIC_CONFIGS][f"{name} {key}"] = Row(fields={}, path=node.path)
                else:
                    self._put(Category.TOPIC_CONFIGS, f"{name} {key}", node, value=value)

        def of_broker(name: str, node: Znode) -> None:
            for key, value in _settings(node).items():
                owner = f"{broker_key('' if name == '<default>' else name)} {key}"
                try:
                    shown = self._shown(owner, key, value)
                except FormError as error:
                    self.made.unreadable.append((node.path, f"{key}: {error}"))
                else:
                    self._put(Category.BROKER_CONFIGS, owner, node, value=shown)

        self._each("/config/topics", of_topic)
        self._each("/config/brokers", of_broker)

    def _shown(self, owner: str, key: str, value: str) -> str:
        if "encryptedPassword:" not in value:
            return self.hide(owner, value) if is_password(key) else value
        problem = FormError("no-secret", "it is encrypted, and no secret was given")
        for secret in self.secrets:
            try:
                return self.hide(owner, decode_secret(value, secret))
            except FormError as error:
                problem = error
        raise problem

    def _clients(self) -> None:
        for kind, folder in (
            ("user", "/config/users"),
            ("client-id", "/config/clients"),
            ("ip", "/config/ips"),
        ):
            self._each(folder, self._entity({}, kind))
        for user in self.names.get("/config/users", ()):
            above = {"user": None if user == "<default>" else unquote_plus(user)}
            self._each(f"/config/users/{user}/clients", self._entity(above, "client-id"))

    def _entity(self, above: Mapping[str, str | None], kind: str) -> Callable[[str, Znode], None]:
        def look(name: str, node: Znode) -> None:
            parts = {**above, kind: None if name == "<default>" else unquote_plus(name, errors="strict")}
            for key, value in _settings(node).items():
                if key in _MECHANISMS:
                    self._credential(parts, key, value, node)
                else:
                    self._put(Category.QUOTAS, f"{entity_key(parts)} {key}", node, value=float(value))

        return look

    def _credential(self, parts: Mapping[str, str | None], mechanism: str, value: str, node: Znode) -> None:
        user = parts.get("user")
        if user is None or len(parts) > 1:
            raise ValueError(f"{mechanism} where no user is")
        part = dict(one.split("=", 1) for one in value.split(","))
        self._put(
            Category.CREDENTIALS,
            credential_key(user, _MECHANISMS[mechanism]),
            node,
            salt=_hidden(part["salt"]),
            stored_key=_hidden(part["stored_key"]),
            server_key=_hidden(part["server_key"]),
            iterations=int(part["iterations"]),
        )

    def _producer_ids(self) -> None:
        node = self.tree.get("/latest_producer_id_block")
        if node is None or node.data is None:
            return
        try:
            following = int(json.loads(node.data)["block_end"]) + 1
        except (ValueError, KeyError, TypeError) as error:
            self.made.unreadable.append((node.path, _told(error)))
            return
        self._put(Category.PRODUCER_IDS, "producer ids", node, next_id=following)

    # ---- ACLs, tokens, brokers

    def _acls(self) -> None:
        for folder, pattern in (("/kafka-acl", 3), ("/kafka-acl-extended/prefixed", 4)):
            for kind, number in _KINDS.items():
                self._each(f"{folder}/{kind}", self._acls_of(number, pattern))

    def _acls_of(self, kind: int, pattern: int) -> Callable[[str, Znode], None]:
        def look(name: str, node: Znode) -> None:
            for acl in json.loads(node.data)["acls"] if node.data else ():
                operation = _OPERATIONS.get(acl["operation"].lower(), 0)
                permission = _PERMISSIONS[acl["permissionType"].lower()]
                key = acl_key(kind, pattern, name, acl["principal"], acl["host"], operation, permission)
                self._put(Category.ACLS, key, node, there=True)

        return look

    def _tokens(self) -> None:
        def look(name: str, node: Znode) -> None:
            if not node.data:
                return
            token = json.loads(node.data)
            owner = unquote_plus(token["owner"])
            renewers = sorted({unquote_plus(one) for one in token["renewers"]})
            self._put(
                Category.TOKENS,
                f"token {token['tokenId']}",
                node,
                owner=owner,
                requester=unquote_plus(token.get("tokenRequester", token["owner"])),
                renewers=json.dumps(renewers, ensure_ascii=False),
                issued=token["issueTimestamp"],
                expires=token["expiryTimestamp"],
                ends=token["maxTimestamp"],
            )

        self._each("/delegation_token/tokens", look)

    def _broker(self, name: str, node: Znode) -> None:
        broker = json.loads(node.data or b"")
        endpoints = broker.get("endpoints") or [f"PLAINTEXT://{broker['host']}:{broker['port']}"]
        protocols = broker.get("listener_security_protocol_map") or {}
        listeners = {}
        for endpoint in endpoints:
            listener, address = endpoint.split("://", 1)
            host, port = address.rsplit(":", 1)
            bare = host.removeprefix("[").removesuffix("]")
            listeners[listener] = f"{bare}:{port} {protocols.get(listener, listener)}"
        self._put(
            Category.BROKERS, f"broker {int(name)}", node, **broker_fields(broker.get("rack"), listeners)
        )


def _settings(node: Znode) -> Mapping[str, str]:
    if node.data is None:
        return {}
    settings: Mapping[str, str] = json.loads(node.data).get("config") or {}
    if not all(isinstance(value, str) for value in settings.values()):
        raise TypeError("a value is no text")
    return settings


def _hidden(text: str) -> str:
    return hidden_bytes(base64.b64decode(text, validate=True))


def _told(error: Exception) -> str:
    """Never the text of a value: it may be a secret."""
    return str(error) if isinstance(error, FormError) else f"it cannot be read ({type(error).__name__})"


def assigned_brokers(tree: Tree) -> Iterator[int]:
    """Every broker that a topic's znode names, as often as it does."""
    for path, node in tree.items():
        if path.count("/") == 3 and path.startswith("/brokers/topics/"):
            try:
                for replicas in json.loads(node.data or b"")["partitions"].values():
                    yield from replicas
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
