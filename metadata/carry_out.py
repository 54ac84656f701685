"""Carrying out effects: the one synchronous plan that the node and the simulator share.

The order is that of the fields of `Effects`, and it is the safety argument (see there). Whatever raises in here ends
the process: the core has already moved on, and a core that is ahead of its disk must never speak again.
"""

import uuid
from typing import Protocol

import attrs

from quorate.metadata.batch import CorruptBatch
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Offset
from quorate.metadata.log.interface import Log, SnapshotNotFound
from quorate.metadata.quorum.effects import (
    Effects,
    Flush,
    ReadAnswer,
    RejectClusterId,
    SendRequest,
    SendResponse,
)
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import SnapshotInstalled, Token
from quorate.metadata.quorum.messages import FetchResponse, FetchSnapshotResponse, Response


class World(Protocol):
    """What a core's effects act upon: a disk, a network, and those who wait for commits."""

    @property
    def log(self) -> Log: ...

    def write_election(self, election: ElectionState) -> None:
        """Replaces the quorum-state file, durably, before it returns."""
        ...

    def wait_for_flush(self) -> None:
        """Returns when no flush runs: the log must not be cut under one."""
        ...

    def send_request(self, request: SendRequest) -> None: ...

    def send_response(self, token: Token, response: Response) -> None: ...

    def reject_cluster_id(self, token: Token) -> None: ...

    def start_flush(self, flush: Flush) -> None:
        """Begins a flush; its end comes back as LogFlushed with the same two values."""
        ...

    def committed(self, high_watermark: Offset) -> None:
        """Everything below is committed. Applying it may happen later."""
        ...

    def answer_read(self, answer: ReadAnswer) -> None:
        """A read may be answered, once so much is applied; or not by this node."""
        ...

    def superseded(self, recovery_id: uuid.UUID) -> None:
        """This node's log was given up. It raises: the core is not stepped again, the node begins anew."""
        ...

    def note(self, text: str) -> None: ...


def carry_out(effects: Effects, world: World) -> SnapshotInstalled | None:
    """Does what a step asked for. The event it returns, if any, must be the core's very next one."""
    installed: SnapshotInstalled | None = None
    for note in effects.notes:
        world.note(note)
    if effects.election is not None:
        world.write_election(effects.election)
    if effects.truncate_to is not None:
        world.wait_for_flush()
        world.log.truncate_to(effects.truncate_to)
    if effects.snapshot_chunk is not None:
        chunk = effects.snapshot_chunk
        world.log.write_snapshot_chunk(chunk.snapshot_id, chunk.position, chunk.data)
    if effects.install_snapshot is not None:
        world.wait_for_flush()
        try:
            world.log.install_snapshot(effects.install_snapshot)
        except CorruptBatch as problem:
            world.note(f"the fetched snapshot {effects.install_snapshot} is damaged: {problem}")
        installed = SnapshotInstalled(world.log.summary())
    if effects.append:
        world.log.append(effects.append, effects.flushed_to)
    for message in effects.send:
        match message:
            case SendRequest():
                world.send_request(message)
            case SendResponse(token=token, response=response):
                world.send_response(token, _with_data(world.log, response))
            case RejectClusterId(token=token):
                world.reject_cluster_id(token)
    if effects.flush is not None:
        world.start_flush(effects.flush)
    if effects.committed is not None:
        world.committed(effects.committed)
    for answer in effects.reads:
        world.answer_read(answer)
    if effects.drop_prefix is not None:
        world.log.drop_prefix(effects.drop_prefix.start, effects.drop_prefix.snapshots)
    if effects.superseded_by is not None:
        world.superseded(effects.superseded_by)
    return installed


def _with_data(log: Log, response: Response) -> Response:
    """Reads what the answer names: log batches, or a part of a snapshot."""
    match response:
        case FetchResponse(read=read) if read is not None:
            return FetchResponse(
                leader=response.leader,
                high_watermark=response.high_watermark,
                log_start=response.log_start,
                batches=tuple(log.read(read.start, read.end, read.max_bytes)),
                recovery_id=response.recovery_id,
            )
        case FetchSnapshotResponse(read=read) if read is not None:
            try:
                size, data = log.read_snapshot_chunk(read.snapshot_id, read.position, read.max_bytes)
            except SnapshotNotFound:
                return attrs.evolve(response, read=None, error=ErrorCode.snapshot_not_found)
            except ValueError:
                return attrs.evolve(response, read=None, error=ErrorCode.position_out_of_range)
            return attrs.evolve(response, read=None, size=size, data=data)
        case _:
            return response
