"""Whether a cluster serves: every node is asked, over the protocol that clients use, what it knows itself.

A controller names the active controller in its Metadata answer, and one is active only when a record of its epoch
is committed; a broker that serves has itself and its fellows in its image, unfenced. So when all answers agree, a
client can be sent anywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from quorate.admin.cluster_files import NodeFiles
from quorate.admin.ports import LOOPBACK
from quorate.admin.talk import Manner, ask, failed
from quorate.metadata.addresses import Address
from quorate.metadata.connection import ClientSecurity
from quorate.metadata.ids import NodeId
from quorate.metadata.wire.cluster import MetadataRequest, MetadataResponse

_PER_NODE_MS: Final = 2_000


@attrs.frozen(kw_only=True)
class Readiness:
    """What was found. `missing` says what is not as it should be; None: the cluster serves."""

    active: NodeId | None = None
    missing: str | None = None


async def look(
    controllers: Sequence[NodeFiles], brokers: Sequence[NodeFiles], security: ClientSecurity | None = None
) -> Readiness:
    """Asks all of them at once."""
    manner = Manner(timeout_ms=_PER_NODE_MS, security=security)
    answers: dict[NodeId, Any] = {}

    async def ask_one(node: NodeFiles) -> None:
        request = MetadataRequest(topics=(), allow_auto_topic_creation=False)
        answers[node.id] = await ask(Address(LOOPBACK, node.port), request, manner)

    async with trio.open_nursery() as nursery:
        for node in (*controllers, *brokers):
            nursery.start_soon(ask_one, node)
    return judge(controllers, brokers, answers)


def judge(
    controllers: Sequence[NodeFiles], brokers: Sequence[NodeFiles], answers: Mapping[NodeId, Any]
) -> Readiness:
    """What the answers, or the reasons for none, amount to."""
    for node in (*controllers, *brokers):
        why = failed(answers[node.id])
        if why is not None:
            return Readiness(missing=f"{node.name}: {why}")
    named = {node.id: _metadata(answers[node.id]).controller_id for node in controllers}
    for node in controllers:
        if named[node.id] < 0:
            return Readiness(missing=f"{node.name} knows no active controller yet")
    if len(set(named.values())) > 1:
        return Readiness(missing=f"the controllers name different active ones: {named}")
    active = NodeId(next(iter(named.values()))) if named else None
    wanted = {node.id for node in brokers}
    for node in brokers:
        absent = wanted - {NodeId(one.node_id) for one in _metadata(answers[node.id]).brokers}
        if absent:
            return Readiness(
                active=active, missing=f"{node.name} does not see {sorted(absent)} among the unfenced brokers"
            )
    return Readiness(active=active)


def _metadata(answer: Any) -> MetadataResponse:
    if not isinstance(answer, MetadataResponse):
        raise TypeError(f"{answer!r} answers no Metadata request")
    return answer
