"""What happens to the active controller, and what it asks for. It has no clock, no socket and no log of its own."""

from typing import TypeAlias

import attrs

from quorate.controller.committed import Publication
from quorate.controller.requests import Answer, PendingRequest
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.quorum.voters import NO_VOTERS, VoterHistory
from quorate.metadata.records import AnyDataRecord


@attrs.frozen
class Submitted:
    """A request arrived. It is carried out in the next turn, but a heartbeat counts from this moment."""

    pending: PendingRequest


@attrs.frozen
class Turn:
    """Time to work: run what is due and what waits, and seal it into batches. Harmless at any moment.

    `log_end`: where the next batch would begin. `wall_ms`: for append times. `voters`: the quorum's, as far
    as its log goes.
    """

    log_end: Offset
    wall_ms: int
    voters: VoterHistory = NO_VOTERS


@attrs.frozen
class Committed:
    """These batches, contiguous with those before, are committed."""

    batches: tuple[RecordBatch, ...]


@attrs.frozen
class SnapshotLoaded:
    """A snapshot took the place of the log below its end."""

    snapshot_id: OffsetAndEpoch
    image: MetadataImage


@attrs.frozen
class BootstrapRead:
    """The records that `storage format` left for the first leader of an empty log."""

    records: tuple[AnyDataRecord, ...]


@attrs.frozen
class LeaderChanged:
    """Another leader or epoch is known."""

    leader: LeaderAndEpoch


@attrs.frozen
class Claimed:
    """This node leads `epoch`, and everything before its LeaderChange record, and that record, was committed and
    shown to this object."""

    epoch: Epoch
    next_offset: Offset


ControllerEvent: TypeAlias = (
    Submitted | Turn | Committed | SnapshotLoaded | BootstrapRead | LeaderChanged | Claimed
)


@attrs.frozen
class Fault:
    """A bug: what was being done, and what came of it. For logs."""

    what: str
    error: Exception


@attrs.frozen(kw_only=True)
class ControllerEffects:
    """What follows from a step, to be carried out in the order of the fields, without an await before `append` is
    handed to the quorum."""

    append: tuple[RecordBatch, ...] = ()
    """To propose, in this epoch, at `Turn.log_end`."""
    resign: str | None = None
    """Give up the leadership of this epoch, and why."""
    publications: tuple[Publication, ...] = ()
    """The committed image moved. Before the answers, so that who asks next sees what was done."""
    answers: tuple[Answer, ...] = ()
    notes: tuple[str, ...] = ()
    """What was decided and why, for logs."""
    faults: tuple[Fault, ...] = ()


NOTHING = ControllerEffects()
