"""What a quorum's controller may decide and ZooKeeper cannot hold: refused, instead of being lost (pure)."""

from collections.abc import Iterator

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.image.changes import Changes
from quorate.metadata.zookeeper.kafka_znodes.configs import quota_text
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.layout import client_path
from quorate.metadata.zookeeper.kafka_znodes.read_configs import is_password
from quorate.metadata.zookeeper.kafka_znodes.security import acl_node, why_no_acl_node

_WITH_CONFIGS = (ResourceType.TOPIC, ResourceType.BROKER)


def refuse_unwritable(changes: Changes, *, with_secret: bool) -> None:
    """`with_secret`: password.encoder.secret is set, so that passwords can be encrypted.

    Raises:
        RequestRejected: INVALID_REQUEST; something of it has no place in ZooKeeper.
    """
    for words in (*_configs(changes, with_secret), *_clients(changes), *_acls(changes)):
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"In ZooKeeper mode this cannot be kept: {words}. Nothing was changed.",
        )


def _configs(changes: Changes, with_secret: bool) -> Iterator[str]:
    for (kind, name), settings in changes.changed_configs.items():
        set_now = [key for key, value in settings.items() if value is not None]
        if kind not in _WITH_CONFIGS and set_now:
            yield f"configs of {name!r}; topics, brokers, users, clients and IPs have configs there"
        elif kind == ResourceType.BROKER and not with_secret:
            for key in filter(is_password, set_now):
                yield f"the password {key}, which is written encrypted. Set password.encoder.secret on all brokers"


def _clients(changes: Changes) -> Iterator[str]:
    for entity, quotas in changes.changed_quotas.items():
        kind = "user" if "user" in dict(entity) else entity[0][0]
        try:
            client_path(entity)
            for key, value in quotas.items():
                if value is not None:
                    quota_text(kind, key, value)
        except FormError as error:
            yield f"a quota ({error})"
    for (user, _), credential in changes.changed_credentials.items():
        try:
            client_path((("user", user),))
        except FormError as error:
            if credential is not None:
                yield f"a credential of {user!r} ({error})"


def _acls(changes: Changes) -> Iterator[str]:
    for acl in changes.changed_acls.values():
        why = None if acl is None else why_no_acl_node(acl_node(acl))
        if why is not None:
            yield f"ACLs of a resource with {why}"
