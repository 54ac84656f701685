"""`quorate snapshot`: the metadata of a running cluster as one file, and whether such a file is good."""

import pathlib
from typing import Annotated

import typer

from quorate.admin.asking import Session, asks_cluster, looks_offline
from quorate.admin.image_building import ImageBuilder
from quorate.admin.live_log import LiveLog, LoadedSnapshot
from quorate.admin.options import command_group
from quorate.admin.output import Printer
from quorate.admin.restoring import read_backup, write_backup
from quorate.metadata.log.history import quorum_records
from quorate.metadata.quorum.voters import VoterHistory
from quorate.metadata.wire.cluster import DescribeClusterRequest

app = command_group("Back a running cluster's metadata up, and check backups.")

FileArgument = Annotated[pathlib.Path, typer.Argument(metavar="FILE", help="The backup.")]


@app.command("save")
@asks_cluster
async def save(session: Session, path: FileArgument) -> None:
    """Writes all committed metadata of a running cluster to a new file.

    It is read from the leader as a replica reads it, and the file is read again and compared before the command ends.
    It holds what the cluster holds: SCRAM credentials and other secrets too. Restore with `quorate storage restore`.
    """
    cluster_id = (await session.read(DescribeClusterRequest())).cluster_id
    builder, history = ImageBuilder(), VoterHistory()
    log = LiveLog(session)
    with session.printer.progress("Reading the log"):
        while (piece := await log.next(wait=False)) is not None:
            if isinstance(piece, LoadedSnapshot):
                builder.load_snapshot(piece.id, piece.batches)
                control = [
                    one for batch in piece.batches if batch.is_control for one in quorum_records(batch)
                ]
                history = VoterHistory.of(control)
            else:
                builder.add(piece)
                for offset, record in quorum_records(piece) if piece.is_control else ():
                    history = history.with_record(offset, record)
    voters = history.last.record() if len(history.last) else None
    written = write_backup(path, cluster_id, builder.image(), voters)
    document = {"file": str(path), **written.document()}
    session.printer.show(document, f"Saved         {path}", *written.lines())


@app.command("verify")
@looks_offline
def verify(printer: Printer, path: FileArgument) -> None:
    """Reads a backup and says whether it is whole. Exit code 1 if it is not."""
    with printer.progress("Reading"):
        found = read_backup(path)
    document = {"file": str(path), **found.document()}
    printer.show(document, f"Good          {path}", *found.lines())
