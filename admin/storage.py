"""`quorate storage`: give a node's directory its identity, look at it, draw an id; the options are kafka-storage's.

And what Kafka has no tool for: a new quorum from what is left of an old one, or from a backup; to and from Kafka's own
controllers.
"""

import pathlib
import random
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quorate.admin import kraft_export, kraft_import, parsing, recovering, restoring
from quorate.admin.asking import confirm, looks_offline
from quorate.admin.client_settings import load_client_settings
from quorate.admin.errors import WrongUsage
from quorate.admin.kafka_storage import format_kafka_broker
from quorate.admin.node_files import load_controller, load_either
from quorate.admin.options import ConfigArgument, command_group
from quorate.admin.output import Printer
from quorate.admin.recovery_text import choice_document, choice_lines, done_lines
from quorate.admin.scram_text import salted_by, scram_text
from quorate.controller.config import ControllerConfig
from quorate.controller.credentials import scram_record
from quorate.metadata.features import (
    DEFAULT_METADATA_VERSION,
    KRAFT_VERSION,
    METADATA_VERSION,
    NEEDED_METADATA_VERSION,
    SUPPORTED,
    default_features,
    describe_level,
    parse_metadata_version,
)
from quorate.metadata.ids import Endpoint, NodeId, random_uuid, uuid_from_text, uuid_to_text
from quorate.metadata.log.directory import (
    DirectoryInfo,
    FormatPlan,
    InitialVoter,
    Quorum,
    describe_directory,
    format_directory,
)
from quorate.metadata.node_config import NodeConfig
from quorate.metadata.records import UserScramCredentialRecord

app = command_group("Give a node's directory its identity, look at it, recover and restore it.")


# --- format

ClusterIdOption = Annotated[
    str, typer.Option("--cluster-id", "-t", metavar="ID", help="The cluster's id, the same for every node.")
]
StandaloneOption = Annotated[
    bool, typer.Option("--standalone", "-s", help="This controller is the only voter.")
]
InitialControllersOption = Annotated[
    str | None,
    typer.Option(
        "--initial-controllers",
        "-I",
        metavar="ID@HOST:PORT:DIRECTORY_ID,…",
        help="The first voters; the same list for each of them, and once for each.",
    ),
]
NoInitialControllersOption = Annotated[
    bool,
    typer.Option(
        "--no-initial-controllers", "-N", help="For brokers, and for controllers that will be added later."
    ),
]
ReleaseOption = Annotated[
    str | None,
    typer.Option(
        "--release-version", "-r", metavar="VERSION", help="metadata.version, as 21, 3.9 or 3.9-IV0."
    ),
]
FeatureOption = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", metavar="NAME=LEVEL", help="A feature's level; may be repeated."),
]
AddScramOption = Annotated[
    list[str] | None,
    typer.Option(
        "--add-scram",
        "-S",
        metavar="MECHANISM=[…]",
        help="A user of the new cluster: SCRAM-SHA-256=[name=alice,password=secret]; may be repeated. The same for "
        "each of the first controllers.",
    ),
]
IgnoreFormattedOption = Annotated[
    bool,
    typer.Option(
        "--ignore-formatted", "-g", help="Succeed if the directory is formatted for this very node already."
    ),
]

KafkaBrokerOption = Annotated[
    bool,
    typer.Option(
        "--kafka-broker",
        help="CONFIG is of one of Apache Kafka's own brokers: its log directories get their meta.properties.",
    ),
]


@app.command("format")
@looks_offline
def format_storage(
    printer: Printer,
    config: ConfigArgument,
    cluster_id: ClusterIdOption,
    standalone: StandaloneOption = False,
    initial_controllers: InitialControllersOption = None,
    no_initial_controllers: NoInitialControllersOption = False,
    release_version: ReleaseOption = None,
    feature: FeatureOption = None,
    add_scram: AddScramOption = None,
    ignore_formatted: IgnoreFormattedOption = False,
    kafka_broker: KafkaBrokerOption = False,
) -> None:
    """Formats a directory, once, before its node's first start.

    The directory is the metadata.log.dir of CONFIG. A crash in between leaves one that can be formatted again.

    A voter whose disk was lost must not be formatted with the list of --initial-controllers again: that brings its
    old directory id back, and it votes as its old self, which has promised what it no longer knows. Records that are
    committed could be lost. Format it with --no-initial-controllers: it then follows, and does not vote.
    """
    _check_cluster_id(cluster_id)
    if kafka_broker:
        _check_alone(
            standalone, initial_controllers, no_initial_controllers, release_version, feature, add_scram
        )
        rng = random.SystemRandom()
        format_kafka_broker(printer, config, cluster_id, ignore_formatted=ignore_formatted, rng=rng)
        return
    node = load_either(config)
    metadata_version, others = _features(release_version, feature)
    plan = FormatPlan(
        directory=node.metadata_log_dir,
        cluster_id=cluster_id,
        node_id=node.node_id,
        listener=node.controller_listener_names[0],
        is_controller=isinstance(node, ControllerConfig),
        quorum=_quorum(node, standalone, initial_controllers, no_initial_controllers),
        endpoint=_controller_endpoint(node),
        initial=_initial(initial_controllers),
        metadata_version=metadata_version,
        other_features=others,
        credentials=_credentials(add_scram),
        ignore_formatted=ignore_formatted,
    )
    done = format_directory(plan, random.SystemRandom())
    document = {
        "directory": str(plan.directory),
        "role": node.ROLE,
        "node_id": done.meta.node_id,
        "cluster_id": done.meta.cluster_id,
        "directory_id": uuid_to_text(done.meta.directory_id),
        "metadata_version": metadata_version if plan.is_controller else None,
        "already_formatted": done.already,
    }
    printer.show(document, _formatted_text(node, metadata_version, already=done.already))


def _check_alone(*said: object) -> None:
    if any(said):
        raise WrongUsage(
            "--kafka-broker goes with no option of the quorum.",
            why="a broker's directories hold who it is; voters, features and users stand in the quorum's log",
            remedy="leave out all but --cluster-id and --ignore-formatted",
        )


def _controller_endpoint(node: NodeConfig) -> Endpoint | None:
    """Where others reach this controller on the first controller listener."""
    first = node.controller_listener_names[0]
    return next((one for one in node.advertised_listeners if one.name == first), None)


def _formatted_text(node: NodeConfig, metadata_version: int, *, already: bool) -> str:
    who = f"{node.metadata_log_dir} for {node.ROLE} {node.node_id}"
    if already:
        return f"{who} is formatted already; nothing was changed."
    level = f" with metadata.version {describe_level(metadata_version)}" if node.ROLE == "controller" else ""
    return f"Formatted {who}{level}."


def _check_cluster_id(text: str) -> None:
    try:
        uuid_from_text(text)
    except ValueError as error:
        raise WrongUsage(
            "--cluster-id cannot be used.",
            why=str(error),
            remedy="draw one with `quorate storage random-uuid`, once, and give the same to every node",
        ) from error


def _quorum(node: NodeConfig, standalone: bool, initial: str | None, none: bool) -> Quorum:
    given = [
        quorum
        for quorum, said in (
            (Quorum.STANDALONE, standalone),
            (Quorum.INITIAL_CONTROLLERS, initial is not None),
            (Quorum.NONE, none),
        )
        if said
    ]
    if len(given) > 1:
        raise WrongUsage(
            f"{' and '.join(quorum.value for quorum in given)} exclude each other.", remedy="give one of them"
        )
    if given:
        return given[0]
    if isinstance(node, ControllerConfig):
        raise WrongUsage(
            "Nothing says who the first voters are.",
            why="a controller is formatted with one of three options",
            remedy="--standalone for a quorum of one; --initial-controllers with the same list on each of the first\n"
            "voters; --no-initial-controllers for one that will be added to a quorum that exists",
        )
    return Quorum.NONE


def _initial(text: str | None) -> Sequence[InitialVoter]:
    try:
        return [] if text is None else [InitialVoter.parse(part) for part in text.split(",")]
    except ValueError as error:
        raise WrongUsage(
            "--initial-controllers cannot be used.",
            why=str(error),
            remedy="write ID@HOST:PORT:DIRECTORY_ID for each, with commas between; draw the directory ids with\n"
            "`quorate storage random-uuid`",
        ) from error


def _features(release: str | None, texts: list[str] | None) -> tuple[int, list[tuple[str, int]]]:
    """metadata.version, and the others."""
    levels = parsing.one_pair_each("--feature", texts or ())
    if release is not None and METADATA_VERSION in levels:
        raise WrongUsage(
            "--release-version and --feature metadata.version say the same.", remedy="give one of them"
        )
    wanted = release or levels.pop(METADATA_VERSION, str(DEFAULT_METADATA_VERSION))
    try:
        metadata_version = parse_metadata_version(wanted)
    except ValueError as error:
        raise WrongUsage("The metadata.version cannot be used.", why=str(error)) from error
    _check_offered(METADATA_VERSION, metadata_version)
    others = []
    for name, text in levels.items():
        if name not in SUPPORTED or not text.isdecimal():
            known = ", ".join(sorted(SUPPORTED))
            why = f"{name}={text}: there are the features {known}, with a number as level"
            raise WrongUsage("--feature cannot be used.", why=why)
        _check_offered(name, int(text))
        others.append((name, int(text)))
    if (KRAFT_VERSION, 0) in others:
        raise WrongUsage(
            "kraft.version 0 cannot be formatted.",
            why="the voters are always kept in the log, which is kraft.version 1",
            remedy="leave it out",
        )
    wanted_levels = {**default_features(metadata_version), **dict(others)}
    for name, level in wanted_levels.items():
        _check_dependencies(name, level, metadata_version)
    return metadata_version, [(name, level) for name, level in wanted_levels.items() if name != KRAFT_VERSION]


def _credentials(texts: list[str] | None) -> list[UserScramCredentialRecord]:
    """The first users. Brokers are formatted with the same command line; what they are given is not looked at later."""
    found: dict[tuple[str, int], UserScramCredentialRecord] = {}
    for text in texts or ():
        said = scram_text("--add-scram", text)
        if not said.name:
            raise WrongUsage(
                "--add-scram cannot be used.", why="it does not say whose password it is", remedy="add name="
            )
        if (said.name, said.mechanism) in found:
            raise WrongUsage("--add-scram cannot be used.", why=f"user {said.name} is given twice")
        salt, salted = salted_by(said)
        found[said.name, said.mechanism] = scram_record(
            said.name, said.mechanism, salt=salt, salted_password=salted, iterations=said.iterations
        )
    return list(found.values())


def _check_dependencies(name: str, level: int, metadata_version: int) -> None:
    for since, needed in NEEDED_METADATA_VERSION.get(name, ()):
        if level >= since and metadata_version < needed:
            raise WrongUsage(
                f"{name} {level} cannot be formatted.",
                why=f"it depends on metadata.version {describe_level(needed)} or newer, and "
                f"{describe_level(metadata_version)} is to be formatted",
                remedy=f"give --feature {METADATA_VERSION}={needed}",
            )


def _check_offered(name: str, level: int) -> None:
    offered = SUPPORTED[name]
    if level not in offered:
        raise WrongUsage(
            f"{name} {level} is not offered.",
            why=f"this version offers {offered.lowest} to {offered.highest}",
        )


# --- info


@app.command("info")
@looks_offline
def storage_info(
    printer: Printer,
    path: Annotated[
        pathlib.Path,
        typer.Argument(metavar="CONFIG|DIRECTORY", help="A node's configuration, or a metadata directory."),
    ],
) -> None:
    """Shows whose directory it is and what it holds. Works beside a running node."""
    directory = path if path.is_dir() else load_either(path).metadata_log_dir
    info = describe_directory(directory)
    printer.show(_info_document(directory, info), *_info_lines(directory, info))


def _info_document(directory: pathlib.Path, info: DirectoryInfo) -> dict[str, Any]:
    election = info.election
    return {
        "directory": str(directory),
        "cluster_id": info.meta.cluster_id,
        "node_id": info.meta.node_id,
        "directory_id": uuid_to_text(info.meta.directory_id),
        "recovery_id": None if info.meta.recovery_id is None else uuid_to_text(info.meta.recovery_id),
        "election": None
        if election is None
        else {
            "epoch": election.epoch,
            "leader_id": election.leader_id,
            "voted": None if election.voted is None else str(election.voted),
        },
        "kraft_version": info.kraft_version,
        "voters": _voters(info),
        "log_start": info.log.start,
        "log_end": info.log.end.offset,
        "last_epoch": info.log.end.epoch,
        "flushed_to": info.log.flushed_to,
        "segments": info.log.segments,
        "batches": info.log.batches,
        "snapshots": [str(snapshot) for snapshot in info.log.snapshots],
        "findings": list(info.log.lines()[1:]),
    }


def _voters(info: DirectoryInfo) -> list[str]:
    return [str(key) for key in info.voters.keys.values()]


def _info_lines(directory: pathlib.Path, info: DirectoryInfo) -> list[str]:
    election = info.election
    memory = "missing or damaged"
    if election is not None:
        leader = "unknown" if election.leader_id is None else election.leader_id
        memory = f"epoch {election.epoch}, leader {leader}, vote for {election.voted or 'nobody'}"
    snapshots = ", ".join(map(str, info.log.snapshots)) or "none"
    return [
        f"Directory      {directory}",
        f"Cluster        {info.meta.cluster_id}",
        f"Node           {info.meta.node_id}, directory id {uuid_to_text(info.meta.directory_id)}",
        *(
            ()
            if info.meta.recovery_id is None
            else (f"Recovery       {uuid_to_text(info.meta.recovery_id)} (docs/recovery.md)",)
        ),
        f"Quorum state   {memory}",
        f"Voters         {', '.join(_voters(info)) or 'none known here'} (kraft.version {info.kraft_version})",
        f"Log            {_log_text(info)}",
        f"Snapshots      {snapshots}",
        *(f"At next start  {line}" for line in info.log.lines()[1:]),
    ]


def _log_text(info: DirectoryInfo) -> str:
    log = info.log
    batches = f"{log.batches} batches in {log.segments} segments"
    return f"offsets {log.start} to {log.end.offset}, last epoch {log.end.epoch}; {batches}"


# --- from Kafka's controllers, and back


@app.command("import-kraft")
@looks_offline
def import_kraft_storage(
    printer: Printer,
    directories: Annotated[
        list[pathlib.Path],
        typer.Argument(
            metavar="DIRECTORY…", help="The metadata.log.dir of each of Kafka's stopped controllers."
        ),
    ],
    config: Annotated[
        pathlib.Path,
        typer.Option(
            "--config", metavar="CONFIG", help="The configuration of a controller of the new quorum."
        ),
    ],
    initial_controllers: InitialControllersOption = None,
) -> None:
    """Takes a cluster over from Apache Kafka's controllers.

    Makes a controller's directory with the log and the snapshot of the longest of the logs that are named: cluster id,
    offsets, epochs and topic ids stay, so brokers keep their data. Run it once for each of the new voters, with the
    same directories and the same list; without a list the new quorum has this one voter. See docs/kafka-brokers.md.
    """
    node = load_controller(config)
    with printer.progress("Reading"):
        source = kraft_import.look(directories)
    done = kraft_import.import_kraft(
        source,
        directory=node.metadata_log_dir,
        node_id=node.node_id,
        listener=node.controller_listener_names[0],
        endpoint=_controller_endpoint(node),
        initial=_initial(initial_controllers),
        rng=random.SystemRandom(),
    )
    printer.show(kraft_import.document(done), *kraft_import.lines(done))


@app.command("export-kraft")
@looks_offline
def export_kraft_storage(
    printer: Printer,
    directory: Annotated[
        pathlib.Path,
        typer.Argument(metavar="DIRECTORY", help="The metadata.log.dir of a stopped controller."),
    ],
    into: Annotated[
        pathlib.Path,
        typer.Option("--into", metavar="DIRECTORY", help="Make it here; must be missing or empty."),
    ],
    node_id: Annotated[
        int, typer.Option("--node-id", metavar="ID", min=0, help="The controller of Kafka's that it is for.")
    ],
    dynamic: Annotated[
        str | None,
        typer.Option(
            "--dynamic",
            metavar="ID@HOST:PORT:DIRECTORY_ID,…",
            help="Its controllers, whose voters stand in the log (kraft.version 1).",
        ),
    ] = None,
    static: Annotated[
        str | None,
        typer.Option(
            "--static",
            metavar="ID,…",
            help="The ids of its controllers, which are configured with controller.quorum.voters (kraft.version 0).",
        ),
    ] = None,
    listener: Annotated[
        str, typer.Option("--listener", metavar="NAME", help="The controllers' listener, for --dynamic.")
    ] = "CONTROLLER",
) -> None:
    """Gives a cluster back to Apache Kafka's controllers.

    Of the controllers' directories take the one with the highest last epoch, then the highest offset (`quorate storage
    info`). Run it once for each of Kafka's controllers, with the same DIRECTORY.
    """
    if (dynamic is None) is (static is None):
        raise WrongUsage(
            "Nothing says, or two options say, how Kafka's controllers know each other.",
            remedy="give one of --dynamic and --static",
        )
    rng, id = random.SystemRandom(), NodeId(node_id)
    if dynamic is not None:
        done = kraft_export.export_dynamic(
            directory, into, node_id=id, listener=listener, initial=_initial(dynamic), rng=rng
        )
    else:
        done = kraft_export.export_static(directory, into, node_id=id, voter_ids=_ids(static or ""), rng=rng)
    printer.show(kraft_export.document(done), *kraft_export.lines(done))


def _ids(text: str) -> list[NodeId]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise WrongUsage(
            "--static cannot be used.",
            why=f"{text!r} is no list of different ids",
            remedy="write the ids of all of Kafka's controllers, with commas between",
        )
    return [NodeId(int(part)) for part in parts]


# --- recover and restore

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for scripts.")]
EpochAboveOption = Annotated[
    int,
    typer.Option(
        "--epoch-above",
        metavar="N",
        min=0,
        help="An epoch that is known from elsewhere to have been reached.",
    ),
]


@app.command("recover")
@looks_offline
def recover_storage(
    printer: Printer,
    directories: Annotated[
        list[pathlib.Path],
        typer.Argument(
            metavar="DIRECTORY…",
            help="Every metadata.log.dir that is left: controllers', brokers' as evidence.",
        ),
    ],
    chosen: Annotated[
        pathlib.Path | None,
        typer.Option("--from", metavar="DIRECTORY", help="Choose this one instead of the longest log."),
    ] = None,
    into: Annotated[
        pathlib.Path | None,
        typer.Option("--into", metavar="DIRECTORY", help="Make it here; the chosen one stays where it is."),
    ] = None,
    epoch_above: EpochAboveOption = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and make nothing.")] = False,
    yes: YesOption = False,
    although_voters_answer: Annotated[
        bool,
        typer.Option(
            "--although-voters-answer",
            help="Even if a voter of the old quorum answers. Two quorums may then serve one cluster.",
        ),
    ] = False,
    command_config: Annotated[
        pathlib.Path | None,
        typer.Option(
            "--command-config", metavar="FILE", help="How voters are asked whether they live: TLS, login."
        ),
    ] = None,
) -> None:
    """Makes a new quorum of one where no majority is left.

    It goes on with the log of one controller. Says which log is the longest and what each choice loses against the
    others. The chosen directory is copied, never changed: without --into the copy takes its name, and it is kept
    under another. See docs/recovery.md.
    """
    shown = recovering.look_at(directories)
    with printer.progress("Reading"):
        choice = recovering.choose(shown, chosen, epoch_above)
    report = choice_lines(choice)
    if dry_run:
        printer.show(choice_document(choice, dry_run=True, done=None), *report)
        return
    recovering.check_nobody_runs(shown)
    if not although_voters_answer:
        recovering.check_no_voter_answers(shown, load_client_settings(command_config).login())
    if not yes:
        confirm(report, f"Make a new quorum from {choice.chosen.directory}?")
    done = recovering.recover(choice, into, random.SystemRandom())
    document = choice_document(choice, dry_run=False, done=done)
    printer.show(document, *(report if yes else ()), *done_lines(choice, done))


@app.command("restore")
@looks_offline
def restore_storage(
    printer: Printer,
    backup: Annotated[
        pathlib.Path, typer.Argument(metavar="FILE", help="What `quorate snapshot save` wrote.")
    ],
    config: Annotated[
        pathlib.Path,
        typer.Argument(metavar="CONFIG", help="The configuration of a controller of the new quorum."),
    ],
    initial_controllers: InitialControllersOption = None,
    cluster_id: Annotated[
        str | None,
        typer.Option("--cluster-id", "-t", metavar="ID", help="A new cluster id, instead of the backup's."),
    ] = None,
    epoch_above: EpochAboveOption = 0,
) -> None:
    """Makes a controller's directory from a backup.

    The directory is the metadata.log.dir of CONFIG, which must be missing or empty. This controller is the only voter,
    unless --initial-controllers names several: then give the same list, FILE and options for each of them.
    """
    if cluster_id is not None:
        _check_cluster_id(cluster_id)
    node = load_controller(config)
    done = restoring.restore(
        restoring.read_backup(backup),
        directory=node.metadata_log_dir,
        node_id=node.node_id,
        endpoint=_controller_endpoint(node),
        initial=_initial(initial_controllers),
        cluster_id=cluster_id,
        epoch_above=epoch_above,
        rng=random.SystemRandom(),
    )
    printer.show(restoring.document(done), *restoring.lines(done))


@app.command("random-uuid")
@looks_offline
def random_id(printer: Printer) -> None:
    """Draws an id, for a cluster or a directory."""
    text = uuid_to_text(random_uuid(random.SystemRandom()))
    printer.show({"uuid": text}, text)
