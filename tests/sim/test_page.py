"""What the trace tells, line by line, and the page that is made of it."""

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.sim import planted_bugs
from tests.sim.options import KINDS, WorldOptions
from tests.sim.page import TEMPLATE, page
from tests.sim.recording import Recording
from tests.sim.world import Outcome, World


def recorded(seed: int, options: WorldOptions, steps: int) -> tuple[World, Recording, Outcome, list[str]]:
    lines: list[str] = []
    world = World(seed, options, lines.append)
    recording = Recording(world)
    return world, recording, world.run(steps), lines


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r"^const R = (.*);$", text, re.MULTILINE)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1].replace("<\\/", "</"))
    return data


@pytest.mark.parametrize(("kind", "seed"), [("bare", 7), ("whole", 4), ("changing", 3), ("steady", 2)])
def test_the_trace_has_a_line_for_each_event(kind: str, seed: int) -> None:
    _, _, outcome, lines = recorded(seed, KINDS[kind](seed), 400)

    told = [int(line.split()[0]) for line in lines if "←" in line]
    assert sorted(set(told)) == list(range(1, outcome.events + 1))
    assert len(told) == outcome.events


def test_recording_a_run_changes_nothing_in_it() -> None:
    options = KINDS["whole"](11)
    plain = World(11, options).run(600)
    _, _, outcome, _ = recorded(11, options, 600)

    assert (outcome.events, outcome.marks, outcome.epoch) == (plain.events, plain.marks, plain.epoch)


def test_the_page_holds_the_run_and_loads_nothing() -> None:
    world, recording, outcome, lines = recorded(3, KINDS["changing"](3), 800)

    text = page(recording, outcome, "python -m tests.sim --seed 3")
    data = data_of(text)

    assert re.findall(r"https?://|<link|src=|@import|url\(", text) == []
    assert len(data["lines"]) == len(lines)
    assert [node["id"] for node in data["nodes"]][: len(world.nodes)] == [node.id for node in world.nodes]
    kinds = {data["texts"][entry[4]] for entry in data["messages"]}
    assert {
        "VoteRequest",
        "VoteResponse",
        "FetchRequest",
        "FetchResponse",
        "BeginQuorumEpochRequest",
    } <= kinds
    assert any(entry[6] for entry in data["messages"]), "in this world messages get lost"
    assert data["cuts"]
    assert all(begins <= (ends or outcome.simulated_ms) for begins, ends, *_ in data["cuts"])


def test_the_last_state_of_each_node_is_what_its_core_has() -> None:
    world, recording, outcome, _ = recorded(5, KINDS["bare"](5), 800)
    data = data_of(page(recording, outcome, ""))

    for node in world.nodes:
        last = [entry for entry in data["states"] if entry[2] == node.id][-1]
        assert node.up
        assert last[5] == node.core.election.epoch
        assert (last[8], last[9]) == (node.core.log.start, node.core.log.end.offset)
        assert last[11] == node.core.high_watermark


def test_the_page_marks_the_violation_and_whom_it_names() -> None:
    with planted_bugs.majority_off_by_one():
        for seed in range(1, 20):
            _, recording, outcome, _ = recorded(seed, WorldOptions(voters=4), 400)
            if outcome.violation is not None:
                break
    data = data_of(page(recording, outcome, ""))

    assert data["violation"] == outcome.violation
    assert [node["name"] for node in data["nodes"] if node["blamed"]] != []


def test_no_text_of_the_run_can_end_the_script() -> None:
    world, recording, outcome, _ = recorded(1, WorldOptions(), 50)
    world.trace.line("n1", "</script><b>")

    text = page(recording, outcome, "")

    assert text.count("</script>") == TEMPLATE.read_text(encoding="utf-8").count("</script>")
    assert "</script><b>" in data_of(text)["texts"]


def test_trace_and_page_are_the_same_bytes_in_every_process(tmp_path: pathlib.Path) -> None:
    """Of a whole cluster whose voters change."""
    told: set[tuple[str, bytes]] = set()
    for hash_seed in ("1", "2"):
        file = tmp_path / "run.html"
        command = [sys.executable, "-m", "tests.sim", "--seed", "3", "--kind", "changing", "--steps", "200"]
        ran = subprocess.run(
            [*command, "--trace", "--html", str(file)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        trace = "\n".join(line for line in ran.stdout.splitlines() if "per CPU second" not in line)
        told.add((trace, file.read_bytes()))

    assert len(told) == 1
