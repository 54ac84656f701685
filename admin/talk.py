"""Talking to one particular node: connect, ask, hang up. Whom to ask is `metadata.client`'s question, not ours here."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.connection import (
    CallFailed,
    ClientSecurity,
    ConnectFailed,
    Connection,
    Failure,
    connect,
)

CLIENT_ID: Final = "quorate-admin"


@attrs.frozen(kw_only=True)
class Manner:
    """How a node is asked."""

    timeout_ms: int
    client_id: str = CLIENT_ID
    security: ClientSecurity | None = None
    """None: in the clear."""


@contextlib.asynccontextmanager
async def talking(address: Address, manner: Manner) -> AsyncIterator[Connection]:
    """An open connection, for several requests. What goes wrong inside leaves as it is, not in a group.

    Raises:
        ConnectFailed: the node could not be connected to.
    """
    connection = await connect(
        address, timeout_ms=manner.timeout_ms, client_id=manner.client_id, security=manner.security
    )
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        try:
            yield connection
        except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
            failure = error
        finally:
            connection.close()
    if failure is not None:
        raise failure


async def ask(address: Address, request: Any, manner: Manner) -> Any:
    """One node's answer to one request; a `Failure` where there is none."""
    try:
        async with talking(address, manner) as connection:
            return await connection.call(request, manner.timeout_ms)
    except (ConnectFailed, CallFailed) as error:
        return error.failure


def failed(answer: Any) -> str | None:
    """Why there is no answer, in words; None: there is one."""
    return answer.text if isinstance(answer, Failure) else None
