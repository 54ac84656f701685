"""A failing world is made smaller, and the printed command is that very world."""

import shlex
from unittest.mock import patch

import pytest

from quorate.metadata.checks import check
from quorate.metadata.log import memory
from tests.sim import planted_bugs, planted_in_membership
from tests.sim.__main__ import options_of, parse, replay_command
from tests.sim.options import WITHOUT, WorldOptions, difference, draw, draw_plain, with_value, without
from tests.sim.shrink import law_of, shrink
from tests.sim.world import Outcome, World


def failing(worlds: planted_bugs.Worlds) -> tuple[Outcome, WorldOptions]:
    for seed in range(1, 200):
        outcome = World(seed, worlds(seed)).run()
        if outcome.violation is not None:
            return outcome, worlds(seed)
    raise AssertionError("the planted bug stays undetected")


def replayed(command: str) -> Outcome:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "tests.sim"]
    arguments = parse([word for word in words[3:] if word != "--trace"])
    world = World(arguments.seed, options_of(arguments.seed, arguments))
    return world.run(arguments.steps)


def test_a_failing_world_is_shrunk_to_one_with_less_trouble_that_its_command_replays() -> None:
    with planted_bugs.truncation_below_the_high_watermark():
        outcome, options = failing(draw_plain)

        shrunk = shrink(outcome, options, cpu_s=5.0)
        again = replayed(replay_command(shrunk.outcome, shrunk.options, "any"))

        assert shrunk.tries > 5
        assert law_of(shrunk.outcome.violation or "") == law_of(outcome.violation or "")
        assert shrunk.outcome.steps < outcome.steps
        troubles = [name for name in WITHOUT if without(options, name) != options]
        left = [name for name in WITHOUT if without(shrunk.options, name) != shrunk.options]
        assert len(left) < len(troubles)
        assert again.violation == shrunk.outcome.violation
        assert again.events == shrunk.outcome.events


def test_a_world_that_fails_after_healing_needs_fewer_steps_before() -> None:
    with planted_in_membership.removed_too_early():
        options = planted_in_membership.undone_changes
        outcome, drawn = failing(options)
        assert (outcome.violation or "").startswith("after healing")

        shrunk = shrink(outcome, drawn, cpu_s=4.0)

    assert shrunk.outcome.steps <= outcome.steps * 3 // 4


def test_what_breaks_between_two_events_is_replayed_too() -> None:
    """No step of a node completes a snapshot."""
    with patch.object(memory._MemorySnapshotWriter, "finish", lambda writer: check(False, "it breaks")):
        options = WorldOptions(snapshot_every_ms=500)
        outcome = World(1, options).run()

        shrunk = shrink(outcome, options, cpu_s=0.0)

        assert shrunk.outcome.steps < outcome.steps
        assert World(1, options).run(shrunk.outcome.steps).violation == outcome.violation == "it breaks"


def test_shrinking_ends_with_its_time() -> None:
    with planted_bugs.majority_off_by_one():
        outcome, options = failing(draw_plain)

        shrunk = shrink(outcome, options, cpu_s=0.0)

    assert shrunk.tries == 0
    assert shrunk.options == options


@pytest.mark.parametrize("seed", range(30))
def test_any_world_can_be_said_on_the_command_line(seed: int) -> None:
    """From what one seed means to what another one means: nearly everything differs."""
    wanted = draw(seed + 1000)

    arguments = parse(["--seed", str(seed), *shlex.split(difference(draw(seed), wanted))])

    assert options_of(seed, arguments) == wanted


def test_each_trouble_by_name_is_an_option_at_rest() -> None:
    plain = WorldOptions()

    assert [name for name in WITHOUT if without(plain, name) != plain] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--without", "pauses"], "no trouble is called 'pauses'"),
        (["--set", "voter=3"], "no option 'voter'"),
        (["--set", "voters='three'"], "voters is like 3, not 'three'"),
        (["--set", "voters"], "sets nothing"),
        (["--html", "x.html", "--count", "2"], "--html shows one world"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words)

    assert said in capsys.readouterr().err


def test_a_value_is_set_by_name() -> None:
    assert with_value(WorldOptions(), "delay_ms", (1, 5)).delay_ms == (1, 5)
    assert with_value(WorldOptions(), "crash_every_ms", 10).crash_every_ms == 10


def test_a_law_is_told_from_another_whoever_broke_it() -> None:
    assert law_of("n1 leads epoch 3 and is no voter") == law_of("n20 leads epoch 4 and is no voter")
    assert law_of("n1 leads epoch 3 and is no voter") != law_of("n1 leads epoch 3 without records")
