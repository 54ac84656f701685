"""What `quorate storage recover` and `storage restore` say: the report of a choice, and what is to be done next."""

from collections.abc import Iterable
from typing import Any, Final

from quorate.admin.comparing_logs import ends
from quorate.admin.output import Table, plural
from quorate.admin.recovering import Against, Choice, Recovered, Shown
from quorate.metadata.ids import ReplicaKey, uuid_to_text

_TOPICS_NAMED: Final = 20


def choice_document(choice: Choice, *, dry_run: bool, done: Recovered | None) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "cluster_id": choice.info.meta.cluster_id,
        "chosen": str(choice.chosen.directory),
        "shown": [one.document() for one in choice.shown],
        "comparisons": [one.document() for one in choice.against],
        "would_be_stray": choice.stray,
        "kafka_brokers": [
            {"id": one.id, "listeners": [f"{each.host}:{each.port}" for each in one.listeners]}
            for one in choice.data_brokers
        ],
        "image_digest": choice.digest.hex(),
        "epoch": choice.epoch,
        "voter": choice.info.meta.node_id,
        "recovery_id": None if done is None else uuid_to_text(done.record.recovery_id),
        "directory": None if done is None else str(done.directory),
        "old_directory": None if done is None else str(done.aside or choice.chosen.directory),
    }


def choice_lines(choice: Choice) -> list[str | Table]:
    """The report, before anything is done."""
    rows = [
        (
            "chosen" if one is choice.chosen else "",
            None if one.info is None else one.info.meta.node_id,
            "controller" if one.is_controller else "broker",
            None if one.info is None else one.info.log.end.epoch,
            None if one.info is None else one.info.log.end.offset,
            None if one.info is None else one.info.log.flushed_to,
            str(one.directory),
        )
        for one in choice.shown
    ]
    lines: list[str | Table] = [
        f"Cluster {choice.info.meta.cluster_id}: {plural(len(rows), 'directory', 'directories')} shown.",
        Table(("", "NODE", "ROLE", "LAST EPOCH", "LOG END", "FLUSHED TO", "DIRECTORY"), rows),
    ]
    for one in choice.shown:
        if one.problem is not None:
            lines.append(f"CANNOT BE READ: {one.directory}: {one.problem.what}. {one.problem.why}")
        lines += [f"Note on {one.directory}: {text}" for text in _findings(one)]
    lines += ["", f"Lives on: {choice.chosen.directory}: {ends(choice.info)}."]
    lines += [text for one in choice.against for text in _against_lines(one)]
    lines += _unknown_loss(choice)
    lines += _stray_lines(choice)
    return lines


def _findings(one: Shown) -> list[str]:
    return [] if one.info is None else list(one.info.log.lines()[1:])


def _against_lines(one: Against) -> list[str]:
    parting, other = one.parting, one.other.directory
    if parting.same:
        return [f"Against {other}: the same log, nothing is lost."]
    since = (
        ""
        if parting.compared_from is not None
        else ", not comparable record by record: one lies in a snapshot"
    )
    lines = [f"Against {other}: they part at offset {parting.at.offset} (epoch {parting.at.epoch}){since}."]
    lost = parting.right
    if not lost.count:
        lines.append("  lost: nothing")
    elif one.acknowledged:
        lines.append(f"  LOST, and surely acknowledged (brokers are shown nothing else): {lost.text()}")
    else:
        lines.append(f"  lost, acknowledged if a majority had it: {lost.text()}")
    lines.append(f"  kept, and not there: {parting.left.text()}")
    if one.states.lost:
        lines.append(f"  topics that would be gone: {_named(one.states.lost.values())}")
    if one.states.back:
        lines.append(f"  topics that are unknown there, or deleted: {_named(one.states.back.values())}")
    return lines


def _unknown_loss(choice: Choice) -> list[str]:
    """What nobody can know: a majority may have had more than anybody has shown."""
    voters = choice.info.voters
    seen = {
        one.info.meta.node_id
        for one in choice.shown
        if one.info is not None
        and voters.contains(ReplicaKey(one.info.meta.node_id, one.info.meta.directory_id))
    }
    missing = [node_id for node_id in voters.ids if node_id not in seen]
    if not missing:
        return ["All voters' logs were shown."]
    names = ", ".join(map(str, missing))
    if len(missing) >= voters.majority:
        end = choice.info.log.end.offset
        return [
            f"Not shown: the logs of voters {names}. They alone may have acknowledged records, those behind offset",
            f"{end} above all; if so, these are lost, and nothing here can say which.",
        ]
    whole = "Whatever was acknowledged is in one of those that were shown."
    return [f"Not shown: the logs of voters {names}. {whole}"]


def _stray_lines(choice: Choice) -> list[str]:
    lines = []
    if choice.stray:
        lines.append(
            f"Topics whose data would be stray on brokers that hold it: {_named(choice.stray.values())}."
        )
    if choice.data_brokers:
        lines.append(
            "Kafka's own brokers do not begin anew by themselves. On each of them, while it is stopped,"
        )
        lines.append("delete the directory __cluster_metadata-0 in its metadata.log.dir (nothing else):")
        lines += [
            f"  broker {one.id} at " + ", ".join(f"{each.host}:{each.port}" for each in one.listeners)
            for one in choice.data_brokers
        ]
    return lines


def _named(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _TOPICS_NAMED} more" if len(found) > _TOPICS_NAMED else ""
    return ", ".join(found[:_TOPICS_NAMED]) + more


def done_lines(choice: Choice, done: Recovered) -> list[str]:
    """What was made, and what comes next."""
    node_id = choice.info.meta.node_id
    others = [one for one in choice.info.voters.ids if one != node_id]
    lines = [
        "",
        f"Made a quorum of one: controller {node_id}, epoch {choice.epoch}, in {done.directory}.",
        f"Recovery id {uuid_to_text(done.record.recovery_id)}, image digest {choice.digest.hex()}.",
        f"The old directory is kept as {done.aside or choice.chosen.directory}.",
        "",
        "Next:",
        f"  start controller {node_id}; brokers and spare controllers of Quorate find it and begin anew by themselves",
    ]
    if others:
        names = ", ".join(map(str, others))
        lines += [
            f"  controllers {names} must not be started on their old directories: move these away, format empty ones",
            "  with `quorate storage format --no-initial-controllers`, start them, and let them vote, one by one:",
            *(f"  quorate quorum add-controller {one}" for one in others),
        ]
    return lines
