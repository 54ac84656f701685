"""Whether ZooKeeper and the log say the same: every difference with its place and both values, digests to sign off.

Everything is collected, nothing is averaged away: what may differ is on a list (`EXPECTED`), each case of it is told
beside the differences, and what is not compared at all is named in the evidence.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from quorate.controller.migration.checks import Check, Facts, all_checks
from quorate.controller.migration.difference import Difference, Kind
from quorate.controller.migration.model import (
    Fields,
    Model,
    Row,
    Value,
    hider,
    keys_without_form,
    model_of_image,
)
from quorate.controller.migration.tree_model import model_of_tree
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.zookeeper.kafka_znodes.layout import unwritable
from quorate.metadata.zookeeper.kafka_znodes.places import category_of
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.znodes import Tree


class Phase(enum.StrEnum):
    """How far the migration is: it decides what may differ."""

    COPIED = "copied"
    """Nobody has written since the copy: everything is equal."""
    DUAL_WRITE = "dual write"
    """ZooKeeper follows the log: epochs of partitions have gone their own ways."""


EXPECTED: Final[Mapping[str, str]] = {
    "partition-epoch": "In dual write several changes of a partition may be one write: epoch and version part",
    "pending-deletion": "A topic that is being deleted is not copied",
    "orphan-config": "Configs of a topic that does not exist are not copied",
    "left-out": "What means nothing was left out on purpose",
    "kraft-broker": "A broker that has left ZooKeeper mode has no znode any more",
    "no-form": "ZooKeeper has no form for it",
}
"""Differences that are as they should be. Each one found is told with its code."""

NOT_COMPARED: Final = (
    "ids of ACLs: ZooKeeper has none",
    "log directories of replicas, eligible leader replicas, feature levels: ZooKeeper has no form for them",
    "the controller epoch in states of partitions: it says who wrote them",
    "begin and broker of the block of producer ids: only the next id counts",
    "the order of members in JSON, empty nodes of configs, notifications, time stamps of /controller",
    "ciphertext of passwords: they are compared in clear text, and shown as hashes",
    "access control lists of znodes",
)


@attrs.frozen(kw_only=True)
class VerifyOptions:
    """What else is known about both sides."""

    phase: Phase = Phase.COPIED
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    """`password.encoder.secret`, and the old one."""
    lenient: frozenset[Category] = frozenset()
    """What was left out on purpose where it meant nothing."""
    facts: Facts = attrs.Factory(Facts)


@attrs.frozen(kw_only=True)
class CategoryResult:
    """One kind of metadata: rows, digests, differences."""

    category: Category
    zookeeper: int
    log: int
    digest_zookeeper: str
    digest_log: str
    different: int
    expected: int


@attrs.frozen(kw_only=True)
class Verification:
    """All that was found."""

    phase: Phase
    offset: int
    epoch: int
    categories: tuple[CategoryResult, ...]
    total_zookeeper: str
    total_log: str
    differences: tuple[Difference, ...]
    expected: tuple[Difference, ...]
    defaulted: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def is_equal(self) -> bool:
        """No difference that should not be, and no check that failed."""
        return not self.differences and all(check.is_passed for check in self.checks)

    def evidence(self) -> dict[str, Any]:
        """All of it as one JSON document, without any secret."""
        return {
            "equal": self.is_equal,
            "phase": self.phase.value,
            "offset": self.offset,
            "epoch": self.epoch,
            "digests": {"zookeeper": self.total_zookeeper, "log": self.total_log},
            "categories": [_category_document(one) for one in self.categories],
            "checks": [one.document() for one in self.checks],
            "differences": [_difference_document(one) for one in self.differences],
            "expected": [_difference_document(one) for one in self.expected],
            "expected_codes": dict(EXPECTED),
            "defaulted": list(self.defaulted),
            "not_compared": list(NOT_COMPARED),
        }


def _category_document(one: CategoryResult) -> dict[str, Any]:
    return {
        "category": one.category.value,
        "rows": {"zookeeper": one.zookeeper, "log": one.log},
        "digests": {"zookeeper": one.digest_zookeeper, "log": one.digest_log},
        "different": one.different,
        "expected": one.expected,
    }


def _difference_document(one: Difference) -> dict[str, Any]:
    def plain(value: Value | Fields) -> Any:
        return dict(value) if isinstance(value, Mapping) else value

    return {
        "category": one.category.value,
        "kind": one.kind.value,
        "key": one.key,
        "field": one.field or None,
        "path": one.path or None,
        "version": one.version if one.version >= 0 else None,
        "mzxid": one.mzxid if one.mzxid >= 0 else None,
        "zookeeper": plain(one.zookeeper),
        "log": plain(one.log),
        "expected": one.expected or None,
    }


def verify(tree: Tree, image: MetadataImage, options: VerifyOptions) -> Verification:
    """Compares all of it."""
    hide = hider(options.facts.cluster_id)
    left = model_of_tree(tree, hide, options.secrets)
    right = model_of_image(image, hide)
    comparison = _Comparison(left, right, options, tree, keys_without_form(image, bool(options.secrets)))
    told = (*comparison.differences(), *_other_resources(image))
    differences = tuple(one for one in told if not one.expected)
    expected = tuple(one for one in told if one.expected)
    for model in (left, right):
        _forget_what_may_differ(model, options, {(one.category, one.key) for one in expected})
    return Verification(
        phase=options.phase,
        offset=image.offset,
        epoch=image.provenance.epoch,
        categories=tuple(_result(category, left, right, told) for category in Category),
        total_zookeeper=left.total_digest(),
        total_log=right.total_digest(),
        differences=differences,
        expected=expected,
        defaulted=tuple(left.defaulted),
        checks=tuple(
            all_checks(tree, image, left, right, told, options.facts, options.phase is Phase.COPIED)
        ),
    )


def _result(category: Category, left: Model, right: Model, told: tuple[Difference, ...]) -> CategoryResult:
    mine = [one for one in told if one.category is category]
    return CategoryResult(
        category=category,
        zookeeper=len(left.rows[category]),
        log=len(right.rows[category]),
        digest_zookeeper=left.digest(category),
        digest_log=right.digest(category),
        different=sum(not one.expected for one in mine),
        expected=sum(bool(one.expected) for one in mine),
    )


def _forget_what_may_differ(
    model: Model, options: VerifyOptions, expected: set[tuple[Category, str]]
) -> None:
    """So that digests are equal exactly where there is no difference that should not be."""
    if options.phase is Phase.DUAL_WRITE:
        partitions = model.rows[Category.PARTITIONS]
        for key, row in partitions.items():
            kept = {name: value for name, value in row.fields.items() if name != "partition epoch"}
            partitions[key] = attrs.evolve(row, fields=kept)
    for category, key in expected:
        if category is not Category.PARTITIONS:
            model.rows[category].pop(key, None)
    if not options.facts.brokers_registered:
        model.rows[Category.BROKERS].clear()


@attrs.define
class _Comparison:
    left: Model
    right: Model
    options: VerifyOptions
    tree: Tree
    without_form: frozenset[tuple[Category, str]]

    def differences(self) -> Iterator[Difference]:
        for category in Category:
            if category is Category.BROKERS and not self.options.facts.brokers_registered:
                continue
            ours, theirs = self.left.rows[category], self.right.rows[category]
            for key in sorted({*ours, *theirs}):
                yield from self._of(category, key, ours.get(key), theirs.get(key))
            for key, row in sorted(self.left.aside[category].items()):
                yield self._aside(category, key, row)
        for path, why in sorted(self.left.unreadable):
            yield self._unreadable(path, why)

    def _of(self, category: Category, key: str, ours: Row | None, theirs: Row | None) -> Iterator[Difference]:
        if ours is not None and theirs is not None:
            for field in sorted({*ours.fields, *theirs.fields}):
                yield from self._field(category, key, field, ours, theirs)
        elif ours is not None:
            yield Difference(
                category=category,
                kind=Kind.ONLY_ZOOKEEPER,
                key=key,
                field="",
                path=ours.path,
                version=ours.version,
                mzxid=ours.mzxid,
                zookeeper=ours.fields,
                log=None,
            )
        elif theirs is not None:
            yield self._only_log(category, key, theirs)

    def _only_log(self, category: Category, key: str, row: Row) -> Difference:
        return Difference(
            category=category,
            kind=Kind.ONLY_LOG,
            key=key,
            field="",
            path="",
            version=-1,
            mzxid=-1,
            zookeeper=None,
            log=row.fields,
            expected=self._why_only_log(category, key),
        )

    def _why_only_log(self, category: Category, key: str) -> str:
        if category is Category.BROKERS:
            return "kraft-broker"
        return "no-form" if (category, key) in self.without_form else ""

    def _field(
        self, category: Category, key: str, field: str, ours: Row, theirs: Row
    ) -> Iterator[Difference]:
        left, right = ours.fields.get(field), theirs.fields.get(field)
        # True is 1 and 1.0 is 1 to Python; here they are not.
        if type(left) is type(right) and left == right:
            return
        drifted = field == "partition epoch" and self.options.phase is Phase.DUAL_WRITE
        yield Difference(
            category=category,
            kind=Kind.DIFFERENT,
            key=key,
            field=field,
            path=ours.path,
            version=ours.version,
            mzxid=ours.mzxid,
            zookeeper=left,
            log=right,
            expected="partition-epoch" if drifted else "",
        )

    def _aside(self, category: Category, key: str, row: Row) -> Difference:
        return Difference(
            category=category,
            kind=Kind.ONLY_ZOOKEEPER,
            key=key,
            field="",
            path=row.path,
            version=self.tree[row.path].stat.version,
            mzxid=self.tree[row.path].stat.mzxid,
            zookeeper=None,
            log=None,
            expected="pending-deletion" if category is Category.TOPICS else "orphan-config",
        )

    def _unreadable(self, path: str, why: str) -> Difference:
        category = category_of(path)
        stat = self.tree[path].stat
        return Difference(
            category=category,
            kind=Kind.UNREADABLE,
            key=path,
            field="",
            path=path,
            version=stat.version,
            mzxid=stat.mzxid,
            zookeeper=why,
            log=None,
            expected="left-out" if category in self.options.lenient else "",
        )


def _other_resources(image: MetadataImage) -> Iterator[Difference]:
    """Configs of what ZooKeeper mode does not know: client metrics, groups."""
    for one in unwritable(image, with_secret=True):
        if one.about.startswith("resource ") and one.category is Category.BROKER_CONFIGS:
            yield Difference(
                category=one.category,
                kind=Kind.ONLY_LOG,
                key=one.about,
                field="",
                path="",
                version=-1,
                mzxid=-1,
                zookeeper=None,
                log=one.words,
                expected="no-form",
            )
