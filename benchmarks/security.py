"""What TLS, logins and ACLs cost: durable writes in the clear, and the same under SASL_SSL, in one run."""

import pathlib
from typing import Any

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster, leader_of
from tests.secured import Secured, secured

CLIENTS = (1, 16, 64)
ROUNDS = 2
"""The modes take turns, so that a machine that slows down slows both."""


async def run(directory: pathlib.Path, *, seconds: float) -> dict[str, Any]:
    """Three controllers as processes; IncrementalAlterConfigs by a client that has logged in."""
    yardstick = await machine.measure(directory)
    modes = {mode: secured(mode, directory / f"{mode}-files") for mode in ("plaintext", "sasl_ssl")}
    found: dict[str, list[list[load.Result]]] = {mode: [] for mode in modes}
    for round_ in range(ROUNDS):
        for mode, guard in modes.items():
            found[mode].append(await _loads(directory / f"{mode}-{round_}", guard, seconds))
    best = {
        mode: [max(rows, key=lambda one: one.per_s) for rows in zip(*runs, strict=True)]
        for mode, runs in found.items()
    }
    return {
        "machine": attrs.asdict(yardstick),
        "plaintext": [one.told("writes") for one in best["plaintext"]],
        "sasl_ssl_with_acls": [one.told("writes") for one in best["sasl_ssl"]],
        "sasl_ssl_over_plaintext": {
            f"{plain.clients} clients": safe.per_s / plain.per_s
            for plain, safe in zip(best["plaintext"], best["sasl_ssl"], strict=True)
        },
    }


async def _loads(directory: pathlib.Path, guard: Secured, seconds: float) -> list[load.Result]:
    async with fresh_cluster(directory, controllers=3, brokers=0, guard=guard) as cluster:
        login = cluster.files.login()
        leader = await leader_of(cluster)
        return [
            await load.closed_loop(leader, clients=clients, seconds=seconds, login=login)
            for clients in CLIENTS
        ]
