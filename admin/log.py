"""`quorate log`: dump or export a directory's records, follow a log as it grows, verify and compare directories."""

import difflib
import pathlib
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import attrs
import typer

from quorate.admin import completing
from quorate.admin.asking import looks_offline
from quorate.admin.comparing_logs import Parting, compare
from quorate.admin.errors import CommandError, Refused, Unhealthy, WrongUsage
from quorate.admin.explain import translate
from quorate.admin.exporting import exported
from quorate.admin.log_source import LogSource, newest, reads_log
from quorate.admin.offline_log import Ends, LogFiles, Piece
from quorate.admin.options import PathArgument, command_group
from quorate.admin.output import Form, Printer, plural
from quorate.admin.parsing import names
from quorate.admin.record_text import (
    batch_document,
    batch_line,
    placed_record_document,
    record_line,
    time_text,
    type_name,
    type_names,
)
from quorate.admin.verifying import Verified, verify_directory
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.image import ReplayError
from quorate.metadata.log.directory import describe_directory
from quorate.metadata.log.refusals import StorageRefused
from quorate.metadata.records import AnyRecord

app = command_group("Dump, follow, verify, compare and export the log's records.")

TypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Only records of this type, such as TOPIC_RECORD; may be repeated.",
        autocompletion=completing.record_type,
    ),
]
WholeDirectory = Annotated[
    pathlib.Path, typer.Argument(metavar="DIRECTORY", help="A node's metadata.log.dir.")
]
FromOption = Annotated[
    int | None, typer.Option("--from", metavar="OFFSET", min=0, help="The first offset shown.")
]


@attrs.frozen(kw_only=True)
class _Wanted:
    """Which records are shown."""

    first: int = 0
    last: int | None = None
    types: frozenset[str] = frozenset()

    def of(self, batch: RecordBatch) -> Iterator[tuple[int, AnyRecord]]:
        if batch.end_offset <= self.first or (self.last is not None and batch.base_offset > self.last):
            return
        for offset, record in enumerate(batch.records(), batch.base_offset):
            if offset < self.first or (self.last is not None and offset > self.last):
                continue
            if not self.types or type_name(record) in self.types:
                yield offset, record


# --- dump


@app.command("dump")
@looks_offline
def dump(
    printer: Printer,
    path: PathArgument,
    first: FromOption = None,
    last: Annotated[
        int | None, typer.Option("--to", metavar="OFFSET", min=0, help="The last offset shown.")
    ] = None,
    type: TypeOption = None,
    batches_only: Annotated[
        bool, typer.Option("--batches-only", help="What stands in the batches' heads, without records.")
    ] = False,
) -> None:
    """Prints the records of a directory or a file.

    A directory is read segment by segment; a snapshot is dumped by naming its file. With --output json there is one
    record per line.
    """
    wanted = _Wanted(first=first or 0, last=last, types=_types(type))
    shown_file = None
    for piece in LogFiles.at(path).pieces():
        if isinstance(piece, Ends):
            sys.stderr.write(f"The intact batches end here: {piece}\n")
            continue
        records = [] if batches_only else list(wanted.of(piece.batch))
        if not records and not (batches_only and next(wanted.of(piece.batch), None) is not None):
            continue
        if piece.path != shown_file:
            shown_file = piece.path
            _say(printer, str(piece.path))
        _dump_batch(printer, piece, records)


def _dump_batch(printer: Printer, piece: Piece, records: list[tuple[int, AnyRecord]]) -> None:
    batch = piece.batch
    _say(printer, f"{batch_line(batch)}  at byte {piece.position}")
    if not records:
        document = {"file": piece.path.name, "position": piece.position, **batch_document(batch)}
        if not printer.for_people:
            printer.line(document, "")
    for offset, record in records:
        printer.line(
            {"file": piece.path.name, **placed_record_document(batch, offset, record)},
            record_line(offset, record),
        )


def _types(texts: list[str] | None) -> frozenset[str]:
    known = set(type_names())
    found = {text.upper() for text in names(texts or ())}
    for text in sorted(found - known):
        close = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
        raise WrongUsage(
            f"There is no record type {text}.", remedy=f"did you mean {close[0]}?" if close else None
        )
    return frozenset(found)


# --- tail


@app.command("tail")
@reads_log
async def tail(
    source: LogSource,
    lines: Annotated[
        int,
        typer.Option("--lines", "-n", metavar="N", min=0, help="How many of the last records to begin with."),
    ] = 10,
    first: FromOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")
    ] = False,
    type: TypeOption = None,
) -> None:
    """Prints the end of a log; live, only what is committed."""
    wanted = _Wanted(first=first or 0, types=_types(type))
    if first is None:
        batches = await newest(source, lines, lambda batch: len(list(wanted.of(batch))))
        records = [(batch, *found) for batch in batches for found in wanted.of(batch)]
        for found in records[len(records) - min(lines, len(records)) :]:
            _tail_record(source, *found)
        if not follow:
            return
    while (batch := await source.next(wait=follow)) is not None:
        for offset, record in wanted.of(batch):
            _tail_record(source, batch, offset, record)


def _tail_record(source: LogSource, batch: RecordBatch, offset: int, record: AnyRecord) -> None:
    source.printer.line(placed_record_document(batch, offset, record), _tail_line(batch, offset, record))


def _tail_line(batch: RecordBatch, offset: int, record: AnyRecord) -> str:
    return f"{time_text(batch.append_time_ms)}  epoch {batch.epoch}{record_line(offset, record)}"


# --- verify


@app.command("verify")
@looks_offline
def verify(
    printer: Printer,
    paths: Annotated[
        list[pathlib.Path],
        typer.Argument(metavar="DIRECTORY…", help="The metadata.log.dir of one or more nodes."),
    ],
) -> None:
    """Reads whole directories and says whether they are good.

    Checksums, order, epochs, snapshots and votes are checked, every record is replayed, and every snapshot that the
    log still reaches is compared with the log. Nothing is changed. Exit code 1 if one cannot be trusted; the others
    are read all the same. With --output json there is one directory per line.
    """
    bad: list[pathlib.Path] = []
    for path in paths:
        try:
            with printer.progress(f"Reading {path}"):
                found = verify_directory(path)
        except (StorageRefused, CommandError, InvariantViolated, ReplayError) as error:
            if len(paths) == 1:
                raise
            bad.append(path)
            told = translate(error)
            printer.line(
                {"directory": str(path), "error": told.document()}, f"{path}: NOT GOOD\n{told.text()}\n"
            )
            continue
        text = "\n".join(_verified_lines(found)) + ("\n" if len(paths) > 1 else "")
        printer.line(_verified_document(found), text)
    if bad:
        raise Refused(
            f"{len(bad)} of {plural(len(paths), 'directory', 'directories')} cannot be trusted.",
            where=", ".join(map(str, bad)),
        )


def _verified_document(found: Verified) -> dict[str, Any]:
    return {
        "directory": str(found.directory),
        "cluster_id": found.info.meta.cluster_id,
        "node_id": found.info.meta.node_id,
        "log_start": found.info.log.start,
        "log_end": found.info.log.end.offset,
        "last_epoch": found.info.log.end.epoch,
        "flushed_to": found.info.log.flushed_to,
        "segments": found.info.log.segments,
        "batches": found.info.log.batches,
        "snapshots": [
            {"id": str(one.id), "records": one.records, "digest": one.digest, "agrees_with_log": one.agrees}
            for one in found.snapshots
        ],
        "image_offset": found.offset,
        "image_digest": found.digest,
        "findings": list(found.info.log.lines()[1:]),
    }


def _verified_lines(found: Verified) -> list[str]:
    log = found.info.log
    batches = f"{plural(log.batches, 'batch', 'batches')} in {plural(log.segments, 'segment')}"
    compared = {True: "agrees with the log", False: "DIFFERS FROM THE LOG", None: "the log before it is gone"}
    return [
        f"{found.directory}: node {found.info.meta.node_id} of cluster {found.info.meta.cluster_id}",
        f"log        offsets {log.start} to {log.end.offset}, last epoch {log.end.epoch}; {batches}, all intact",
        *(
            f"snapshot   {one.id}: {plural(one.records, 'record')}, {compared[one.agrees]}"
            for one in found.snapshots
        ),
        f"image      behind offset {found.offset}: digest {found.digest}",
        *(f"note       {line}" for line in log.lines()[1:]),
    ]


# --- diff and export


@app.command("diff")
@looks_offline
def diff(printer: Printer, left: WholeDirectory, right: WholeDirectory) -> None:
    """Compares two nodes' logs: where do they part.

    And what either has from there on. A log that merely ends earlier is no difference. Nothing is changed. Exit
    code 10 if both go on, each its own way.
    """
    with printer.progress("Reading"):
        parting = compare(left, right)
    document = {"left": str(left), "right": str(right), "parting": parting.document()}
    printer.show(document, *_parting_lines(left, right, parting))
    if parting.diverge:
        raise Unhealthy(
            "The logs diverge.",
            why=f"they are the same up to offset {parting.at.offset}; behind it each has records of its own",
            remedy="what a majority of the voters has is committed; in a running quorum the others give theirs up by\n"
            "themselves. Without a quorum see `quorate storage recover --dry-run`",
        )


def _parting_lines(left: pathlib.Path, right: pathlib.Path, parting: Parting) -> Iterator[str]:
    if parting.compared_from is None:
        yield "No offset can be read in both: one log begins, with a snapshot, behind the other's end."
    elif parting.same:
        yield f"The same records, from offset {parting.compared_from} to {parting.at.offset}."
        return
    else:
        yield f"The same up to offset {parting.at.offset} (epoch {parting.at.epoch}), from {parting.compared_from} on."
    for path, tail in ((left, parting.left), (right, parting.right)):
        yield f"{path}: {tail.text()}"
        yield from (record_line(offset, record) for offset, _, record in tail.shown)
        if tail.count > len(tail.shown):
            yield f"  … and {tail.count - len(tail.shown)} more (`quorate log dump --from {tail.shown[-1][0] + 1}`)"


@app.command("export")
@looks_offline
def export(printer: Printer, path: WholeDirectory) -> None:
    """Prints all that a directory holds as JSON.

    One record per line: its newest snapshot, then the log behind it. Every line has a "kind": directory, snapshot,
    record, and at last end; see docs/recovery.md. Secrets are left out.
    """
    info = describe_directory(path)
    lines = Printer(Form.JSON)
    printer.printed = True
    for document in exported(path, info):
        lines.line(document, "")


def _say(printer: Printer, text: str) -> None:
    """A headline for people."""
    if printer.for_people:
        printer.line({}, text)
