"""`quorate migrate plan`: what a migration would be, before anything is touched."""

import os
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from quorate.admin.errors import Unhealthy
from quorate.admin.output import Table, plural
from quorate.admin.zookeeper_trees import GivenTree, reads_tree, unquiet_words
from quorate.controller.migration.plan import Estimate, Plan, PlanOptions, Sample, planned
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity, Trouble

LenientOption = Annotated[
    list[Category] | None,
    typer.Option(
        "--lenient",
        metavar="CATEGORY",
        help="Leave out what cannot be read of these (topics, acls, …), instead of refusing. Repeatable.",
    ),
]


@reads_tree
def plan(
    found: GivenTree,
    controllers: Annotated[
        list[int] | None,
        typer.Option(
            "--controller", metavar="ID", help="A controller's id in the new quorum: no broker may have it."
        ),
    ] = None,
    quorum_epoch: Annotated[
        int | None, typer.Option("--quorum-epoch", metavar="N", help="The quorum's epoch, where it is up.")
    ] = None,
    lenient: LenientOption = None,
) -> None:
    """Says what a migration would do, and what stands in its way.

    How long it takes too. It only reads. Exit code 10 if something must be mended first.
    """
    options = PlanOptions(
        reading=ReadOptions(secrets=found.secrets, lenient=frozenset(lenient or ())),
        controller_ids=tuple(controllers or ()),
        quorum_epoch=quorum_epoch,
        entropy=os.urandom,
    )
    with found.printer.progress("Planning"):
        started = time.perf_counter()
        made = planned(found.tree, read(found.tree, options.reading), options)
        took = time.perf_counter() - started
    estimate = made.estimate(Sample(read_seconds=found.seconds, copy_seconds=took))
    document = {"source": found.source, "changed_while_read": list(found.unquiet), **made.document(estimate)}
    found.printer.show(document, *unquiet_words(found), *_for_people(made, estimate, found))
    if not made.can_run:
        first = made.of(Severity.BLOCKER)[0]
        raise Unhealthy(
            f"{plural(len(made.of(Severity.BLOCKER)), 'blocker')} must be mended first.",
            where=first.path,
            why=first.words,
            remedy=first.remedy or None,
        )


def _for_people(made: Plan, estimate: Estimate, found: GivenTree) -> Iterator[str | Table]:
    yield f"Cluster {made.reading.cluster_id or '(unknown)'}, {plural(made.znodes, 'znode')}, from {found.source}"
    yield ""
    yield f"The copy writes {plural(made.total, 'record')} in {plural(made.batches, 'batch', 'batches')}:"
    yield Table(("RECORD", "COUNT"), [(kind, f"{count:,}") for kind, count in made.records.items()])
    yield ""
    yield from _sync(made)
    yield _epochs(made)
    yield _seconds(estimate)
    yield ""
    yield from _troubles(made)


def _sync(made: Plan) -> Iterator[str]:
    writes = sum(made.sync_writes.values())
    if not made.can_run:
        yield "What is written to ZooKeeper then can be told once nothing is in the way."
        return
    if not writes:
        yield "Then ZooKeeper says the same as the log: nothing is written there."
        return
    kinds = ", ".join(f"{count:,} of {category.value}" for category, count in made.sync_writes.items())
    yield f"Then {plural(writes, 'write')} make ZooKeeper say the same: {kinds}."
    if made.sync_removes:
        yield f"They take away {plural(len(made.sync_removes), 'znode')}, first {made.sync_removes[0]}."


def _epochs(made: Plan) -> str:
    quorum = "" if made.quorum_epoch is None else f", the quorum's {made.quorum_epoch}"
    return (
        f"The controller epoch is {made.reading.controller_epoch}, the highest in a partition "
        f"{made.reading.highest_controller_epoch}{quorum}: it is claimed with {made.claimed_epoch}."
    )


def _seconds(estimate: Estimate) -> str:
    reading = "" if estimate.reading is None else f"{estimate.reading:.1f} s reading, "
    return f"About {estimate.total:.1f} s: {reading}{estimate.copying:.1f} s copying, {estimate.syncing:.1f} s syncing."


def _troubles(made: Plan) -> Iterator[str | Table]:
    if not made.troubles:
        yield "There is nothing in its way."
        return
    counts = ", ".join(plural(len(made.of(severity)), severity.value) for severity in Severity)
    yield f"{counts}:"
    yield Table(("", "CODE", "ZNODE", "WHAT"), [_row(trouble) for trouble in made.troubles])
    remedies = {trouble.code: trouble.remedy for trouble in made.troubles if trouble.remedy}
    if remedies:
        yield ""
        yield "What to do:"
        for code, remedy in remedies.items():
            yield f"  {code}: {remedy}"


def _row(trouble: Trouble) -> tuple[str, ...]:
    return trouble.severity.value, trouble.code, trouble.path, trouble.words
