"""One page that shows a run: the recording, as JSON, inside `page.html`, which draws it. It loads nothing else."""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from tests.sim.options import WorldOptions
from tests.sim.recording import Recording
from tests.sim.world import Outcome

TEMPLATE: Final = pathlib.Path(__file__).parent / "page.html"
_PLACE: Final = "/*THE RUN*/null"


def write_page(path: pathlib.Path, recording: Recording, outcome: Outcome, command: str) -> None:
    path.write_text(page(recording, outcome, command), encoding="utf-8")


def page(recording: Recording, outcome: Outcome, command: str) -> str:
    """The whole page. The same run gives the same bytes."""
    run = json.dumps(_run(recording, outcome, command), separators=(",", ":"), ensure_ascii=False)
    before, after = TEMPLATE.read_text(encoding="utf-8").split(_PLACE)
    return before + run.replace("</", "<\\/") + after  # no text may end the script


def _run(recording: Recording, outcome: Outcome, command: str) -> dict[str, Any]:
    options = recording.world.options
    return {
        "seed": outcome.seed,
        "command": command.removesuffix(" --trace"),
        "violation": outcome.violation,
        "events": outcome.events,
        "endMs": outcome.simulated_ms,
        "epoch": outcome.epoch,
        "acknowledged": outcome.acknowledged,
        "leaderAfterMs": outcome.leader_after_ms,
        "whole": options.is_whole,
        "options": list(_options(options)),
        "marks": sorted((mark, count) for mark, count in outcome.marks.items() if count),
        "nodes": list(_nodes(recording, outcome)),
        "lines": recording.lines,
        "messages": recording.messages,
        "states": recording.states,
        "cuts": recording.cuts,
        "texts": recording.texts.values,
        "histories": recording.histories.values,
        "members": recording.members.values,
    }


def _options(options: WorldOptions) -> Iterator[tuple[str, str]]:
    """What this world has that a plain one has not."""
    plain = WorldOptions()
    for field in attrs.fields(WorldOptions):
        value = getattr(options, field.name)
        if value != getattr(plain, field.name) or field.name == "voters":
            yield field.name, str(value)


def _nodes(recording: Recording, outcome: Outcome) -> Iterator[dict[str, Any]]:
    world = recording.world
    first = {key.id for key in world.first_voters}
    blamed = {int(number) for number in re.findall(r"\bn(\d+)\b", outcome.violation or "")}
    for node in world.nodes:
        if node.is_broker:
            kind = "broker" if world.options.is_whole else "observer"
        else:
            kind = "controller" if node.id in first else "spare"
        yield {"id": int(node.id), "name": node.name, "kind": kind, "blamed": int(node.id) in blamed}
    for number in world.network.clients:
        yield {"id": int(number), "name": f"c{number}", "kind": "client", "blamed": False}
