"""Where Kafka keeps what, and how names stand in paths.

Names of users, clients and IPs are sanitized: URL-encoded UTF-8, then `*` as `%2A` and `+` as `%20` (Kafka's
`Sanitizer`). Topics, broker ids and resources of ACLs stand there as they are.
"""

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from quorate.metadata.zookeeper.kafka_znodes.forms import FormError

DEFAULT_ENTITY: Final = "<default>"
"""The node of a default. A user who is really called so is `%3Cdefault%3E`."""

CLUSTER_ID: Final = "/cluster/id"
CONTROLLER: Final = "/controller"
CONTROLLER_EPOCH: Final = "/controller_epoch"
MIGRATION: Final = "/migration"
FEATURE: Final = "/feature"
BROKER_IDS: Final = "/brokers/ids"
BROKER_SEQUENCE: Final = "/brokers/seqid"
TOPICS: Final = "/brokers/topics"
CONFIG: Final = "/config"
TOPIC_CONFIGS: Final = "/config/topics"
BROKER_CONFIGS: Final = "/config/brokers"
USERS: Final = "/config/users"
CLIENTS: Final = "/config/clients"
IPS: Final = "/config/ips"
CONFIG_CHANGES: Final = "/config/changes"
DELETE_TOPICS: Final = "/admin/delete_topics"
REASSIGN_PARTITIONS: Final = "/admin/reassign_partitions"
PREFERRED_ELECTION: Final = "/admin/preferred_replica_election"
ISR_CHANGES: Final = "/isr_change_notification"
LOG_DIR_EVENTS: Final = "/log_dir_event_notification"
PRODUCER_IDS: Final = "/latest_producer_id_block"
LITERAL_ACLS: Final = "/kafka-acl"
PREFIXED_ACLS: Final = "/kafka-acl-extended/prefixed"
LITERAL_ACL_CHANGES: Final = "/kafka-acl-changes"
PREFIXED_ACL_CHANGES: Final = "/kafka-acl-extended-changes"
TOKENS: Final = "/delegation_token/tokens"
TOKEN_CHANGES: Final = "/delegation_token/token_changes"
CONSUMERS: Final = "/consumers"

CONFIG_CHANGE_PREFIX: Final = f"{CONFIG_CHANGES}/config_change_"
LITERAL_ACL_CHANGE_PREFIX: Final = f"{LITERAL_ACL_CHANGES}/acl_changes_"
PREFIXED_ACL_CHANGE_PREFIX: Final = f"{PREFIXED_ACL_CHANGES}/acl_changes_"
TOKEN_CHANGE_PREFIX: Final = f"{TOKEN_CHANGES}/token_change_"
ISR_CHANGE_PREFIX: Final = f"{ISR_CHANGES}/isr_change_"
LOG_DIR_EVENT_PREFIX: Final = f"{LOG_DIR_EVENTS}/log_dir_event_"

ALWAYS_THERE: Final = (
    CONSUMERS,
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    BROKER_SEQUENCE,
    ISR_CHANGES,
    PRODUCER_IDS,
    LOG_DIR_EVENTS,
    TOPIC_CONFIGS,
    CLIENTS,
    USERS,
    BROKER_CONFIGS,
    IPS,
)
"""What every broker makes sure of at its start (`ZkData.PersistentZkPaths`, and one node per type of config)."""

_MALFORMED = re.compile(r"%(?![0-9a-fA-F]{2})")
_NOT_IN_PATHS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff]")


def sanitized(name: str) -> str:
    """A name as it stands in a path. Java encodes `~`, which Python leaves alone."""
    return quote(name, safe="").replace("~", "%7E")


def desanitized(text: str) -> str:
    """The name that stands in a path so.

    Raises:
        FormError: a `%` without two hexadecimal digits behind it, or bytes that are no UTF-8. (Java's decoder raises at
            the first and puts U+FFFD for the second: two names could become one.)
    """
    if _MALFORMED.search(text):
        raise FormError("malformed-name", f"{text!r} has a % without two hexadecimal digits behind it")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise FormError("malformed-name", f"{text!r} does not decode to UTF-8") from None


def entity_node(name: str | None) -> str:
    """The node of a user, client or IP; None: the default of its type."""
    return DEFAULT_ENTITY if name is None else sanitized(name)


def entity_name(node: str) -> str | None:
    """The user, client or IP whose node this is; None: the default of its type.

    Raises:
        FormError: see `desanitized`.
    """
    return None if node == DEFAULT_ENTITY else desanitized(node)


def topic(name: str) -> str:
    return f"{TOPICS}/{name}"


def partitions(topic_name: str) -> str:
    return f"{TOPICS}/{topic_name}/partitions"


def partition(topic_name: str, index: int) -> str:
    return f"{TOPICS}/{topic_name}/partitions/{index}"


def state(topic_name: str, index: int) -> str:
    return f"{TOPICS}/{topic_name}/partitions/{index}/state"


def topic_config(name: str) -> str:
    return f"{TOPIC_CONFIGS}/{name}"


def broker_config(name: str) -> str:
    """`name`: a broker's id as text, or "" for the default of all brokers, as records have it."""
    return f"{BROKER_CONFIGS}/{name or DEFAULT_ENTITY}"


def user(name: str | None) -> str:
    return f"{USERS}/{entity_node(name)}"


def client(name: str | None) -> str:
    return f"{CLIENTS}/{entity_node(name)}"


def user_client(user_name: str | None, client_name: str | None) -> str:
    return f"{USERS}/{entity_node(user_name)}/clients/{entity_node(client_name)}"


def ip(name: str | None) -> str:
    return f"{IPS}/{entity_node(name)}"


def token(token_id: str) -> str:
    return f"{TOKENS}/{token_id}"


def parent(path: str) -> str:
    """ "/" for what lies at the top."""
    return path.rpartition("/")[0] or "/"


def name(path: str) -> str:
    return path.rpartition("/")[2]


def why_no_node(name: str) -> str | None:
    """Why ZooKeeper would not take a name as a node's; None: it would."""
    if not name:
        return "an empty name"
    if name in (".", ".."):
        return f"the name {name!r}"
    if "/" in name:
        return "a name with a slash in it"
    found = _NOT_IN_PATHS.search(name)
    return None if found is None else f"a name with the character U+{ord(found.group()):04X} in it"
