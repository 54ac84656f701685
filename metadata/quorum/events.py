"""Everything that can happen to a replica. `RaftCore.step` takes one of these, and the time."""

import enum
from typing import NewType

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import LogSummary
from quorate.metadata.quorum.messages import Request, Response

Token = NewType("Token", int)
"""Names a request that came in, so that its answer finds the way back. Chosen by the shell."""

Correlation = NewType("Correlation", int)
"""Names a request that we sent, so that its answer is told from those of requests given up. Chosen by the core."""


ReadId = NewType("ReadId", int)
"""Names a read that wants to know that this node still leads. Chosen by the shell."""


class Failure(enum.Enum):
    """Why a request of ours got no answer."""

    REFUSED = "refused"
    """Nobody listens there: the process is gone."""
    RESET = "reset"
    """The connection broke; the request may have arrived."""
    TIMED_OUT = "timed out"
    UNSUPPORTED = "unsupported version"
    """The peer does not speak a version of the request that we need."""


@attrs.frozen
class Started:
    """The first event of a core's life: it has read its disk."""


@attrs.frozen
class TimePassed:
    """A deadline may be due. Harmless at any moment."""


@attrs.frozen
class RequestReceived:
    """cluster_id None: the sender did not say (older versions), so it is not checked."""

    token: Token
    request: Request
    cluster_id: str | None = None


@attrs.frozen
class ResponseReceived:
    correlation: Correlation
    response: Response


@attrs.frozen
class RequestFailed:
    correlation: Correlation
    failure: Failure


@attrs.frozen
class Proposed:
    """The active controller's sealed batches; they must start at the log's end and carry the leader's epoch."""

    epoch: Epoch
    batches: tuple[RecordBatch, ...]


@attrs.frozen
class ReadRequested:
    """A read has arrived: is what this node has committed still all that there is? Answered in Effects.reads."""

    read_id: ReadId


@attrs.frozen
class LogFlushed:
    """A flush ended well. One of an older generation speaks of bytes that were cut off since."""

    end_offset: Offset
    generation: int


@attrs.frozen
class SnapshotInstalled:
    """The fetched snapshot is on disk and the log restarts at its end."""

    summary: LogSummary


@attrs.frozen
class SnapshotCreated:
    """A snapshot of our own is complete on disk."""

    snapshot_id: OffsetAndEpoch


@attrs.frozen
class RetentionReached:
    """Log and snapshots are more than is to be kept: they should begin with this snapshot (`retention`)."""

    oldest_kept: OffsetAndEpoch


@attrs.frozen
class ResignRequested:
    """The controller cannot go on as leader of this epoch (a fault after an append, a full disk)."""

    epoch: Epoch
    reason: str


@attrs.frozen
class SpaceChanged:
    """The disk fell below the free-space floor, or has room again. Met before it is full (ENOSPC is the end)."""

    low: bool


@attrs.frozen
class ShutdownRequested:
    """An orderly stop: a leader hands over first."""


Event = (
    Started
    | TimePassed
    | RequestReceived
    | ResponseReceived
    | RequestFailed
    | Proposed
    | ReadRequested
    | LogFlushed
    | SnapshotInstalled
    | SnapshotCreated
    | RetentionReached
    | ResignRequested
    | SpaceChanged
    | ShutdownRequested
)
