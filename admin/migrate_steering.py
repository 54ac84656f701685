"""`quorate migrate status|run|finalize|rollback`: the steps of a move from ZooKeeper, given to the active controller.

The controller decides and acts; a command gives an order, and by default stays until it was carried out. It can be
stopped and given again at any time: the order is in the cluster's log.
"""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import trio
import typer

from quorate.admin.asking import Session, asks_cluster, confirm
from quorate.admin.errors import Refused
from quorate.admin.output import Table, plural
from quorate.admin.results import check_whole
from quorate.metadata.wire.migration import (
    FINALIZE,
    ROLL_BACK,
    RUN,
    STATUS,
    WITHDRAW,
    SteerMigrationRequest,
)

_LOOK_AGAIN_S: Final = 0.2

Status = Mapping[str, Any]

NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Give the order and return; `migrate status` tells how far it is.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what stands in the way, and change nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is wanted.")]


@asks_cluster
async def status(session: Session) -> None:
    """Shows where the migration is, and what to do.

    What it waits for too, since when, and what went wrong last.
    """
    found = await _steer(session, STATUS)
    session.printer.show(found, *_for_people(found))


@asks_cluster
async def run(
    session: Session,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for brokers of ZooKeeper that have not registered.")
    ] = False,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Starts the copy, and stays until both sides are written.

    It can be stopped, and given again: the order is in the cluster's log, and the controllers carry it out. Exit code
    1 if something in ZooKeeper cannot be copied; nothing is copied then.
    """
    found = await _steer(session, RUN, forced=force, dry_run=dry_run)
    if not (no_wait or dry_run):
        found = await _follow(session, found, lambda now: now["state"] == "DUAL_WRITE" or _is_blocked(now))
    session.printer.show(found, *_for_people(found))
    if _is_blocked(found) and not dry_run:
        first = found["blockers"][0]
        raise Refused(
            "Nothing was copied.",
            where=first["path"],
            why=f"{plural(len(found['blockers']), 'thing')} in ZooKeeper cannot be copied, first: {first['words']}",
            remedy=first["remedy"] or "see `quorate migrate plan`, then give `quorate migrate run` again",
        )


@asks_cluster
async def finalize(session: Session, dry_run: DryRunOption = False, yes: YesOption = False) -> None:
    """Ends the migration: the quorum keeps the cluster for good.

    Refused while a broker runs in ZooKeeper mode, or both sides differ. There is no way back to ZooKeeper from there.
    """
    before = await _steer(session, STATUS)
    if before["state"] != "FINISHED" and not (dry_run or yes):
        confirm(_for_people(before), "Keep the cluster in the quorum, for good?")
    found = await _steer(session, FINALIZE, dry_run=dry_run)
    ready = ("Nothing stands in the way that can be seen without reading ZooKeeper.",) if dry_run else ()
    session.printer.show(found, *(ready or _for_people(found)))


@asks_cluster
async def rollback(
    session: Session,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for brokers in KRaft mode.")] = False,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take the order back while it still waits.")
    ] = False,
    no_wait: NoWaitOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Gives the cluster back to ZooKeeper.

    Once no broker needs the quorum, ZooKeeper is brought level with the log, compared with it, and let go.
    """
    if withdraw:
        found = await _steer(session, WITHDRAW, dry_run=dry_run)
        session.printer.show(found, *_for_people(found))
        return
    before = await _steer(session, STATUS)
    if before["log"]["order"] not in ("ROLL_BACK", "HAND_BACK", "ROLLED_BACK") and not (dry_run or yes):
        confirm(_for_people(before), "Give the cluster back to ZooKeeper?")
    found = await _steer(session, ROLL_BACK, forced=force, dry_run=dry_run)
    if not (no_wait or dry_run):
        found = await _follow(session, found, lambda now: now["state"] == "ROLLED_BACK")
    lines = _for_people(found)
    if found["state"] == "ROLLED_BACK":
        lines += _left_to_do([str(one["id"]) for one in found["brokers"] if one["mode"] == "kraft"])
    session.printer.show(found, *lines)


# --- asking


async def _steer(
    session: Session, step: str, *, forced: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    request = SteerMigrationRequest(step=step, forced=forced, validate_only=dry_run)
    response = await session.write(request)
    check_whole(_REFUSED[step], response.error_code, response.error_message)
    document: dict[str, Any] = json.loads(response.status)
    return document


_REFUSED: Final[Mapping[str, str]] = {
    STATUS: "The migration's status cannot be told.",
    RUN: "The migration was not started.",
    FINALIZE: "The migration was not finalized.",
    ROLL_BACK: "The cluster was not given back.",
    WITHDRAW: "The order was not withdrawn.",
}


async def _follow(
    session: Session, found: dict[str, Any], is_there: Callable[[Status], bool]
) -> dict[str, Any]:
    """Looks again and again until it is there; for people it says what happens meanwhile."""
    told = ""
    while not is_there(found):
        headline = _headline(found)
        if headline != told and session.printer.for_people:
            typer.echo(headline, err=True)
            for line in found["waiting_for"]:
                typer.echo(f"  {line}", err=True)
        told = headline
        await trio.sleep(_LOOK_AGAIN_S)
        found = await _steer(session, STATUS)
    return found


def _is_blocked(found: Status) -> bool:
    return bool(found["blockers"]) and found["log"]["order"] == "WAIT"


# --- telling


def _left_to_do(moved: list[str]) -> list[str]:
    """After a rollback; `moved`: the brokers that ran in KRaft mode last, as far as the quorum knows."""
    if not moved:
        return [
            "No broker has to be restarted. Remove the migration's keys from their files at the next occasion."
        ]
    one = len(moved) == 1
    named = f"{'Broker' if one else 'Brokers'} {', '.join(moved)}"
    return [
        f"{named} ran in KRaft mode: {'it' if one else 'they'} must run in ZooKeeper mode now.",
        "In ZooKeeper mode a broker forgets this quorum's log when it starts.",
    ]


def _headline(found: Status) -> str:
    return f"{found['state']}: {found['why']}" if found["why"] else str(found["state"])


def _for_people(found: Status) -> list[str | Table]:
    parts: list[str | Table] = [f"{_headline(found)} (for {found['for_seconds']} s)"]
    parts += [f"  waits for: {line}" for line in found["waiting_for"]]
    parts.append(f"What to do: {found['what_to_do']}")
    if found["blockers"]:
        rows = [
            (one["category"], one["path"], one["words"], one["remedy"] or None) for one in found["blockers"]
        ]
        parts.append(Table(("BLOCKED BY", "ZNODE", "WHAT", "WHAT TO DO"), rows))
    if found["progress"]:
        progress = [
            (name, f"{one['done']}/{one['total']}", one["per_second"], one["seconds_left"])
            for name, one in found["progress"].items()
        ]
        parts.append(Table(("CATEGORY", "DONE", "PER SECOND", "SECONDS LEFT"), progress))
    if found["copied"] is not None:
        copied = found["copied"]
        parts.append(
            f"Copied: {copied['records']} records in {copied['ms']} ms, up to offset {copied['offset']}."
        )
    there = found["zookeeper"]
    if there["written_offset"] >= 0:
        parts.append(
            f"ZooKeeper has the log up to offset {there['written_offset']}; it lacks {there['lag_records']} records, "
            f"since {there['lag_ms']} ms."
        )
    if found["verified"] is not None:
        seen = found["verified"]
        verdict = "equal" if seen["equal"] else f"{plural(seen['differences'], 'difference')}"
        parts.append(f"Compared at offset {seen['offset']}: {verdict}.")
    if found["brokers"]:
        brokers = [
            (one["id"], one["mode"], "fenced" if one["fenced"] else "unfenced") for one in found["brokers"]
        ]
        parts.append(Table(("BROKER", "MODE", "STATE"), brokers))
    if found["last_error"] is not None:
        error = found["last_error"]
        parts.append(f"Last error (in {error['state']}, {error['errors']} so far): {error['text']}")
    return parts
