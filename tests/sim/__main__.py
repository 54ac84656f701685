"""`python -m tests.sim --seed N [--steps M] [--nodes K] [--trace]`: replays one world, or runs many."""

import argparse
import sys
import time

import attrs

from tests.sim.options import draw
from tests.sim.world import Outcome, World


def replay_command(outcome: Outcome) -> str:
    return f"python -m tests.sim --seed {outcome.seed} --steps {outcome.steps} --trace"


def report(outcome: Outcome) -> str:
    verdict = "ok" if outcome.violation is None else f"VIOLATION: {outcome.violation}"
    return (
        f"seed {outcome.seed}: {outcome.events} events, {outcome.simulated_ms} ms, epoch {outcome.epoch}, "
        f"{outcome.acknowledged} writes acknowledged, leader {outcome.leader_after_ms} ms after healing: {verdict}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--nodes", type=int, default=None, help="voters, instead of the drawn number")
    parser.add_argument("--steps", type=int, default=None, help="events of the safety phase")
    parser.add_argument("--trace", action="store_true", help="one line per event")
    parser.add_argument("--hash", action="store_true", help="print the hash of the trace")
    arguments = parser.parse_args()
    show = print if arguments.trace else None
    failed = events = 0
    began = time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        options = draw(seed)
        if arguments.nodes is not None:
            options = attrs.evolve(options, voters=arguments.nodes)
        if arguments.trace:
            print(options)
        world = World(seed, options, show)
        if arguments.hash:
            world.trace.hash_lines()
        outcome = world.run(arguments.steps)
        events += outcome.events
        if arguments.hash:
            print(outcome.trace_hash)
        elif outcome.violation is not None or arguments.count <= 20:
            print(report(outcome))
        if outcome.violation is not None:
            failed += 1
            print(f"  replay: {replay_command(outcome)}")
    spent = time.perf_counter() - began
    if not arguments.hash:
        print(f"{arguments.count} seeds, {failed} failed, {events} events, {events / spent:.0f} events/s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
