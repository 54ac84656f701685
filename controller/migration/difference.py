"""One difference between ZooKeeper and the log, as a value."""

import enum

import attrs

from quorate.controller.migration.model import Fields, Value
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category


class Kind(enum.StrEnum):
    """What is different."""

    ONLY_ZOOKEEPER = "only in ZooKeeper"
    ONLY_LOG = "only in the log"
    DIFFERENT = "different"
    UNREADABLE = "unreadable"


@attrs.frozen(kw_only=True)
class Difference:
    """One difference. Where a whole row is missing `field` is empty and the values are its fields."""

    category: Category
    kind: Kind
    key: str
    field: str
    path: str
    version: int
    mzxid: int
    zookeeper: Value | Fields
    log: Value | Fields
    expected: str = ""
    """A code of `verify.EXPECTED`, or nothing: then it should not be."""
