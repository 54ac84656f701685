"""Talking to one particular node: connect, ask, hang up. Whom to ask is `metadata.client`'s question, not ours here."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import trio

from quorate.metadata.addresses import Address
from quorate.metadata.connection import CallFailed, ConnectFailed, Connection, Failure, connect

CLIENT_ID: Final = "quorate-admin"


@contextlib.asynccontextmanager
async def talking(
    address: Address, *, timeout_ms: int, client_id: str = CLIENT_ID
) -> AsyncIterator[Connection]:
    """An open connection, for several requests. What goes wrong inside leaves as it is, not in a group.

    Raises:
        ConnectFailed: the node could not be connected to.
    """
    connection = await connect(address, timeout_ms=timeout_ms, client_id=client_id)
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


async def ask(address: Address, request: Any, *, timeout_ms: int, client_id: str = CLIENT_ID) -> Any:
    """One node's answer to one request; a `Failure` where there is none."""
    try:
        async with talking(address, timeout_ms=timeout_ms, client_id=client_id) as connection:
            return await connection.call(request, timeout_ms)
    except (ConnectFailed, CallFailed) as error:
        return error.failure


def failed(answer: Any) -> str | None:
    """Why there is no answer, in words; None: there is one."""
    return answer.text if isinstance(answer, Failure) else None
