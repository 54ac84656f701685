"""What TLS, logins and ACLs cost: durable writes in the clear, and the same under SASL_SSL, in one run."""

import pathlib
from typing import Any

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster, leader_of
from quorate.admin.client_settings import load_client_settings
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClientSecurity, open_client
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Permission, Resource
from quorate.metadata.wire.acls import AclCreation, CreateAclsRequest
from tests.secured import USER, Secured, login_entry, secured

CLIENTS = (1, 16, 64)
ACLS = 1_000
"""Besides the one that lets the client write."""
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


async def _give_rights(leader: Address, login: ClientSecurity) -> None:
    """The user may write, by one of many ACLs."""
    mine = AclCreation(
        resource_type=Resource.CLUSTER,
        resource_name=CLUSTER_NAME,
        principal=f"User:{USER}",
        host="*",
        operation=Operation.ALTER_CONFIGS,
        permission_type=Permission.ALLOW,
    )
    others = (
        attrs.evolve(mine, resource_type=Resource.TOPIC, resource_name=f"topic-{number}")
        for number in range(ACLS)
    )
    async with open_client([leader], security=login) as client:
        answer = await client.call_controller(CreateAclsRequest(creations=(mine, *others)), 30_000)
    if any(one.error_code is not ErrorCode.none for one in answer.results):
        raise load.Refused(f"ACLs were not created: {answer}")


def _login_of_user(directory: pathlib.Path, guard: Secured) -> ClientSecurity:
    path = directory / "user.properties"
    settings = {**guard.client_settings, "sasl.jaas.config": login_entry(USER)}
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return load_client_settings(path).login()


async def _loads(directory: pathlib.Path, guard: Secured, seconds: float) -> list[load.Result]:
    async with fresh_cluster(directory, controllers=3, brokers=0, guard=guard) as cluster:
        leader = await leader_of(cluster)
        login = cluster.files.login()
        if guard.mode != "plaintext":
            await _give_rights(leader, login)
            login = _login_of_user(directory, guard)
        return [
            await load.closed_loop(leader, clients=clients, seconds=seconds, login=login)
            for clients in CLIENTS
        ]
