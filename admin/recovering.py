"""Recovery without a quorum: which log is to live on, what that loses, and the directory that is made of it.

The question is what was acknowledged. A record was if a majority of the voters had it on disk; of a log that stands
alone nobody can tell any more. So the log with the highest last epoch goes first, and of these the longest (Raft elects
by the same rule); brokers' logs are evidence: a broker is served committed records only, so whatever it holds was
acknowledged. What the choice loses against each other log that is shown is said in records, offsets and topics; what
it loses against logs that are not shown, nobody can say.
"""

import getpass
import pathlib
import random
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from quorate.admin.comparing_logs import Parting, States, compare_logs, ends, lost_and_back
from quorate.admin.errors import Refused, WrongUsage
from quorate.admin.image_building import ImageBuilder
from quorate.admin.offline_log import LogFiles
from quorate.admin.quorum_view import WHO_IS_THERE, ask_all
from quorate.admin.talk import Manner, failed
from quorate.admin.verifying import verify_directory
from quorate.metadata.addresses import Address
from quorate.metadata.connection import ClientSecurity, Failure, FailureKind
from quorate.metadata.features import LIGHTWEIGHT
from quorate.metadata.ids import ZERO_UUID, Endpoint, Epoch, NodeId, random_uuid, uuid_to_text
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.writer import digest
from quorate.metadata.log.directory import KRAFT_VERSIONS, DirectoryInfo, describe_directory
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import MetaProperties, locked_by
from quorate.metadata.log.layout import BOOTSTRAP
from quorate.metadata.log.new_quorum import Recovery, exchange, recover_directory
from quorate.metadata.log.refusals import StorageRefused
from quorate.metadata.quorum.recoveries import first_epoch
from quorate.metadata.quorum.voters import VoterSet
from quorate.metadata.records import QuorumRecoveryRecord, Voter

RECOVER: Final = "recover"
_PATIENCE_MS: Final = 2_000
"""What a voter may take to answer before it counts as one that does not."""


@attrs.frozen(kw_only=True)
class Shown:
    """A directory that was shown. `info` None: it cannot be read, `problem` says why."""

    directory: pathlib.Path
    is_controller: bool
    info: DirectoryInfo | None = None
    problem: StorageRefused | None = None
    process: str | None = None
    """The process that runs on it."""

    @property
    def may_be_chosen(self) -> bool:
        return self.is_controller and self.info is not None

    @property
    def rank(self) -> tuple[int, int, int]:
        """Raft's rule: the last epoch, then the length; what is surely flushed decides among equals."""
        if self.info is None:
            return -1, -1, -1
        log = self.info.log
        return log.end.epoch, log.end.offset, log.flushed_to

    def text(self) -> str:
        if self.info is None:
            return f"{self.directory}: cannot be read: {self.problem.what if self.problem else ''}"
        role = "controller" if self.is_controller else "broker"
        return f"{self.directory}: {role} {self.info.meta.node_id}, {ends(self.info)}"

    def document(self) -> dict[str, Any]:
        info, problem = self.info, self.problem
        return {
            "directory": str(self.directory),
            "role": "controller" if self.is_controller else "broker",
            "node_id": None if info is None else info.meta.node_id,
            "directory_id": None if info is None else uuid_to_text(info.meta.directory_id),
            "recovery_id": None if info is None else _id_text(info.meta),
            "voter": None if info is None else votes(info),
            "log_start": None if info is None else info.log.start,
            "log_end": None if info is None else info.log.end.offset,
            "last_epoch": None if info is None else info.log.end.epoch,
            "flushed_to": None if info is None else info.log.flushed_to,
            "findings": [] if info is None else list(info.log.lines()[1:]),
            "error": None if problem is None else problem.what,
        }


def _id_text(meta: MetaProperties) -> str | None:
    return None if meta.recovery_id is None else uuid_to_text(meta.recovery_id)


def votes(info: DirectoryInfo) -> bool:
    """Whether this very directory is a voter's, as its own log has it."""
    key = info.voters.keys.get(info.meta.node_id)
    return key is not None and key.directory_id == info.meta.directory_id


@attrs.frozen(kw_only=True)
class Against:
    """The choice beside one other log."""

    other: Shown
    parting: Parting
    states: States

    @property
    def acknowledged(self) -> bool:
        """What a broker holds was committed: nobody needs to guess."""
        return not self.other.is_controller

    def document(self) -> dict[str, Any]:
        parting = self.parting
        return {
            "directory": str(self.other.directory),
            "compared_from": parting.compared_from,
            "part_at": {"offset": parting.at.offset, "epoch": parting.at.epoch},
            "surely_acknowledged": self.acknowledged,
            "lost": parting.right.document(),
            "kept": parting.left.document(),
            "topics_lost": dict(self.states.lost),
            "topics_back": dict(self.states.back),
        }


@attrs.frozen(kw_only=True)
class Choice:
    """The log that lives on, and what that means."""

    chosen: Shown
    info: DirectoryInfo
    shown: tuple[Shown, ...]
    against: tuple[Against, ...]
    image: MetadataImage
    transaction_open: bool
    digest: bytes
    epoch: Epoch
    voter_endpoints: tuple[Endpoint, ...]

    @property
    def stray(self) -> dict[str, str]:
        """Topic id -> name: of these, brokers may hold data that nothing will know of."""
        return {topic_id: name for one in self.against for topic_id, name in one.states.lost.items()}

    @property
    def data_brokers(self) -> list[BrokerRegistration]:
        """Registered brokers that are not ours: Kafka's own, which do not begin anew by themselves."""
        brokers = self.image.cluster.brokers
        return [brokers[one] for one in sorted(brokers) if LIGHTWEIGHT not in brokers[one].features]


def look_at(directories: Sequence[pathlib.Path]) -> tuple[Shown, ...]:
    """Reads every directory; what cannot be read is told and not skipped in silence.

    Raises:
        Refused: two clusters, or not one directory that could be chosen.
    """
    shown = tuple(_look(path) for path in dict.fromkeys(path.absolute() for path in directories))
    clusters = {one.info.meta.cluster_id for one in shown if one.info is not None}
    if len(clusters) > 1:
        raise Refused(
            "These directories belong to different clusters.",
            where=", ".join(str(one.directory) for one in shown),
            why="their cluster ids are " + ", ".join(sorted(clusters)),
            remedy="name the directories of one cluster",
        )
    if not any(one.may_be_chosen for one in shown):
        problems = [f"{one.directory}: {one.problem.why}" for one in shown if one.problem is not None]
        raise Refused(
            "There is no controller's log that could be recovered.",
            where=", ".join(str(one.directory) for one in shown),
            why="\n".join(problems) or "all of these are brokers' directories",
            remedy="name a controller's metadata.log.dir; of a damaged one restore a copy, or restore a backup of the\n"
            "cluster (`quorate storage restore`)",
        )
    return shown


def _look(directory: pathlib.Path) -> Shown:
    is_controller = (directory / BOOTSTRAP).exists()
    try:
        info = describe_directory(directory)
    except StorageRefused as problem:
        return Shown(directory=directory, is_controller=is_controller, problem=problem)
    process = locked_by(RealFiles(), directory)
    return Shown(directory=directory, is_controller=is_controller, info=info, process=process)


def longest(shown: Sequence[Shown]) -> Shown:
    """Whose log is the longest by Raft's rule; the first of equals."""
    return max((one for one in shown if one.may_be_chosen), key=lambda one: one.rank)


def choose(shown: tuple[Shown, ...], wanted: pathlib.Path | None, epoch_above: int) -> Choice:
    """The wanted directory, or the longest log; it is read record by record.

    Raises:
        WrongUsage: the wanted one is not among them. Refused: it cannot be chosen, or is no good.
    """
    chosen = longest(shown) if wanted is None else _named(shown, wanted.absolute())
    if chosen.info is None or not chosen.is_controller:
        raise Refused(
            "This directory cannot be chosen.",
            where=str(chosen.directory),
            why=chosen.problem.why if chosen.problem is not None else "it is a broker's",
            remedy="choose a controller's directory that can be read",
        )
    verify_directory(chosen.directory)
    built = LogFiles.at(chosen.directory).built()
    image = built.image()
    return Choice(
        chosen=chosen,
        info=chosen.info,
        shown=shown,
        against=tuple(
            _against(chosen, chosen.info, image, one, one.info)
            for one in shown
            if one is not chosen and one.info is not None
        ),
        image=image,
        transaction_open=built.transaction_open,
        digest=digest(image),
        epoch=first_epoch([epoch_above, *_known_epochs(shown)]),
        voter_endpoints=_own_endpoints(chosen, chosen.info, image),
    )


def _known_epochs(shown: Sequence[Shown]) -> list[int]:
    infos = [one.info for one in shown if one.info is not None]
    told = [info.election.epoch for info in infos if info.election is not None]
    return [*(info.log.end.epoch for info in infos), *told]


def _named(shown: Sequence[Shown], wanted: pathlib.Path) -> Shown:
    for one in shown:
        if one.directory == wanted:
            return one
    raise WrongUsage(
        "--from names a directory that is not shown.",
        where=str(wanted),
        remedy="give it as an argument too: " + ", ".join(str(one.directory) for one in shown),
    )


def _against(
    chosen: Shown, info: DirectoryInfo, image: MetadataImage, other: Shown, other_info: DirectoryInfo
) -> Against:
    parting = compare_logs(chosen.directory, info.log, other.directory, other_info.log)
    goes = _state(other.directory)
    return Against(other=other, parting=parting, states=lost_and_back(image, goes))


def _state(directory: pathlib.Path) -> MetadataImage:
    built: ImageBuilder = LogFiles.at(directory).built()
    return built.image()


def _own_endpoints(chosen: Shown, info: DirectoryInfo, image: MetadataImage) -> tuple[Endpoint, ...]:
    """Where the others will reach the new quorum's voter: as its voters say, or as it registered itself."""
    voter = info.voters.voters.get(info.meta.node_id)
    if voter is not None:
        return voter.endpoints
    registered = image.cluster.controllers.get(info.meta.node_id)
    if registered is None or not registered.listeners:
        raise Refused(
            "Nothing says where this controller is reached.",
            where=str(chosen.directory),
            why=f"node {info.meta.node_id} is no voter in its log, and has never registered",
            remedy="choose another directory",
        )
    return tuple(Endpoint(one.name, one.host, one.port) for one in registered.listeners)


def check_nobody_runs(shown: Sequence[Shown]) -> None:
    """Raises: Refused: a process runs on a controller's directory. Brokers may go on."""
    for one in shown:
        if one.process is not None and one.is_controller:
            raise Refused(
                "A controller runs on one of these directories.",
                where=str(one.directory),
                why=f"its lock is held by process {one.process}",
                remedy="stop every controller first: while one runs, its log may grow, and a quorum may be found",
            )


_SOMEBODY_IS_THERE: Final = frozenset(
    {
        FailureKind.RESET,
        FailureKind.NOT_KAFKA,
        FailureKind.NOT_LET_IN,
        FailureKind.CUT_OFF,
        FailureKind.UNSUPPORTED_VERSION,
    }
)
"""Who does not answer so has taken the connection: a controller that wants TLS or a login is not a dead one."""


def check_no_voter_answers(shown: Sequence[Shown], security: ClientSecurity) -> None:
    """Asks every voter of these logs where it should be.

    Raises:
        Refused: one of this cluster answers: a quorum may be alive, or come to life.
    """
    cluster_id = next(one.info.meta.cluster_id for one in shown if one.info is not None)
    voters = voters_of(shown)
    asked = {
        node_id: Address(found.host, found.port)
        for node_id in voters.ids
        if (found := voters.endpoint(node_id)) is not None
    }
    manner = Manner(timeout_ms=_PATIENCE_MS, security=security)
    answers = trio.run(
        ask_all, {node_id: (address, WHO_IS_THERE) for node_id, address in asked.items()}, manner
    )
    check_who_cannot_be_asked(answers, asked)
    alive = {
        node_id: answer
        for node_id, answer in answers.items()
        if failed(answer) is None and answer.cluster_id == cluster_id
    }
    if not alive:
        return
    leaders = {answer.controller_id for answer in alive.values()} - {-1}
    said = [f"controller {node_id} at {asked[node_id]} answers" for node_id in alive]
    said += [f"controller {leader} is said to lead: the quorum is alive" for leader in sorted(leaders)]
    raise Refused(
        "A voter of this cluster answers.",
        where=", ".join(str(asked[node_id]) for node_id in alive),
        why="\n".join(said),
        remedy="if a majority of the voters can be started, start them: nothing is lost then, and single disks are\n"
        "replaced by `quorate quorum replace-controller`. Otherwise stop every controller first",
    )


def check_who_cannot_be_asked(answers: Mapping[NodeId, Any], asked: Mapping[NodeId, Address]) -> None:
    """Raises: Refused: one of them took the connection and did not answer."""
    strange = {
        node_id: answer.text
        for node_id, answer in answers.items()
        if isinstance(answer, Failure) and answer.kind in _SOMEBODY_IS_THERE
    }
    if strange:
        raise Refused(
            "Something listens where a voter of this cluster should be, and cannot be asked who it is.",
            where=", ".join(str(asked[node_id]) for node_id in strange),
            why="\n".join(strange.values()),
            remedy="if its listener wants TLS or a login, say how with --command-config. If it is a controller of\n"
            "this cluster, stop it first",
        )


def voters_of(shown: Sequence[Shown]) -> VoterSet:
    """All who vote by any of these logs: who might answer."""
    found: dict[NodeId, Voter] = {}
    for one in sorted((one for one in shown if one.may_be_chosen), key=lambda one: one.rank):
        if one.info is not None:
            found |= one.info.voters.voters
    return VoterSet.of(found.values())


@attrs.frozen(kw_only=True)
class Recovered:
    """What was made. `aside`: what the old directory is called now; None: it is where it was."""

    directory: pathlib.Path
    aside: pathlib.Path | None
    record: QuorumRecoveryRecord


def recover(choice: Choice, into: pathlib.Path | None, rng: random.Random) -> Recovered:
    """Makes the new quorum of one. Without `into` its directory takes the old one's name.

    Raises:
        StorageRefused, StorageFailed: see `new_quorum`; the old directory is where it was, or under its new name.
    """
    now_ms = int(time.time() * 1000)
    record = _record(choice, random_uuid(rng), now_ms)
    name = uuid_to_text(record.recovery_id)
    old = choice.chosen.directory
    target = into.absolute() if into is not None else old.with_name(f"{old.name}.recovered-{name}")
    directory_id = random_uuid(rng)
    meta = attrs.evolve(choice.info.meta, directory_id=directory_id, recovery_id=record.recovery_id)
    recover_directory(
        Recovery(
            source=old,
            target=target,
            end=choice.info.log.end,
            meta=meta,
            voter=Voter(
                voter_id=meta.node_id,
                voter_directory_id=directory_id,
                endpoints=choice.voter_endpoints,
                kraft_version_feature=KRAFT_VERSIONS,
            ),
            record=record,
            transaction_open=choice.transaction_open,
            append_time_ms=now_ms,
        )
    )
    if into is not None:
        return Recovered(directory=target, aside=None, record=record)
    aside = old.with_name(f"{old.name}.before-{name}")
    exchange(old, target, aside)
    return Recovered(directory=old, aside=aside, record=record)


def _record(choice: Choice, recovery_id: Any, now_ms: int) -> QuorumRecoveryRecord:
    info = choice.info
    return QuorumRecoveryRecord(
        recovery_id=recovery_id,
        previous_recovery_id=info.meta.recovery_id or ZERO_UUID,
        kind=RECOVER,
        time_ms=now_ms,
        operator=f"{_user()}@{socket.gethostname()}",
        source=str(choice.chosen.directory),
        source_directory_id=info.meta.directory_id,
        source_end_offset=info.log.end.offset,
        source_epoch=info.log.end.epoch,
        epoch=choice.epoch,
        digest=choice.digest,
        shown=tuple(one.text() for one in choice.shown),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an id without a name, as in containers
        return "unknown"
