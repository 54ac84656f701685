"""Producer ids for idempotent producers, never given away twice: blocks of them for brokers that hand them out
(AllocateProducerIds, KIP-730), one for a producer that asked a broker without topic data, which forwards it."""

from typing import Final

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import NodeId
from quorate.metadata.records import ProducerIdsRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, WILDCARD, Operation, Permission, Resource
from quorate.metadata.wire.brokers import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from quorate.metadata.wire.coordinators import InitProducerIdRequest, InitProducerIdResponse

BLOCK_SIZE: Final = 1000
_LAST_ID: Final = 2**63 - 1
_NOBODY: Final = NodeId(-1)
_NO_EPOCH: Final = -1
"""Whoever forwarded the request does not say so."""
_ANY_NAME: Final = "any"
"""Of a topic, where an ACL is about all of them."""


def allocate_producer_ids(
    context: Context, request: AllocateProducerIdsRequest
) -> ControllerResult[AllocateProducerIdsResponse]:
    """The next block, for a registered broker.

    Raises:
        RequestRejected: STALE_BROKER_EPOCH; UNKNOWN_SERVER_ERROR when there are no ids left.
    """
    broker = context.broker(request.broker_id)
    if broker is None or broker.epoch != request.broker_epoch:
        reject(
            ErrorCode.stale_broker_epoch,
            f"Broker {request.broker_id} is not registered with epoch {request.broker_epoch}. Register again.",
        )
    record, first = _next_ids(context, BLOCK_SIZE, NodeId(request.broker_id), request.broker_epoch)
    return ControllerResult(
        [record], AllocateProducerIdsResponse(producer_id_start=first, producer_id_len=BLOCK_SIZE)
    )


def init_producer_id(
    context: Context, request: InitProducerIdRequest
) -> ControllerResult[InitProducerIdResponse]:
    """One id, at epoch 0; an idempotent producer that had another one gets a new one, as from any broker.

    Raises:
        RequestRejected: NOT_COORDINATOR for a transactional producer; CLUSTER_AUTHORIZATION_FAILED;
            UNKNOWN_SERVER_ERROR when there are no ids left.
    """
    if request.transactional_id is not None:
        reject(ErrorCode.not_coordinator, "Transactions are coordinated by brokers with topic data.")
    if not (
        context.permits(Operation.IDEMPOTENT_WRITE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False)
        or _may_write_somewhere(context)
        or context.permits(Operation.IDEMPOTENT_WRITE, Resource.CLUSTER, CLUSTER_NAME)  # for the audit log
    ):
        reject(
            ErrorCode.cluster_authorization_failed,
            f"{context.principal} may neither write to any topic nor IDEMPOTENT_WRITE on the cluster.",
        )
    record, first = _next_ids(context, 1, _NOBODY, _NO_EPOCH)
    return ControllerResult([record], InitProducerIdResponse(producer_id=first, producer_epoch=0))


def _may_write_somewhere(context: Context) -> bool:
    """WRITE on any topic is enough (KIP-679). Each ACL that allows it is tried on a name that it is about."""
    names = {
        acl.resource_name
        for acl in context.image.acls.by_id.values()
        if acl.resource_type == Resource.TOPIC
        and acl.permission_type == Permission.ALLOW
        and acl.operation in (Operation.WRITE, Operation.ALL)
    }
    return any(
        context.permits(
            Operation.WRITE, Resource.TOPIC, _ANY_NAME if name == WILDCARD else name, log_if_denied=False
        )
        for name in names
    )


def _next_ids(
    context: Context, count: int, broker_id: NodeId, broker_epoch: int
) -> tuple[ProducerIdsRecord, int]:
    """The record that gives away so many ids, and the first of them."""
    first = max(context.image.producer_ids.next_producer_id, 0)
    if first > _LAST_ID - count:
        reject(
            ErrorCode.unknown_server_error,
            f"Exhausted all producerIds as the next block's end producerId has exceeded the long type limit: {first}.",
        )
    return ProducerIdsRecord(
        broker_id=broker_id, broker_epoch=broker_epoch, next_producer_id=first + count
    ), first
