"""Keeps this controller's registration in the log (KIP-919), so that everybody knows where and what it is (shell).

Whenever the committed image does not hold this life of the process with these listeners, the active controller is
asked to write it. Asking is harmless: the same registration again changes nothing that matters.
"""

import random
from typing import Final, Protocol

import structlog
import trio

from quorate.metadata import features
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import CallFailed, ClientSecurity, ConnectFailed, connect
from quorate.metadata.ids import NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.wire.brokers import ControllerRegistrationRequest

_TIMEOUT_MS: Final = 2_000
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_LOOK_AGAIN_S: Final = 1.0

_log = structlog.get_logger("controller")


class Quorum(Protocol):
    """What is known here of the cluster."""

    @property
    def image(self) -> MetadataImage: ...

    @property
    def leader(self) -> LeaderAndEpoch: ...


async def keep_registered(
    quorum: Quorum,
    registration: ControllerRegistrationRequest,
    rng: random.Random,
    security: ClientSecurity | None = None,
) -> None:
    """Runs until cancelled."""
    pause = _FIRST_PAUSE_S
    while True:
        if _is_registered(quorum.image, registration):
            pause = _FIRST_PAUSE_S
            await trio.sleep(_LOOK_AGAIN_S)
        elif await _register(quorum.leader, registration, security):
            await trio.sleep(pause)
        else:
            await trio.sleep(pause * rng.uniform(0.8, 1.2))
            pause = min(_LONGEST_PAUSE_S, pause * 2)


def _is_registered(image: MetadataImage, registration: ControllerRegistrationRequest) -> bool:
    """Also true where the cluster's metadata.version has no such records yet."""
    if image.features.metadata_version < features.CONTROLLER_REGISTRATION_SINCE:
        return image.provenance.offset >= 0 and image.features.metadata_version > 0
    known = image.cluster.controllers.get(NodeId(registration.controller_id))
    if known is None or known.incarnation_id != registration.incarnation_id:
        return False
    theirs = {(one.name, one.host, one.port) for one in known.listeners}
    return theirs == {(one.name, one.host, one.port) for one in registration.listeners}


async def _register(
    leader: LeaderAndEpoch, registration: ControllerRegistrationRequest, security: ClientSecurity | None
) -> bool:
    if leader.endpoint is None:
        return False
    address = Address(leader.endpoint.host, leader.endpoint.port)
    try:
        connection = await connect(
            address,
            timeout_ms=_TIMEOUT_MS,
            client_id=str(registration.controller_id),
            security=security,
        )
    except ConnectFailed:
        return False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        try:
            answer = await connection.call(registration, _TIMEOUT_MS)
        except CallFailed:
            answer = None
        connection.close()
    if answer is None or answer.error_code is ErrorCode.not_controller:
        return False
    if answer.error_code is not ErrorCode.none:
        _log.warning(
            "not registered", error=answer.error_code.name, why=answer.error_message, active=leader.leader_id
        )
        return False
    return True
