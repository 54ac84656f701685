"""`python -m tests.sim --seed N [--steps M] [--nodes K] [--trace] [--html FILE]`: replays one world, or runs many.

A world that fails is made smaller, and told with the command that replays it.
"""

import argparse
import ast
import itertools
import pathlib
import sys
import time
from collections.abc import Iterable, Sequence

import attrs

from tests.sim.figures import Figures
from tests.sim.options import KINDS, WITHOUT, WorldOptions, difference, with_value, without
from tests.sim.page import write_page
from tests.sim.recording import Recording
from tests.sim.shrink import SHRINK_CPU_S, shrink
from tests.sim.world import Outcome, World

FEW = 20
"""So many worlds are told of one by one."""
REPORT_EVERY_S = 60
SHRINK_AT_MOST = 3
"""Failing worlds; the others are only told."""


def report(outcome: Outcome) -> str:
    verdict = "ok" if outcome.violation is None else f"VIOLATION: {outcome.violation}"
    return (
        f"seed {outcome.seed}: {outcome.events} events, {outcome.simulated_ms} ms, epoch {outcome.epoch}, "
        f"{outcome.acknowledged} writes acknowledged, leader {outcome.leader_after_ms} ms after healing: {verdict}"
    )


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--forever", action="store_true", help="seed after seed, until one fails or Ctrl-C")
    parser.add_argument("--kind", choices=sorted(KINDS), default="any", help="which worlds the seeds mean")
    parser.add_argument("--nodes", type=int, default=None, help="voters, instead of the drawn number")
    parser.add_argument("--steps", type=int, default=None, help="events of the safety phase")
    parser.add_argument(
        "--without",
        type=_troubles,
        default=(),
        metavar="TROUBLE,...",
        help=f"leave these out, where the world has them: {', '.join(WITHOUT)}",
    )
    parser.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="any option of the world, as --trace prints them: voters=3, delay_ms=(1,5)",
    )
    parser.add_argument("--trace", action="store_true", help="one line per event")
    parser.add_argument("--html", type=pathlib.Path, metavar="FILE", help="a page that shows the run")
    parser.add_argument("--hash", action="store_true", help="print the hash of the trace")
    parser.add_argument("--no-shrink", action="store_true", help="leave a failing world as it is")
    parser.add_argument(
        "--shrink-s",
        type=float,
        default=SHRINK_CPU_S,
        help=f"CPU seconds for making one smaller (default {SHRINK_CPU_S:.0f})",
    )
    arguments = parser.parse_args(words)
    if arguments.html is not None and (arguments.count > 1 or arguments.forever):
        parser.error("--html shows one world: give one --seed")
    return arguments


def _troubles(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in WITHOUT:
            raise argparse.ArgumentTypeError(f"no trouble is called {name!r}; there are {', '.join(WITHOUT)}")
    return names


def _setting(text: str) -> tuple[str, object]:
    name, _, literal = text.partition("=")
    try:
        value = ast.literal_eval(literal)
        with_value(WorldOptions(), name, value)
    except (ValueError, SyntaxError) as problem:
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing: {problem}") from problem
    return name, value


def options_of(seed: int, arguments: argparse.Namespace) -> WorldOptions:
    """As drawn, and then as the command line wants them."""
    options: WorldOptions = KINDS[arguments.kind](seed)
    if arguments.nodes is not None:
        options = attrs.evolve(options, voters=arguments.nodes)
    for name in arguments.without:
        options = without(options, name)
    for name, value in arguments.set:
        options = with_value(options, name, value)
    return options


def world_of(seed: int, arguments: argparse.Namespace) -> World:
    options = options_of(seed, arguments)
    if arguments.trace:
        print(options)
    world = World(seed, options, print if arguments.trace else None)
    if arguments.hash:
        world.trace.hash_lines()
    return world


def replay_command(outcome: Outcome, options: WorldOptions, kind: str) -> str:
    """Shows this very world, line by line."""
    words = [f"python -m tests.sim --seed {outcome.seed}", "" if kind == "any" else f"--kind {kind}"]
    words += [f"--steps {outcome.steps}", difference(KINDS[kind](outcome.seed), options), "--trace"]
    return " ".join(word for word in words if word)


def tell_of_failure(outcome: Outcome, arguments: argparse.Namespace, *, smaller: bool) -> None:
    options = options_of(outcome.seed, arguments)
    print(f"  replay: {replay_command(outcome, options, arguments.kind)}", flush=True)
    if not smaller:
        return
    shrunk = shrink(outcome, options, arguments.shrink_s)
    if (shrunk.options, shrunk.outcome.steps) != (options, outcome.steps):
        print(f"  smaller, after {shrunk.tries} tries: {report(shrunk.outcome)}")
        print(f"  replay: {replay_command(shrunk.outcome, shrunk.options, arguments.kind)}", flush=True)


def run_one(seed: int, arguments: argparse.Namespace) -> Outcome:
    world = world_of(seed, arguments)
    if arguments.html is None:
        return world.run(arguments.steps)
    recording = Recording(world)
    outcome = world.run(arguments.steps)
    command = replay_command(outcome, world.options, arguments.kind)
    write_page(arguments.html, recording, outcome, command)
    print(f"written to {arguments.html}")
    return outcome


def run_all(seeds: Iterable[int], arguments: argparse.Namespace, figures: Figures) -> None:
    told_s = began_s = time.process_time()
    for seed in seeds:
        outcome = run_one(seed, arguments)
        figures.add(outcome)
        if arguments.hash:
            print(outcome.trace_hash)
        elif outcome.violation is not None or (arguments.count <= FEW and not arguments.forever):
            print(report(outcome), flush=True)
        if outcome.violation is not None:
            smaller = not (arguments.no_shrink or arguments.trace) and figures.failed <= SHRINK_AT_MOST
            tell_of_failure(outcome, arguments, smaller=smaller)
            if arguments.forever:
                return
        if arguments.forever and time.process_time() - told_s > REPORT_EVERY_S:
            told_s = time.process_time()
            print(next(figures.lines(told_s - began_s)), flush=True)


def main() -> int:
    arguments = parse()
    figures = Figures()
    seeds = (
        itertools.count(arguments.seed)
        if arguments.forever
        else range(arguments.seed, arguments.seed + arguments.count)
    )
    began_s = time.process_time()
    try:
        run_all(seeds, arguments, figures)
    except KeyboardInterrupt:
        print("stopped")
    if not arguments.hash:
        for line in figures.lines(time.process_time() - began_s):
            print(line)
    return 1 if figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())
