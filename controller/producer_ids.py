"""AllocateProducerIds (KIP-730): blocks of producer ids for idempotent producers, never given away twice."""

from typing import Final

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import NodeId
from quorate.metadata.records import ProducerIdsRecord
from quorate.metadata.wire.brokers import AllocateProducerIdsRequest, AllocateProducerIdsResponse

BLOCK_SIZE: Final = 1000
_LAST_ID: Final = 2**63 - 1


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
    first = max(context.image.producer_ids.next_producer_id, 0)
    if first > _LAST_ID - BLOCK_SIZE:
        reject(
            ErrorCode.unknown_server_error,
            f"Exhausted all producerIds as the next block's end producerId has exceeded the long type limit: {first}.",
        )
    record = ProducerIdsRecord(
        broker_id=NodeId(request.broker_id),
        broker_epoch=request.broker_epoch,
        next_producer_id=first + BLOCK_SIZE,
    )
    return ControllerResult(
        [record], AllocateProducerIdsResponse(producer_id_start=first, producer_id_len=BLOCK_SIZE)
    )
