"""The comparisons that an equal migration passes, one by one, each with its own verdict.

Most are a question to the differences that were found; some look at what no row has: who is the controller, what the
record of the migration says, whether everything that is named exists. What was not told to the verification is not
checked, and says so.
"""

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from quorate.controller.migration.difference import Difference, Kind
from quorate.controller.migration.model import DEFAULT, Model
from quorate.metadata.features import METADATA_VERSION
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationState
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    decode_cluster_id,
    decode_controller,
    decode_controller_epoch,
    decode_migration,
)
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.znodes import Tree


class Outcome(enum.StrEnum):
    """Of one check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"
    """It does not apply here, or what it needs was not told."""


@attrs.frozen(kw_only=True)
class Check:
    """One comparison."""

    number: int
    about: str
    outcome: Outcome
    words: str
    """What was found."""

    @property
    def is_passed(self) -> bool:
        """It did not fail."""
        return self.outcome is not Outcome.FAILED

    def document(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "about": self.about,
            "outcome": self.outcome.value,
            "words": self.words,
        }


@attrs.frozen(kw_only=True)
class Facts:
    """What is known besides the tree and the image; None: not known, so not checked."""

    cluster_id: str | None = None
    """That the quorum's directories were formatted with."""
    controller_id: int | None = None
    """Of the active controller, which claimed the cluster."""
    controller_epoch: int | None = None
    """Its epoch in the quorum."""
    zookeeper_epoch: int | None = None
    """What it claimed `/controller_epoch` with."""
    copied_to: tuple[int, int] | None = None
    """(offset, epoch) of the end of the migration's transaction, or of what was written to ZooKeeper last."""
    record_counts: Mapping[str, int] | None = None
    """Type of record -> how many the copy committed."""
    other_records: int | None = None
    """How many records the log has besides those of its beginning, registrations, and the copy."""
    brokers_registered: bool = True
    """False: no broker has had a chance to register, as in a rehearsal."""


def all_checks(
    tree: Tree,
    image: MetadataImage,
    left: Model,
    right: Model,
    told: Sequence[Difference],
    facts: Facts,
    just_copied: bool,
) -> Iterator[Check]:
    """All of them, by number."""
    yield from sorted(
        _Checks(tree, image, left, right, told, facts, just_copied).all(), key=lambda check: check.number
    )


_BY_DIFFERENCES: Final[tuple[tuple[int, str, Category, tuple[str, ...]], ...]] = (
    (2, "names of topics", Category.TOPICS, ("",)),
    (3, "ids of topics", Category.TOPICS, ("id",)),
    (4, "numbers of partitions", Category.TOPICS, ("partitions",)),
    (5, "replicas, in order", Category.PARTITIONS, ("", "replicas")),
    (6, "replicas that a reassignment adds and removes", Category.PARTITIONS, ("adding", "removing")),
    (7, "leaders", Category.PARTITIONS, ("leader",)),
    (8, "leader epochs", Category.PARTITIONS, ("leader epoch",)),
    (9, "in-sync replicas, in order", Category.PARTITIONS, ("isr",)),
    (10, "recovery states of leaders", Category.PARTITIONS, ("recovery",)),
    (13, "configs of topics", Category.TOPIC_CONFIGS, ("", "value")),
    (22, "credentials", Category.CREDENTIALS, ("", "salt", "stored key", "server key", "iterations")),
    (25, "ACLs", Category.ACLS, ("", "there")),
    (26, "delegation tokens", Category.TOKENS, ("", "owner", "requester", "renewers", "issued", "expires", "ends")),
)  # fmt: skip


@attrs.define
class _Checks:
    tree: Tree
    image: MetadataImage
    left: Model
    right: Model
    told: Sequence[Difference]
    facts: Facts
    just_copied: bool

    def all(self) -> Iterator[Check]:
        for number, about, category, fields in _BY_DIFFERENCES:
            yield self._by_differences(number, about, category, fields)
        yield from self._epochs_and_defaults()
        yield from self._configs()
        yield from self._quotas()
        yield from self._cluster()
        yield from self._brokers()
        yield from self._log()

    def _by_differences(self, number: int, about: str, category: Category, fields: tuple[str, ...]) -> Check:
        wrong = [
            d
            for d in self.told
            if d.category is category
            and not d.expected
            and (d.field in fields if d.kind is Kind.DIFFERENT else "" in fields)
        ]
        return _verdict(number, about, wrong, f"{len(self.left.rows[category]):,} compared")

    def _where(self, number: int, about: str, category: Category, of: str, without: str = "") -> Check:
        """Only rows whose key begins with `of`."""

        def mine(key: str) -> bool:
            return key.startswith(of) and not (without and without in key)

        wrong = [d for d in self.told if d.category is category and not d.expected and mine(d.key)]
        count = sum(mine(key) for key in self.left.rows[category])
        return _verdict(number, about, wrong, f"{count:,} compared")

    def _epochs_and_defaults(self) -> Iterator[Check]:
        about = "partition epochs are the versions of the states' znodes"
        if self.just_copied:
            yield self._by_differences(11, about, Category.PARTITIONS, ("partition epoch",))
        else:
            yield _not_checked(11, about, "that holds right after the copy only")
        count = len(self.left.defaulted)
        words = f"{count:,}: {', '.join(self.left.defaulted[:10])}" if count else "none"
        yield Check(number=12, about="partitions without a state", outcome=Outcome.PASSED, words=words)
        orphans = sorted({key.split(" ")[0] for key in self.left.aside[Category.TOPIC_CONFIGS]})
        words = f"{len(orphans):,}: {', '.join(orphans[:10])}" if orphans else "none"
        yield Check(number=14, about="configs without a topic", outcome=Outcome.PASSED, words=words)

    def _configs(self) -> Iterator[Check]:
        category = Category.BROKER_CONFIGS
        default = f"broker {DEFAULT} "
        yield self._where(15, "configs of brokers", category, "broker ", without=DEFAULT)
        yield self._where(16, "the default configs of all brokers", category, default)
        hidden = {
            key
            for model in (self.left, self.right)
            for key, row in model.rows[category].items()
            if str(row.fields.get("value", "")).startswith("hidden:")
        }
        wrong = [
            d
            for d in self.told
            if d.category is category and not d.expected and (d.key in hidden or d.kind is Kind.UNREADABLE)
        ]
        yield _verdict(17, "passwords of brokers, in clear text", wrong, f"{len(hidden):,} compared")

    def _quotas(self) -> Iterator[Check]:
        category = Category.QUOTAS
        yield self._where(18, "quotas of users", category, "user ")
        yield self._where(19, "quotas of clients", category, "client-id ", without=" user ")
        pairs = [d for d in self.told if d.category is category and not d.expected and " user " in d.key]
        count = sum(" user " in key for key in self.left.rows[category])
        yield _verdict(20, "quotas of users' clients", pairs, f"{count:,} compared")
        yield self._where(21, "quotas of IPs", category, "ip ")
        ours, theirs = _shapes(self.left), _shapes(self.right)
        words = ", ".join(f"{theirs[shape]:,} with {shape}" for shape in sorted(theirs)) or "none"
        outcome = Outcome.PASSED if ours == theirs or any(d.expected for d in self.told) else Outcome.FAILED
        yield Check(number=23, about="what users have", outcome=outcome, words=words)
        yield self._producer_ids()

    def _producer_ids(self) -> Check:
        about = "the next producer id is above all that were given"
        given, following = (
            m.rows[Category.PRODUCER_IDS].get("producer ids") for m in (self.left, self.right)
        )
        if given is None:
            return Check(number=24, about=about, outcome=Outcome.PASSED, words="none was given")
        ours, theirs = given.fields["next id"], None if following is None else following.fields["next id"]
        enough = isinstance(ours, int) and isinstance(theirs, int) and theirs >= ours
        words = f"ZooKeeper goes on at {ours}, the log at {theirs}"
        return Check(number=24, about=about, outcome=_outcome(enough), words=words)

    def _cluster(self) -> Iterator[Check]:
        about = "the id of the cluster"
        there = _decoded(self.tree, paths.CLUSTER_ID, decode_cluster_id)
        if self.facts.cluster_id is None:
            yield _not_checked(1, about, "the quorum's id was not told")
        else:
            words = f"{there} in ZooKeeper, {self.facts.cluster_id} in the quorum"
            yield Check(number=1, about=about, outcome=_outcome(there == self.facts.cluster_id), words=words)
        yield self._migration()
        yield self._controller()

    def _migration(self) -> Check:
        about = "the state of the migration, here and there"
        if self.facts.copied_to is None:
            return _not_checked(27, about, "it was not told up to where ZooKeeper is written")
        migration = _decoded(self.tree, paths.MIGRATION, decode_migration)
        offset, epoch = self.facts.copied_to
        there = None if migration is None else (migration.offset, migration.epoch)
        right = there == (offset, epoch) and self.image.migration is MigrationState.MIGRATION
        words = f"/migration says {there}, the log is {self.image.migration.name} at {(offset, epoch)}"
        return Check(number=27, about=about, outcome=_outcome(right), words=words)

    def _controller(self) -> Check:
        about = "the controller that ZooKeeper names"
        if self.facts.controller_id is None:
            return _not_checked(31, about, "no controller was told")
        controller = _decoded(self.tree, paths.CONTROLLER, decode_controller)
        epoch = _decoded(self.tree, paths.CONTROLLER_EPOCH, decode_controller_epoch)
        ephemeral = paths.CONTROLLER in self.tree and self.tree[paths.CONTROLLER].stat.ephemeral_owner != 0
        named = None if controller is None else (controller.broker_id, controller.kraft_epoch)
        right = named == (self.facts.controller_id, self.facts.controller_epoch) and not ephemeral
        right = right and self.facts.zookeeper_epoch in (None, epoch)
        words = (
            f"/controller names {named}{' (ephemeral)' if ephemeral else ''}, /controller_epoch is {epoch}"
        )
        return Check(number=31, about=about, outcome=_outcome(right), words=words)

    def _brokers(self) -> Iterator[Check]:
        about = "brokers of ZooKeeper mode are registered, and so is every broker with replicas"
        if not self.facts.brokers_registered:
            yield _not_checked(28, about, "brokers have not had a chance to register")
            yield _not_checked(30, "metadata.version is the protocol of every broker", "as above")
            return
        registered = {int(broker) for broker in self.image.cluster.brokers}
        missing = sorted(set(self.image.topics.brokers_with_replicas()) - registered)
        wrong = [d for d in self.told if d.category is Category.BROKERS and not d.expected]
        words = f"{len(registered):,} registered"
        if missing:
            words = f"brokers {missing[:10]} hold replicas and are not registered"
        yield Check(
            number=28,
            about=about,
            outcome=_outcome(not wrong and not missing),
            words=_first(wrong) if wrong else words,
        )
        yield self._protocols()

    def _protocols(self) -> Check:
        """A broker in ZooKeeper mode says its protocol as the one level that it supports."""
        about = "metadata.version is the protocol of every broker"
        level = self.image.features.metadata_version
        others = sorted(
            broker.id
            for broker in self.image.cluster.brokers.values()
            if broker.is_migrating_zk_broker
            and (said := broker.features.get(METADATA_VERSION)) is not None
            and not said.min_supported_version <= level <= said.max_supported_version
        )
        words = f"brokers {others[:10]} have another than {level}" if others else f"{level} everywhere"
        return Check(number=30, about=about, outcome=_outcome(not others), words=words)

    def _log(self) -> Iterator[Check]:
        about = "records of the copy, by type"
        if self.facts.record_counts is None:
            yield _not_checked(29, about, "the records were not told")
        else:
            wanted = _record_counts(self.left)
            given = {kind: count for kind, count in self.facts.record_counts.items() if count}
            words = ", ".join(
                f"{given.get(k, 0):,} of {wanted.get(k, 0):,} {k}" for k in sorted({*wanted, *given})
            )
            yield Check(number=29, about=about, outcome=_outcome(given == wanted), words=words)
        about = "nothing else is in the log"
        if self.facts.other_records is None:
            yield _not_checked(32, about, "the records were not told")
        else:
            count = self.facts.other_records
            yield Check(
                number=32, about=about, outcome=_outcome(count == 0), words=f"{count:,} other records"
            )


_RECORDS: Final = {
    "TopicRecord": (Category.TOPICS,),
    "PartitionRecord": (Category.PARTITIONS,),
    "ConfigRecord": (Category.TOPIC_CONFIGS, Category.BROKER_CONFIGS),
    "ClientQuotaRecord": (Category.QUOTAS,),
    "UserScramCredentialRecord": (Category.CREDENTIALS,),
    "ProducerIdsRecord": (Category.PRODUCER_IDS,),
    "AccessControlEntryRecord": (Category.ACLS,),
    "DelegationTokenRecord": (Category.TOKENS,),
}


def _record_counts(model: Model) -> dict[str, int]:
    counts = {
        kind: sum(len(model.rows[category]) for category in categories)
        for kind, categories in _RECORDS.items()
    }
    return {kind: count for kind, count in counts.items() if count}


def _shapes(model: Model) -> Counter[str]:
    """How many users have credentials only, quotas only, both, quotas of clients only."""
    found: dict[str, set[str]] = {}
    for key in model.rows[Category.CREDENTIALS]:
        found.setdefault(key.partition(" mechanism ")[0], set()).add("credentials")
    for key in model.rows[Category.QUOTAS]:
        entity = key.rpartition(" ")[0]
        if entity.startswith("user "):
            found.setdefault(entity, set()).add("quotas")
        elif " user " in entity:
            found.setdefault(f"user {entity.partition(' user ')[2]}", set()).add("quotas of clients")
    return Counter(" and ".join(sorted(shape)) for shape in found.values())


def _verdict(number: int, about: str, wrong: Sequence[Difference], words: str) -> Check:
    return Check(
        number=number, about=about, outcome=_outcome(not wrong), words=_first(wrong) if wrong else words
    )


def _first(wrong: Sequence[Difference]) -> str:
    return f"at {wrong[0].key}" + (f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else "")


def _outcome(passed: bool) -> Outcome:
    return Outcome.PASSED if passed else Outcome.FAILED


def _not_checked(number: int, about: str, why: str) -> Check:
    return Check(number=number, about=about, outcome=Outcome.NOT_CHECKED, words=why)


def _decoded(tree: Tree, path: str, decode: Any) -> Any:
    node = tree.get(path)
    if node is None:
        return None
    try:
        return decode(node.data)
    except FormError:
        return None
