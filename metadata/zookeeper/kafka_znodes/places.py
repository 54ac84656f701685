"""Which kind of metadata lies where."""

from typing import Final

from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category


def category_of(path: str) -> Category:
    """Which kind of metadata lies there."""
    for prefix, category in _CATEGORIES:
        if path == prefix or path.startswith(f"{prefix}/"):
            return Category.PARTITIONS if category is Category.TOPICS and path.count("/") > 3 else category
    return Category.CLUSTER


_CATEGORIES: Final = (
    (paths.TOPICS, Category.TOPICS),
    (paths.DELETE_TOPICS, Category.TOPICS),
    (paths.BROKER_IDS, Category.BROKERS),
    (paths.TOPIC_CONFIGS, Category.TOPIC_CONFIGS),
    (paths.BROKER_CONFIGS, Category.BROKER_CONFIGS),
    (paths.USERS, Category.QUOTAS),
    (paths.CLIENTS, Category.QUOTAS),
    (paths.IPS, Category.QUOTAS),
    (paths.PRODUCER_IDS, Category.PRODUCER_IDS),
    (paths.LITERAL_ACLS, Category.ACLS),
    ("/kafka-acl-extended", Category.ACLS),
    ("/delegation_token", Category.TOKENS),
)
