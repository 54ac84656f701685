"""What is wrong or odd about a tree, as data: all of it is collected, nothing stops at the first."""

import enum
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from quorate.metadata.zookeeper.kafka_znodes.forms import FormError


class Category(enum.StrEnum):
    """The kinds of metadata, as reports and progress name them."""

    CLUSTER = "cluster"
    BROKERS = "brokers"
    TOPICS = "topics"
    PARTITIONS = "partitions"
    TOPIC_CONFIGS = "topic configs"
    BROKER_CONFIGS = "broker configs"
    QUOTAS = "quotas"
    CREDENTIALS = "credentials"
    PRODUCER_IDS = "producer ids"
    ACLS = "acls"
    TOKENS = "tokens"


class Severity(enum.StrEnum):
    """What a trouble means for a migration."""

    BLOCKER = "blocker"
    """It must be mended, or left out on purpose (lenient), before anything is copied."""
    WARNING = "warning"
    """The copy is right, but somebody should know before it."""
    NOTE = "note"
    """It is as it should be, and easily overlooked."""


@attrs.frozen(kw_only=True)
class Trouble:
    """One thing about one znode."""

    category: Category
    severity: Severity
    code: str
    path: str
    words: str
    """What is there, without any secret."""
    remedy: str
    """What to do about it; "" where nothing needs to be done."""


_STOP_AND_SET: Final = "Set it anew with Kafka's own tools, or remove the znode if nothing needs it"

REMEDIES: Final[Mapping[str, str]] = {
    "bad-credential": "Set the user's password anew by kafka-configs, or remove the credential",
    "malformed-name": "Remove the znode: Kafka's own tools cannot name it either",
    "misplaced-credential": "Remove it by kafka-configs: a credential belongs to a user",
    "not-a-number": "Set the quota anew by kafka-configs",
    "not-json": _STOP_AND_SET,
    "no-data": _STOP_AND_SET,
    "unknown-version": "A newer Kafka wrote it: read its release notes, or set it anew",
    "unknown-cipher": "Set the config anew, encrypted by AES/CBC or AES/GCM",
    "unknown-mechanism": "Remove it by kafka-configs",
    "unknown-permission": "Add the ACL anew by kafka-acls",
    "wrong-secret": "Give the password.encoder.secret that the brokers have; while it is being changed, both",
    "no-secret": "Give the password.encoder.secret that the brokers have",
}
"""Code -> what to do, for errors of forms."""


@attrs.define
class Troubles:
    """Collects; `lenient` are the categories whose undecodable parts are left out with a warning."""

    lenient: frozenset[Category]
    found: list[Trouble] = attrs.Factory(list)

    def undecodable(
        self, category: Category, path: str, error: FormError, left_out: str = "It is left out"
    ) -> None:
        """A part that means nothing: a blocker, or where the category is lenient a warning that says what it costs."""
        remedy = REMEDIES.get(error.code, _STOP_AND_SET)
        if category in self.lenient:
            self.warn(category, path, error.code, f"{error}. {left_out}", remedy)
        else:
            self.block(category, path, error.code, str(error), remedy)

    def block(self, category: Category, path: str, code: str, words: str, remedy: str) -> None:
        self._add(Severity.BLOCKER, category, path, code, words, remedy)

    def warn(self, category: Category, path: str, code: str, words: str, remedy: str) -> None:
        self._add(Severity.WARNING, category, path, code, words, remedy)

    def note(self, category: Category, path: str, code: str, words: str, remedy: str = "") -> None:
        self._add(Severity.NOTE, category, path, code, words, remedy)

    def _add(
        self, severity: Severity, category: Category, path: str, code: str, words: str, remedy: str
    ) -> None:
        trouble = Trouble(
            category=category, severity=severity, code=code, path=path, words=words, remedy=remedy
        )
        self.found.append(trouble)

    def sorted(self) -> tuple[Trouble, ...]:
        """See `in_order`."""
        return in_order(self.found)


def in_order(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """Blockers first, then by category and path."""
    severities, categories = list(Severity), list(Category)

    def place(trouble: Trouble) -> tuple[int, int, str, str]:
        severity, category = severities.index(trouble.severity), categories.index(trouble.category)
        return severity, category, trouble.path, trouble.code

    return tuple(sorted(troubles, key=place))
