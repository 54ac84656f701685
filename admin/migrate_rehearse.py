"""`quorate migrate rehearse`: there and back on a copy, before anything is touched."""

from functools import partial
from typing import Annotated

import trio
import typer

from quorate.admin.errors import Unhealthy
from quorate.admin.migrate_rehearsal import Rehearsal, go_there_and_back
from quorate.admin.output import Table, plural
from quorate.admin.zookeeper_trees import GivenTree, reads_tree, unquiet_words

_SHOWN = 20


@reads_tree
def rehearse(
    found: GivenTree,
    within: Annotated[
        float, typer.Option("--within", metavar="SECONDS", min=1, help="Give up after so long.")
    ] = 900.0,
) -> None:
    """Goes there and back on a copy of a tree, and compares.

    Copies it, writes to both sides, compares, and gives it back. A controller of its own does that, in this process
    and a temporary directory. Where the tree comes from nothing is written. Exit code 10 if it did not go well.
    """
    said: list[str] = []

    def tell(words: str) -> None:
        said.append(words)
        if found.printer.for_people:
            typer.echo(words, err=True)

    secret = next(iter(found.secrets), None)
    result = trio.run(partial(go_there_and_back, found.tree, secret=secret, tell=tell, within_s=within))
    document = {"source": found.source, "changed_while_read": list(found.unquiet), **result.document()}
    found.printer.show(document, *unquiet_words(found), *_for_people(result))
    if not result.went_well:
        raise _unwell(result)


def _for_people(result: Rehearsal) -> list[str | Table]:
    parts: list[str | Table] = [
        Table(
            ("STEP", "SECONDS", "WHAT CAME OF IT"),
            [(one.name, one.seconds, one.words) for one in result.steps],
        )
    ]
    if result.blockers:
        rows = [(one["path"], one["words"], one["remedy"] or None) for one in result.blockers[:_SHOWN]]
        parts.append(Table(("ZNODE", "WHAT", "WHAT TO DO"), rows))
    parts += [f"not as it was: {path}" for path in result.changed[:_SHOWN]]
    if result.went_well:
        parts.append("The rehearsal went well. Nothing was written to where the tree comes from.")
    return parts


def _unwell(result: Rehearsal) -> Unhealthy:
    if result.blockers:
        first = result.blockers[0]
        return Unhealthy(
            f"{plural(len(result.blockers), 'blocker')} must be mended first.",
            where=first["path"],
            why=first["words"],
            remedy=first["remedy"] or None,
        )
    if result.changed:
        return Unhealthy(
            "The rehearsal did not go well.",
            where=result.changed[0],
            why=f"{plural(len(result.changed), 'znode')} would not be as before, after the way back",
            remedy="see the warnings of `quorate migrate plan`: pending deletions, for one, are carried out",
        )
    error = result.status["last_error"]
    why = f"it ended in {result.status['state']}" if error is None else error["text"]
    return Unhealthy("The rehearsal did not go well.", why=why)
