"""`quorate storage format --kafka-broker`: gives the log directories of one of Kafka's own brokers their identity.

As `kafka-storage format` does for a broker, but for its bootstrap snapshot, which no broker since 3.9 needs: all
that it has to know stands in the metadata log.
"""

import pathlib
import random
from typing import Any, Final

from quorate.admin.errors import Refused
from quorate.admin.kafka_broker_files import META, read_properties, write_meta
from quorate.admin.output import Printer, plural
from quorate.metadata.settings import read

_KEYS_OF_DIRECTORIES: Final = ("log.dirs", "log.dir")


def format_kafka_broker(
    printer: Printer, config: pathlib.Path, cluster_id: str, *, ignore_formatted: bool, rng: random.Random
) -> None:
    """Writes meta.properties into every log directory that the configuration names.

    Raises:
        Refused: it is no broker's configuration, or a directory belongs to somebody else, or is formatted already.
    """
    values = {key: text.value for key, text in read(config).texts.items()}
    broker_id = _broker_id(config, values)
    directories = _directories(config, values)
    known = {directory: read_properties(directory / META) for directory in directories}
    for directory, identity in known.items():
        _check(directory, identity, cluster_id, broker_id, ignore_formatted=ignore_formatted)
    documents: list[dict[str, Any]] = []
    for directory, identity in known.items():
        directory_id = identity.get("directory.id")
        if directory_id is None:
            directory.mkdir(parents=True, exist_ok=True)
            directory_id = write_meta(directory, cluster_id=cluster_id, broker_id=broker_id, rng=rng)
        documents.append({
            "directory": str(directory),
            "role": "kafka-broker",
            "node_id": broker_id,
            "cluster_id": cluster_id,
            "directory_id": directory_id,
            "already_formatted": bool(identity),
        })  # fmt: skip
    fresh = [one["directory"] for one in documents if not one["already_formatted"]]
    printer.show(
        {"directories": documents},
        f"Formatted {plural(len(fresh), 'log directory', 'log directories')} for Kafka's broker {broker_id}."
        if fresh
        else f"All directories of Kafka's broker {broker_id} are formatted already; nothing was changed.",
    )


def _broker_id(config: pathlib.Path, values: dict[str, str]) -> int:
    roles, id = values.get("process.roles", ""), values.get("node.id", "")
    if roles != "broker" or not id.isdecimal():
        raise Refused(
            "This is not the configuration of one of Kafka's brokers.",
            where=str(config),
            why=f"it has process.roles={roles or '(nothing)'} and node.id={id or '(nothing)'}",
            remedy="process.roles=broker and a node.id that no controller and no other broker has",
        )
    return int(id)


def _directories(config: pathlib.Path, values: dict[str, str]) -> list[pathlib.Path]:
    named = next((values[key] for key in _KEYS_OF_DIRECTORIES if values.get(key)), "")
    found = [part.strip() for part in (*named.split(","), values.get("metadata.log.dir", "")) if part.strip()]
    if not found:
        raise Refused(
            "The configuration names no log directory.",
            where=str(config),
            why="neither log.dirs nor log.dir is set",
            remedy="set log.dirs to one directory or several, with commas between",
        )
    return [pathlib.Path(each) for each in dict.fromkeys(found)]


def _check(
    directory: pathlib.Path,
    identity: dict[str, str],
    cluster_id: str,
    broker_id: int,
    *,
    ignore_formatted: bool,
) -> None:
    if not identity:
        return
    theirs = (identity.get("cluster.id"), identity.get("node.id"))
    if theirs != (cluster_id, str(broker_id)):
        raise Refused(
            "A log directory belongs to somebody else.",
            where=str(directory / META),
            why=f"it is of node {theirs[1]} of cluster {theirs[0]}, not of broker {broker_id} of {cluster_id}",
            remedy="give each broker directories of its own; a broker that moves to another cluster begins with "
            "empty ones",
        )
    if not ignore_formatted:
        raise Refused(
            "A log directory is formatted already.",
            where=str(directory / META),
            why="it belongs to this very broker",
            remedy="start the broker, or add --ignore-formatted to format only the others",
        )
