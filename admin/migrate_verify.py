"""`quorate migrate verify`: whether ZooKeeper and the log say the same, with evidence."""

import enum
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Concatenate, ParamSpec

import attrs
import trio
import typer

from quorate.admin.asking import CLUSTER_OPTIONS, make_command, open_session
from quorate.admin.errors import Unhealthy
from quorate.admin.log_source import ClusterSource, DirectorySource
from quorate.admin.migrate_plan import LenientOption
from quorate.admin.options import DirectoryOption
from quorate.admin.output import Printer, Table, plural
from quorate.admin.zookeeper_trees import (
    TREE_OPTIONS,
    GivenTree,
    read_given_tree,
    unquiet_words,
)
from quorate.controller.migration.checks import Facts, Outcome
from quorate.controller.migration.difference import Difference
from quorate.controller.migration.verify import Phase, Verification, VerifyOptions
from quorate.controller.migration.verify import verify as compare
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import read_meta
from quorate.metadata.wire.cluster import DescribeClusterRequest
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_migration
from quorate.metadata.zookeeper.znodes import Tree

P = ParamSpec("P")

_SHOWN = 50


class PhaseChoice(enum.StrEnum):
    """The choices of --phase."""

    AUTO = "auto"
    COPIED = "copied"
    DUAL_WRITE = "dual-write"


@attrs.frozen(kw_only=True)
class BothSides:
    """What is compared, and how to answer."""

    printer: Printer
    tree: GivenTree
    image: MetadataImage
    cluster_id: str | None
    """None: it is not known."""


def _reads_both(function: Callable[Concatenate[BothSides, P], None]) -> Callable[..., None]:
    def run(printer: Printer, common: dict[str, Any], own: dict[str, Any]) -> None:
        async def both() -> BothSides:
            image, cluster_id = await _read_log(printer, common)
            tree = await read_given_tree(printer, common)
            return BothSides(printer=printer, tree=tree, image=image, cluster_id=cluster_id)

        function(trio.run(both), **own)  # type: ignore[call-arg]  # as in asking

    common = (("directory", DirectoryOption, None), *TREE_OPTIONS, *CLUSTER_OPTIONS)
    return make_command(function, common, run)


@_reads_both
def verify(
    both: BothSides,
    phase: Annotated[
        PhaseChoice,
        typer.Option(
            "--phase",
            help="copied: nobody wrote since the copy; dual-write: epochs of partitions have moved on.",
        ),
    ] = PhaseChoice.AUTO,
    evidence: Annotated[
        pathlib.Path | None,
        typer.Option("--evidence", metavar="FILE", help="Write all that was found to a file, as JSON."),
    ] = None,
    lenient: LenientOption = None,
) -> None:
    """Compares ZooKeeper with the cluster's log, row by row.

    Two decoders that share nothing read the two sides. The log is a running quorum's (--bootstrap) or a directory's
    (--directory). Exit code 10 if they differ.
    """
    tree = both.tree
    options = VerifyOptions(
        phase=_phase(phase, tree.tree),
        secrets=tree.secrets,
        lenient=frozenset(lenient or ()),
        facts=Facts(cluster_id=both.cluster_id, brokers_registered=bool(both.image.cluster.brokers)),
    )
    with both.printer.progress("Comparing"):
        result = compare(tree.tree, both.image, options)
    document = {"source": tree.source, "changed_while_read": list(tree.unquiet), **result.evidence()}
    if evidence is not None:
        evidence.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    both.printer.show(document, *unquiet_words(tree), *_for_people(result, tree))
    if not result.is_equal:
        raise _not_equal(result)


async def _read_log(printer: Printer, common: dict[str, Any]) -> tuple[MetadataImage, str | None]:
    directory: pathlib.Path | None = common["directory"]
    with printer.progress("Reading the log"):
        if directory is not None:
            image = await DirectorySource(printer, directory).image(None)
            return image, _cluster_of(directory)
        async with open_session(printer, common) as session:
            cluster_id = (await session.read(DescribeClusterRequest())).cluster_id
            return await ClusterSource(session).image(None), cluster_id


def _cluster_of(directory: pathlib.Path) -> str | None:
    """None: only a file of it was named."""
    return read_meta(RealFiles(), directory).cluster_id if directory.is_dir() else None


def _phase(choice: PhaseChoice, tree: Tree) -> Phase:
    """Of itself: a ZooKeeper that a quorum has written into is in dual write."""
    if choice is not PhaseChoice.AUTO:
        return Phase.COPIED if choice is PhaseChoice.COPIED else Phase.DUAL_WRITE
    node = tree.get(paths.MIGRATION)
    if node is None:
        return Phase.COPIED
    try:
        migration = decode_migration(node.data)
    except FormError:
        return Phase.COPIED
    return Phase.DUAL_WRITE if migration.is_copied else Phase.COPIED


def _for_people(result: Verification, found: GivenTree) -> Iterator[str | Table]:
    yield f"ZooKeeper ({found.source}) and the log behind offset {result.offset}, as {result.phase.value}:"
    rows = [
        (
            one.category.value,
            f"{one.zookeeper:,}",
            f"{one.log:,}",
            one.different,
            one.expected,
            one.digest_log[:16],
        )
        for one in result.categories
        if one.zookeeper or one.log or one.different
    ]
    yield Table(("KIND", "ZOOKEEPER", "LOG", "DIFFERENT", "EXPECTED", "DIGEST"), rows)
    yield f"Digest of all: {result.total_zookeeper[:32]} in ZooKeeper, {result.total_log[:32]} in the log"
    yield ""
    passed = sum(check.outcome is Outcome.PASSED for check in result.checks)
    skipped = sum(check.outcome is Outcome.NOT_CHECKED for check in result.checks)
    yield f"{plural(passed, 'comparison')} passed, {skipped} could not be made here."
    for check in result.checks:
        if not check.is_passed:
            yield f"  failed: {check.about}: {check.words}"
    for one in result.expected[:_SHOWN]:
        yield f"  expected ({one.expected}): {one.key} {one.field}".rstrip()
    if result.defaulted:
        yield f"  without a state in ZooKeeper: {', '.join(result.defaulted[:_SHOWN])}"
    yield "They say the same." if result.is_equal else "They do not say the same:"
    for one in result.differences[:_SHOWN]:
        yield from _difference(one)
    if len(result.differences) > _SHOWN:
        yield f"  and {len(result.differences) - _SHOWN:,} more: see --output json or --evidence"


def _difference(one: Difference) -> Iterator[str]:
    place = f" ({one.path}, version {one.version}, mzxid {one.mzxid:#x})" if one.path else ""
    yield f"  {one.kind.value}: {one.key} {one.field}".rstrip() + place
    yield f"    ZooKeeper: {_value(one.zookeeper)}"
    yield f"    log:       {_value(one.log)}"


def _value(value: Any) -> str:
    if value is None:
        return "(nothing)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=dict)


def _not_equal(result: Verification) -> Unhealthy:
    failed = [check for check in result.checks if not check.is_passed]
    return Unhealthy(
        "ZooKeeper and the log do not say the same.",
        where=result.differences[0].path or None if result.differences else None,
        why=f"{plural(len(result.differences), 'difference')}, {plural(len(failed), 'comparison')} failed",
        remedy="see above; while both sides are being written, ask again once nothing is left to be written",
    )
