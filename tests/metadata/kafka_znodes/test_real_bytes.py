"""Every znode of the real trees, decoded and encoded again, is the same bytes."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from quorate.metadata.image.security import SCRAM_MECHANISMS
from quorate.metadata.zookeeper.kafka_znodes import configs, nodes, security, topics
from tests.metadata.kafka_znodes.trees import REAL, real

OTHER_ORDER = {"/config/brokers/0", "/config/brokers/10"}
"""Of the rich trees: their settings were more once, and Java's map keeps the order of the larger table."""


def _client(kind: str) -> Callable[[bytes | None], bytes | None]:
    def again(data: bytes | None) -> bytes | None:
        if data is None:
            return None
        config = configs.client_config(configs.decode_config(data), may_log_in=True)
        assert config.bad == ()
        settings = {key: configs.quota_text(kind, key, value) for key, value in config.quotas.items()}
        for mechanism, credential in config.credentials.items():
            settings[SCRAM_MECHANISMS[mechanism]] = configs.encode_credential(credential)
        return configs.encode_config(settings)

    return again


def _through(
    decode: Callable[[bytes | None], Any], encode: Callable[[Any], bytes]
) -> Callable[..., bytes | None]:
    return lambda data: None if data is None else encode(decode(data))


_FORMS: dict[str, Callable[[bytes | None], bytes | None]] = {
    "/cluster/id": _through(nodes.decode_cluster_id, nodes.encode_cluster_id),
    "/controller": _through(nodes.decode_controller, nodes.encode_controller),
    "/controller_epoch": _through(nodes.decode_controller_epoch, nodes.encode_controller_epoch),
    "/feature": _through(nodes.decode_feature, nodes.encode_feature),
    "/migration": _through(nodes.decode_migration, nodes.encode_migration),
    "/latest_producer_id_block": _through(nodes.decode_producer_ids, nodes.encode_producer_ids),
    "/brokers/ids/[^/]+": _through(nodes.decode_broker, nodes.encode_broker),
    "/brokers/topics/[^/]+": _through(topics.decode_topic, topics.encode_topic),
    "/brokers/topics/.+/state": _through(topics.decode_state, topics.encode_state),
    "/config/changes/.+": _through(configs.decode_config_change, configs.encode_config_change),
    "/config/(?:topics|brokers)/[^/]+": _through(configs.decode_config, configs.encode_config),
    "/config/(?:users|clients)/.+": _client("user"),
    "/config/ips/.+": _client("ip"),
    "/delegation_token/tokens/.+": _through(security.decode_token, lambda pair: security.encode_token(*pair)),
}


def _acls(path: str, data: bytes | None) -> bytes | None:
    prefixed, kind, name = re.fullmatch("/kafka-acl(-extended/prefixed)?/([^/]+)/([^/]+)", path).groups()  # type: ignore[union-attr]
    node = security.AclNode(security.RESOURCE_NODES[kind], 4 if prefixed else 3, name)
    assert node.path == path
    return security.encode_acls(entry.acl for entry in security.decode_acls(node, data) if entry.acl)


@pytest.mark.parametrize("name", REAL)
def test_every_form_of_the_real_trees(name: str) -> None:
    checked: Counter[str] = Counter()
    for path, node in real(name).items():
        if re.fullmatch("/kafka-acl(?:-extended/prefixed)?/(?!prefixed)[A-Z][^/]+/[^/]+", path):
            checked["acls"] += 1
            assert _acls(path, node.data) == node.data
            continue
        for pattern, again in _FORMS.items():
            if re.fullmatch(pattern, path):
                checked[pattern] += 1
                encoded = again(node.data)
                if path in OTHER_ORDER and name != "small":
                    assert json.loads(encoded or b"") == json.loads(node.data or b"")
                else:
                    assert encoded == node.data, path
                break

    assert checked["acls"] >= 4
    never = {"/migration"} if name != "before-copy" else set()
    if name == "large":
        never |= {"/config/ips/.+", "/delegation_token/tokens/.+"}
    assert {pattern for pattern in _FORMS if not checked[pattern]} <= never


def test_notifications_of_the_real_trees() -> None:
    tree = real("rich")
    literal = [n.data for p, n in tree.items() if p.startswith("/kafka-acl-changes/")]
    prefixed = [n.data for p, n in tree.items() if p.startswith("/kafka-acl-extended-changes/")]

    assert len(literal) > 10
    assert len(prefixed) > 3
    kinds = {kind.name: kind.value for kind in security.Resource}
    for pattern, datas in ((3, literal), (4, prefixed)):
        for data in datas:
            kind, resource = security.decode_acl_change(data, prefixed=pattern == 4)
            assert security.AclNode(kinds[kind], pattern, resource).change == data
