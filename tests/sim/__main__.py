"""`python -m tests.sim --seed N [--steps M] [--nodes K] [--trace]`: replays one world, or runs many, or never ends."""

import argparse
import itertools
import sys
import time
from collections.abc import Iterable

import attrs

from tests.sim.figures import Figures
from tests.sim.options import KINDS, WorldOptions
from tests.sim.world import Outcome, World

FEW = 20
"""So many worlds are told of one by one."""
REPORT_EVERY_S = 60


def report(outcome: Outcome) -> str:
    verdict = "ok" if outcome.violation is None else f"VIOLATION: {outcome.violation}"
    return (
        f"seed {outcome.seed}: {outcome.events} events, {outcome.simulated_ms} ms, epoch {outcome.epoch}, "
        f"{outcome.acknowledged} writes acknowledged, leader {outcome.leader_after_ms} ms after healing: {verdict}"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--forever", action="store_true", help="seed after seed, until one fails or Ctrl-C")
    parser.add_argument("--kind", choices=sorted(KINDS), default="any", help="which worlds the seeds mean")
    parser.add_argument("--nodes", type=int, default=None, help="voters, instead of the drawn number")
    parser.add_argument("--steps", type=int, default=None, help="events of the safety phase")
    parser.add_argument("--trace", action="store_true", help="one line per event")
    parser.add_argument("--hash", action="store_true", help="print the hash of the trace")
    return parser.parse_args()


def world_of(seed: int, arguments: argparse.Namespace) -> World:
    options: WorldOptions = KINDS[arguments.kind](seed)
    if arguments.nodes is not None:
        options = attrs.evolve(options, voters=arguments.nodes)
    if arguments.trace:
        print(options)
    world = World(seed, options, print if arguments.trace else None)
    if arguments.hash:
        world.trace.hash_lines()
    return world


def replay_command(outcome: Outcome, arguments: argparse.Namespace) -> str:
    kind = "" if arguments.kind == "any" else f" --kind {arguments.kind}"
    nodes = "" if arguments.nodes is None else f" --nodes {arguments.nodes}"
    return f"python -m tests.sim --seed {outcome.seed}{kind}{nodes} --steps {outcome.steps} --trace"


def run_all(seeds: Iterable[int], arguments: argparse.Namespace, figures: Figures) -> None:
    told_s = began_s = time.process_time()
    for seed in seeds:
        outcome = world_of(seed, arguments).run(arguments.steps)
        figures.add(outcome)
        if arguments.hash:
            print(outcome.trace_hash)
        elif outcome.violation is not None or (arguments.count <= FEW and not arguments.forever):
            print(report(outcome), flush=True)
        if outcome.violation is not None:
            print(f"  replay: {replay_command(outcome, arguments)}", flush=True)
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
