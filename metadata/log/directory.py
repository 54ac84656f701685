"""A metadata directory as a whole: formatting it, opening it for a node, describing it (`quorate storage`).

`storage format` writes, in this order: the bootstrap records, the 0-0 snapshot with the first voters, quorum-state, and
last meta.properties: a crash in between leaves a directory that can be formatted again. A wiped disk gets another
directory id, so a voter does not come back as its old self (KIP-853), unless it is given the list of initial
controllers once more, which names the old id: nobody can tell that from the first time (docs/command-line.md).
"""

import enum
import random
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from quorate.metadata import features
from quorate.metadata.batch import CorruptBatch
from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import (
    FIRST_OFFSET,
    LOG_START,
    Endpoint,
    NodeId,
    random_uuid,
    uuid_from_text,
    uuid_to_text,
)
from quorate.metadata.log.files import Files, RealFiles, failing_storage, replace_file
from quorate.metadata.log.identity import DirectoryLock, MetaProperties, check_identity, read_meta
from quorate.metadata.log.layout import (
    ASIDE_SUFFIX,
    BOOTSTRAP,
    META_PROPERTIES,
    QUORUM_STATE,
    segment_base,
    snapshot_id_of,
    snapshot_name,
)
from quorate.metadata.log.quorum_state_file import QuorumStateFile, check_against_log
from quorate.metadata.log.recovery import RecoveryReport, Survey, survey, write_mark
from quorate.metadata.log.refusals import (
    AlreadyFormatted,
    FormatRefused,
    HalfFormatted,
    NotFormatted,
    QuorumStateRefused,
    SnapshotRefused,
)
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from quorate.metadata.log.snapshot_files import read_batches
from quorate.metadata.log.snapshot_format import BadSnapshot, SnapshotChecker, SnapshotComposer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.voters import VoterHistory, VoterSet
from quorate.metadata.records import (
    AnyDataRecord,
    DataRecord,
    KRaftVersionRecord,
    UserScramCredentialRecord,
    VersionRange,
    Voter,
    VotersRecord,
)

KRAFT_VERSIONS: Final = VersionRange(min_supported_version=0, max_supported_version=1)


class Quorum(enum.Enum):
    """How the first voters come into being (the three flags of `storage format`)."""

    STANDALONE = "--standalone"
    INITIAL_CONTROLLERS = "--initial-controllers"
    NONE = "--no-initial-controllers"


@attrs.frozen(kw_only=True)
class InitialVoter:
    """One entry of --initial-controllers: ID@HOST:PORT:DIRECTORY_ID."""

    id: NodeId
    host: str
    port: int
    directory_id: uuid.UUID

    @classmethod
    def parse(cls, text: str) -> "InitialVoter":
        """Raises: ValueError, with a text for people."""
        node, at, rest = text.strip().partition("@")
        address, _, directory = rest.rpartition(":")
        host, _, port = address.rpartition(":")
        if not (at and node.isdigit() and host and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{text!r} is not ID@HOST:PORT:DIRECTORY_ID")
        return cls(
            id=NodeId(int(node)),
            host=host.removeprefix("[").removesuffix("]"),
            port=int(port),
            directory_id=uuid_from_text(directory),
        )


@attrs.frozen(kw_only=True)
class FormatPlan:
    """What to format. `endpoint`: where this controller advertises its first controller listener."""

    directory: Path
    cluster_id: str
    node_id: NodeId
    listener: str
    is_controller: bool
    quorum: Quorum
    endpoint: Endpoint | None = None
    initial: Sequence[InitialVoter] = ()
    metadata_version: int = features.DEFAULT_METADATA_VERSION
    other_features: Sequence[tuple[str, int]] = ()
    credentials: Sequence[UserScramCredentialRecord] = ()
    """Users of the cluster's first moment: without one nobody could log in to make the others (KIP-900)."""
    ignore_formatted: bool = False


@attrs.frozen(kw_only=True)
class Formatted:
    """What `storage format` did; `already`: nothing, the directory was this node's before."""

    meta: MetaProperties
    already: bool


def format_directory(plan: FormatPlan, rng: random.Random, files: Files | None = None) -> Formatted:
    """Makes a directory ready for a node's first start.

    Raises:
        AlreadyFormatted, FormatRefused, ForeignDirectory, IdentityLost, DirectoryLocked: it is not touched.
        StorageFailed: the disk does not answer.
    """
    files = files or RealFiles()
    known = _known(files, plan.directory)
    if known is not None:
        return _already(plan, known)
    directory_id, voters = first_voters(plan, rng)
    meta = MetaProperties(cluster_id=plan.cluster_id, node_id=plan.node_id, directory_id=directory_id)
    with failing_storage("Formatting the directory", plan.directory):
        files.make_directory(plan.directory)
        lock = DirectoryLock.take(files, plan.directory)
        try:
            known = _known(files, plan.directory)
            if known is not None:  # another `storage format` was faster
                return _already(plan, known)
            _remove_leftovers(files, plan.directory)
            if plan.is_controller:
                records = features.format_records(plan.metadata_version, dict(plan.other_features))
                bootstrap = first_snapshot(None, (*records, *plan.credentials))
                replace_file(files, plan.directory / BOOTSTRAP, bootstrap)
                if voters is not None:
                    first = plan.directory / snapshot_name(LOG_START)
                    replace_file(files, first, first_snapshot(voters, ()))
            QuorumStateFile(files, plan.directory).write(ElectionState.primordial())
            replace_file(files, plan.directory / META_PROPERTIES, meta.encode())
        finally:
            lock.release()
    return Formatted(meta=meta, already=False)


def _known(files: Files, directory: Path) -> MetaProperties | None:
    try:
        return read_meta(files, directory)
    except (NotFormatted, HalfFormatted):
        return None


def _remove_leftovers(files: Files, directory: Path) -> None:
    """What a format that did not end has left: its voters need not be those of this one."""
    ours = (BOOTSTRAP, QUORUM_STATE, snapshot_name(LOG_START))
    for name in files.names(directory):
        if name in ours or name.endswith(ASIDE_SUFFIX):
            files.remove(directory / name)
    files.sync_directory(directory)


def _already(plan: FormatPlan, known: MetaProperties) -> Formatted:
    where = plan.directory / META_PROPERTIES
    same = (known.cluster_id, known.node_id) == (plan.cluster_id, plan.node_id)
    if plan.ignore_formatted and same:
        _check_directory_id(plan, known, where)
        return Formatted(meta=known, already=True)
    raise AlreadyFormatted(
        f"This directory is formatted already, for node {known.node_id} of cluster {known.cluster_id}",
        where=where,
        why=f"formatting it for node {plan.node_id} of cluster {plan.cluster_id} would make its data unusable",
        remedy="nothing, if that is what you want to start (--ignore-formatted makes this command succeed then);\n"
        "otherwise name an empty directory, or move this one away",
    )


def _check_directory_id(plan: FormatPlan, known: MetaProperties, where: Path) -> None:
    """Skipping is only right if the others, who have the same list, know this disk by its id."""
    for voter in plan.initial:
        if voter.id == known.node_id and voter.directory_id != known.directory_id:
            raise AlreadyFormatted(
                f"This directory is formatted already, with the directory id {uuid_to_text(known.directory_id)}",
                where=where,
                why="the list of initial controllers gives this node the directory id "
                + uuid_to_text(voter.directory_id),
                remedy="give every initial controller the list that this directory was formatted with;\n"
                "or name an empty directory, or move this one away",
            )


def first_voters(plan: FormatPlan, rng: random.Random) -> tuple[uuid.UUID, VotersRecord | None]:
    """This node's directory id, and the voters that are formatted in, if any."""
    match plan.quorum:
        case Quorum.NONE:
            return random_uuid(rng), None
        case Quorum.STANDALONE:
            if not plan.is_controller or plan.endpoint is None:
                raise _refused(plan, "only a controller can be the first voter")
            directory_id = random_uuid(rng)
            return directory_id, VotersRecord(voters=(_voter(plan.node_id, directory_id, plan.endpoint),))
        case Quorum.INITIAL_CONTROLLERS:
            mine = [one for one in plan.initial if one.id == plan.node_id]
            if not plan.is_controller or len(mine) != 1:
                raise _refused(plan, f"the list must name this node, {plan.node_id}, exactly once")
            if len({one.id for one in plan.initial}) != len(plan.initial):
                raise _refused(plan, "the list names a node twice")
            if len({one.directory_id for one in plan.initial}) != len(plan.initial):
                raise _refused(plan, "the list gives two nodes the same directory id")
            voters = tuple(
                _voter(one.id, one.directory_id, Endpoint(plan.listener, one.host, one.port))
                for one in sorted(plan.initial, key=lambda one: one.id)
            )
            return mine[0].directory_id, VotersRecord(voters=voters)


def _voter(node_id: NodeId, directory_id: uuid.UUID, endpoint: Endpoint) -> Voter:
    return Voter(
        voter_id=node_id,
        voter_directory_id=directory_id,
        endpoints=(endpoint,),
        kraft_version_feature=KRAFT_VERSIONS,
    )


def _refused(plan: FormatPlan, why: str) -> FormatRefused:
    return FormatRefused(
        f"{plan.quorum.value} does not fit this node",
        where=plan.directory,
        why=why,
        remedy="give every initial controller the same list ID@HOST:PORT:DIRECTORY_ID,… with its own id in it;\n"
        "brokers and controllers that are added later take --no-initial-controllers",
    )


def first_snapshot(voters: VotersRecord | None, records: Sequence[AnyDataRecord]) -> bytes:
    """The bytes of a snapshot 0-0: of the first voters, or of the cluster's first records."""
    composer = SnapshotComposer(LOG_START, wall_ms=0)
    kraft_version = None if voters is None else KRaftVersionRecord(k_raft_version=1)
    batches = [composer.header(last_contained_log_timestamp=0, kraft_version=kraft_version, voters=voters)]
    if records:
        batches.append(composer.data(records))
    batches.append(composer.footer())
    return b"".join(batch.data for batch in batches)


# ---- opening -----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OpenDirectory:
    """Everything a node needs from its disk. The lock is held until `close`."""

    meta: MetaProperties
    log: SegmentedLog
    elections: QuorumStateFile
    election: ElectionState
    bootstrap: tuple[AnyDataRecord, ...]
    """What `storage format` left for the first leader of an empty log."""
    report: RecoveryReport
    lock: DirectoryLock

    def close(self) -> None:
        self.log.close()
        self.lock.release()


def open_directory(
    directory: Path,
    *,
    node_id: NodeId,
    is_controller: bool,
    cluster_id: str | None = None,
    log_config: LogConfig | None = None,
    files: Files | None = None,
) -> OpenDirectory:
    """Opens, checks and recovers a formatted directory, in this order: one that is refused is as it was.

    Raises:
        StorageRefused: it must not be used as it is; the text says why and what to do.
        StorageFailed: the disk does not answer.
    """
    files = files or RealFiles()
    meta = read_meta(files, directory)
    check_identity(meta, directory, node_id=node_id, cluster_id=cluster_id)
    lock = DirectoryLock.take(files, directory)
    try:
        found = survey(files, directory, "update")
        try:
            known = _election(files, found, directory, is_controller=is_controller)
            bootstrap = _read_bootstrap(files, directory) if is_controller else ()
        except BaseException:
            found.close()
            raise
        log, report = SegmentedLog.open(files, directory, log_config, found)
        elections = QuorumStateFile(files, directory, log.reserve)
        try:
            election = known or _begin_anew(elections, log)
        except BaseException:
            log.close()
            raise
    except BaseException:
        lock.release()
        raise
    return OpenDirectory(
        meta=meta,
        log=log,
        elections=elections,
        election=election,
        bootstrap=bootstrap,
        report=report,
        lock=lock,
    )


def discard_copy(directory: Path, recovery_id: uuid.UUID | None, files: Files | None = None) -> None:
    """Throws an observer's log and snapshots away, and notes for which recovery of the quorum; None: for a quorum
    that was never recovered.

    The identity is written last: after a crash in between the node is told once more that its log was given up. The
    snapshot 0-0 goes too: its voters are those of a quorum that is no more.

    Raises:
        StorageRefused: not a directory of ours, or one that a process runs on. StorageFailed: the disk does not answer.
    """
    files = files or RealFiles()
    meta = read_meta(files, directory)
    lock = DirectoryLock.take(files, directory)
    try:
        with failing_storage("Discarding the log", directory):
            names = files.names(directory)
            # The mark first, and from the end on: what a crash leaves of the log is then a shorter log, and no damage.
            write_mark(files, directory, FIRST_OFFSET, durable=True)
            segments = [name for name in names if segment_base(name) is not None]
            snapshots = [name for name in names if snapshot_id_of(name) is not None]
            for name in (*reversed(segments), *snapshots):
                files.remove(directory / name)
                files.sync_directory(directory)
            content = attrs.evolve(meta, recovery_id=recovery_id).encode()
            replace_file(files, directory / META_PROPERTIES, content)
    finally:
        lock.release()


def _election(files: Files, log: Survey, directory: Path, *, is_controller: bool) -> ElectionState | None:
    """What the replica knew last; None: nothing, and it may begin anew.

    A controller may be a voter, and a voter must remember. A broker never votes.
    """
    try:
        election = QuorumStateFile(files, directory).read()
        check_against_log(election, log.last_epoch, directory)
    except QuorumStateRefused:
        if is_controller:
            raise
        return None
    return election


def _begin_anew(elections: QuorumStateFile, log: SegmentedLog) -> ElectionState:
    election = ElectionState(log.summary().end.epoch)
    elections.write(election)
    return election


def _read_bootstrap(files: Files, directory: Path) -> tuple[AnyDataRecord, ...]:
    path = directory / BOOTSTRAP
    checker = SnapshotChecker(LOG_START)
    records: list[AnyDataRecord] = []
    with failing_storage("Reading the bootstrap records", path):
        try:
            file = files.open(path, "read")
        except FileNotFoundError:
            return ()
        try:
            for _, batch in read_batches(file):
                checker.add(batch)
                records += [record for record in batch.records() if isinstance(record, DataRecord)]
            checker.finish()
        except (BadSnapshot, CorruptBatch, MalformedRecord) as problem:
            raise SnapshotRefused(
                f"{BOOTSTRAP} is damaged",
                where=path,
                why=str(problem),
                remedy="copy it from another initial controller, where it is the same; a cluster that has run before\n"
                "does not need it: then move it away",
            ) from problem
        finally:
            file.close()
    return tuple(records)


# ---- describing --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class DirectoryInfo:
    """What `storage info` shows."""

    meta: MetaProperties
    election: ElectionState | None
    """None: the file is missing or damaged."""
    log: RecoveryReport
    kraft_version: int
    voters: VoterSet


def describe_directory(directory: Path, files: Files | None = None) -> DirectoryInfo:
    """Looks at a directory without changing it; works beside a running node too.

    Raises:
        StorageRefused, StorageFailed: as `open_directory`.
    """
    files = files or RealFiles()
    meta = read_meta(files, directory)
    found = survey(files, directory, "read")
    found.close()
    history = VoterHistory.of(found.history.summary().control)
    try:
        election: ElectionState | None = QuorumStateFile(files, directory).read()
    except QuorumStateRefused:
        election = None
    return DirectoryInfo(
        meta=meta,
        election=election,
        log=found.report(),
        kraft_version=history.kraft_version,
        voters=history.last,
    )


__all__ = [
    "QUORUM_STATE",
    "DirectoryInfo",
    "FormatPlan",
    "Formatted",
    "InitialVoter",
    "OpenDirectory",
    "Quorum",
    "describe_directory",
    "discard_copy",
    "first_snapshot",
    "format_directory",
    "open_directory",
]
