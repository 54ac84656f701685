"""A cluster that asks who is there and what they may do: real logins, real processes (SASL_SSL)."""

import json
import pathlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from quorate.admin.client_settings import load_client_settings
from quorate.admin.cluster import running
from quorate.admin.cluster_files import ClusterFiles, lay_out
from quorate.admin.ports import HeldPorts
from quorate.metadata.addresses import parse_servers
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, open_client
from quorate.metadata.security.permissions import ANY, Operation, Pattern, Permission, Resource
from quorate.metadata.wire import acls, brokers, cluster, configs, raft, topics
from quorate.metadata.wire.table import holds_error
from tests.e2e.conftest import WITHIN_S
from tests.secured import USER, login_entry, secured

_TIMEOUT_MS: Final = 60_000
_ALICE: Final = f"User:{USER}"
_EVERYTHING: Final = cluster.MetadataRequest(topics=None, allow_auto_topic_creation=False)
_GROW: Final = topics.CreatePartitionsRequest(
    topics=(topics.CreatePartitionsTopic(name="orders", count=2),), timeout_ms=5000
)
_MAY_ALTER: Final = acls.CreateAclsRequest(
    creations=(
        acls.AclCreation(
            resource_type=Resource.TOPIC,
            resource_name="orders",
            principal=_ALICE,
            host="*",
            operation=Operation.ALTER,
            permission_type=Permission.ALLOW,
        ),
    )
)
_NO_MORE: Final = acls.DeleteAclsRequest(
    filters=(
        acls.DeleteAclsFilter(
            resource_type_filter=Resource.TOPIC,
            pattern_type_filter=Pattern.LITERAL,
            principal_filter=_ALICE,
            operation=ANY,
            permission_type=ANY,
        ),
    )
)
_FORBIDDEN: Final = (
    topics.CreateTopicsRequest(
        topics=(topics.CreatableTopic(name="a", num_partitions=1, replication_factor=1),), timeout_ms=5000
    ),
    topics.DeleteTopicsRequest(topics=(topics.DeleteTopicState(name="orders"),), timeout_ms=1000),
    _GROW,
    configs.IncrementalAlterConfigsRequest(
        resources=(configs.IncrementalAlterConfigsResource(resource_type=2, resource_name="orders"),)
    ),
    configs.DescribeConfigsRequest(
        resources=(configs.DescribeConfigsResource(resource_type=2, resource_name="orders"),)
    ),
    acls.DescribeAclsRequest(resource_type_filter=ANY, operation=ANY, permission_type=ANY),
    _MAY_ALTER,
    _NO_MORE,
    raft.DescribeQuorumRequest(
        topics=(
            raft.DescribeQuorumRequestTopicData(
                topic_name="__cluster_metadata",
                partitions=(raft.DescribeQuorumRequestPartitionData(partition_index=0),),
            ),
        )
    ),
    brokers.UnregisterBrokerRequest(broker_id=101),
)
_DENIED: Final = (ErrorCode.topic_authorization_failed, ErrorCode.cluster_authorization_failed)


@asynccontextmanager
async def client(servers: str, config: pathlib.Path) -> AsyncIterator[ClusterClient]:
    settings = load_client_settings(config)
    async with open_client(parse_servers(servers.split(",")), security=settings.login()) as opened:
        yield opened


async def seen(by: ClusterClient) -> list[str]:
    answer = await by.call_any(_EVERYTHING, _TIMEOUT_MS)
    return [topic.name for topic in answer.topics]


async def sees(by: ClusterClient, expected: list[str]) -> None:
    """Asks a broker again until its image has come so far."""
    with trio.fail_after(WITHIN_S):
        while await seen(by) != expected:
            await trio.lowlevel.checkpoint()


def alices_config(files: ClusterFiles, settings: dict[str, str]) -> pathlib.Path:
    path = files.directory / "alice.toml"
    own = {**settings, "sasl.jaas.config": login_entry(USER)}
    path.write_text("".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in own.items()))
    return path


async def test_who_has_no_right_gets_nothing_and_an_acl_lets_them_in(tmp_path: pathlib.Path) -> None:
    mode = secured("sasl_ssl", tmp_path / "security")
    with HeldPorts() as ports:
        files = lay_out(tmp_path / "cluster", ports, random.Random(), mode.wanted(controllers=1, brokers=1))
    assert files.client_config is not None
    of_alice = alices_config(files, dict(mode.client_settings))
    async with (
        running(files) as nodes,
        client(files.bootstrap, files.client_config) as admin,
        client(files.bootstrap, of_alice) as at_broker,
        client(files.bootstrap_controllers, of_alice) as at_controller,
    ):
        await nodes.ready(within_s=WITHIN_S)
        await admin.call_controller(_create("orders"), _TIMEOUT_MS)
        await sees(admin, ["orders"])

        for alice in (at_broker, at_controller):
            assert await seen(alice) == []
            for request in _FORBIDDEN:
                answer = await alice.call_any(request, _TIMEOUT_MS)
                assert any(holds_error(answer, code) for code in _DENIED), request
        assert await seen(admin) == ["orders"]

        await admin.call_controller(_MAY_ALTER, _TIMEOUT_MS)
        await sees(at_broker, ["orders"])
        grown = await at_broker.call_any(_GROW, _TIMEOUT_MS)
        assert [result.error_code for result in grown.results] == [ErrorCode.none]

        await admin.call_controller(_NO_MORE, _TIMEOUT_MS)
        await sees(at_broker, [])
        assert holds_error(await at_broker.call_any(_GROW, _TIMEOUT_MS), _DENIED[0])
    logs = "".join(node.log.read_text() for node in files.nodes)
    denials = [line for line in logs.splitlines() if "denied" in line]
    assert denials
    assert all(_ALICE in line for line in denials)


def _create(name: str) -> Any:
    topic = topics.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    return topics.CreateTopicsRequest(topics=(topic,), timeout_ms=5000)
