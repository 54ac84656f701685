"""A client of a whole cluster: who is there, who is the active controller, and calls that survive a failover (shell).

Starts from a list of addresses of which one must answer. A write goes to the active controller; NOT_CONTROLLER, a
refused or a lost connection make it look again, with growing pauses, until the deadline. Looking works against
brokers and controllers alike, ours and Kafka's: Metadata where it is offered, else DescribeCluster for controllers
(KIP-919).

What was written to a socket and not answered may have been done. Reads are asked again then; a write is not, and
`OutcomeUnknown` says so: a second CreateTopics would be told that the topic exists.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.connection import (
    CLIENT_ID,
    CallFailed,
    ClientSecurity,
    ConnectFailed,
    Connection,
    Failure,
    FailureKind,
    Plaintext,
    connect,
)
from quorate.metadata.wire.cluster import DescribeClusterRequest, MetadataRequest
from quorate.metadata.wire.table import APIS, says_moved

__all__ = [
    "Address",
    "CallFailed",
    "ClientSecurity",
    "ClusterClient",
    "ClusterView",
    "ConnectFailed",
    "Connection",
    "Failure",
    "FailureKind",
    "NoAnswer",
    "Node",
    "OutcomeUnknown",
    "Plaintext",
    "connect",
    "open_client",
]

CONNECT_MS: Final = 3_000
"""What one node may take to accept a connection and say what it is."""
READ_MS: Final = 5_000
"""What one node may take to answer a read before another one is asked."""
FIRST_PAUSE_MS: Final = 50
LONGEST_PAUSE_MS: Final = 1_000
CUTS_FORGIVEN: Final = 2
"""How often in one call a node may hang up while it is asked to let us in, before we believe that it means it."""
CONTROLLERS: Final = 2
"""DescribeCluster's endpoint type."""


@attrs.frozen(kw_only=True)
class Node:
    """A node as the cluster describes it."""

    id: int
    address: Address
    rack: str | None = None


@attrs.frozen(kw_only=True)
class ClusterView:
    """What one node said of the cluster. At a broker the controller is that broker, which forwards."""

    cluster_id: str | None
    controller_id: int
    """-1: not known there at the moment."""
    nodes: tuple[Node, ...]

    @property
    def controller(self) -> Node | None:
        return next((node for node in self.nodes if node.id == self.controller_id), None)


class NoAnswer(Exception):
    """Nobody answered before the deadline. `reasons`: each address that was tried, and what it last said."""

    def __init__(self, what: str, reasons: dict[Address, str]) -> None:
        lines = [what, *(f"  {address}: {reason}" for address, reason in reasons.items())]
        super().__init__("\n".join(lines))
        self.what = what
        self.reasons = reasons


class OutcomeUnknown(NoAnswer):
    """A write left and was not answered: it may have been carried out. Look before doing it again."""


@asynccontextmanager
async def open_client(
    bootstrap: Sequence[Address],
    *,
    client_id: str = CLIENT_ID,
    security: ClientSecurity | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator["ClusterClient"]:
    """A client whose connections live as long as the block."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield ClusterClient(
                bootstrap, nursery, client_id=client_id, security=security, rng=rng or random.Random()
            )
        except Exception as error:  # noqa: BLE001  raised again below: here the nursery would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class ClusterClient:
    """Calls into a cluster; see the module. May be used by several tasks at once."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        nursery: trio.Nursery,
        *,
        client_id: str,
        security: ClientSecurity | None,
        rng: random.Random,
    ) -> None:
        if not bootstrap:
            raise ValueError("a client needs the address of at least one node")
        self._bootstrap = tuple(bootstrap)
        self._nursery = nursery
        self._client_id = client_id
        self._security = security
        self._rng = rng
        self._connections: dict[Address, Connection] = {}
        self._connecting: dict[Address, trio.Lock] = {}
        self._nodes: tuple[Node, ...] = ()
        self._controller: Node | None = None
        self._preferred: Address | None = None  # the one that answered last
        self._witness: Address | None = None  # who named the controller
        # Who named one that does not answer is asked last: a node that is cut off names its dead leader for ever.
        self._doubted: set[Address] = set()

    async def call_controller(self, request: Any, timeout_ms: int) -> Any:
        """Has the active controller answer, directly or through a broker that forwards.

        Raises:
            NoAnswer: no controller answered in time.
            OutcomeUnknown: the request left, and its answer did not come.
            RequestRejected: the controller does not know this request.
            CallFailed: we are not let in, or do not believe who is there.
        """
        attempts = _Attempts(request, timeout_ms, self._rng)
        unable: dict[Address, RequestRejected] = {}
        while True:
            node = self._controller or await self._look_for_controller(attempts, unable)
            if node is None and unable:
                raise next(iter(unable.values()))
            if node is not None:
                try:
                    response = await self._try(node.address, request, attempts)
                except RequestRejected as refusal:
                    # A broker stands in for the controller, and cannot hand on what only controllers know.
                    unable[node.address] = refusal
                    self._controller = None
                    continue
                if response is not None and not says_moved(request.api_key, response):
                    return response
                self._controller = None
                if response is None and self._witness is not None:
                    self._doubted.add(self._witness)
                if response is not None:
                    attempts.note(node.address, "is not the active controller any more")
            await attempts.pause()

    async def call_any(self, request: Any, timeout_ms: int) -> Any:
        """Has any node answer: the one that answered last, else the others in turn.

        Raises:
            NoAnswer: nobody answered in time.
            OutcomeUnknown: the request left, and its answer did not come.
            RequestRejected: the node does not know this request.
            CallFailed: we are not let in, or do not believe who is there.
        """
        attempts = _Attempts(request, timeout_ms, self._rng)
        while True:
            for address in self._addresses():
                response = await self._try(address, request, attempts)
                if response is not None:
                    self._preferred = address
                    return response
                attempts.check_deadline()
            await attempts.pause()

    async def call_at(self, address: Address, request: Any, timeout_ms: int) -> Any:
        """Has this very node answer; tried once, since it is about that node.

        Raises:
            NoAnswer: it did not.
            OutcomeUnknown: the request left, and its answer did not come.
            RequestRejected: the node does not know this request.
            CallFailed: we are not let in, or do not believe who is there.
        """
        attempts = _Attempts(request, timeout_ms, self._rng)
        response = await self._try(address, request, attempts)
        if response is None:
            raise attempts.no_answer()
        return response

    async def describe(self, timeout_ms: int) -> ClusterView:
        """What the first node that answers says of the cluster.

        Raises:
            NoAnswer: nobody answered in time.
        """
        attempts = _Attempts(DescribeClusterRequest(), timeout_ms, self._rng)
        while True:
            for address in self._addresses():
                view = await self._describe_at(address, attempts)
                if view is not None:
                    return view
                attempts.check_deadline()
            await attempts.pause()

    async def _look_for_controller(
        self, attempts: "_Attempts", unable: Collection[Address] = ()
    ) -> Node | None:
        for address in self._addresses():
            view = await self._describe_at(address, attempts)
            if view is not None and view.controller is not None and view.controller.address not in unable:
                self._controller, self._witness = view.controller, address
                return view.controller
            if view is not None:
                attempts.note(address, "knows of no active controller at the moment")
            attempts.check_deadline()
        return None

    async def _describe_at(self, address: Address, attempts: "_Attempts") -> ClusterView | None:
        connection = await self._connection(address, attempts)
        if connection is None:
            return None
        if connection.version_of(MetadataRequest.api_key) is not None:
            found = await self._try(address, MetadataRequest(topics=()), attempts)
        else:
            found = await self._try(address, DescribeClusterRequest(endpoint_type=CONTROLLERS), attempts)
        if found is None:
            return None
        if found.error_code is not ErrorCode.none:
            attempts.note(address, f"answered {found.error_code.name.upper()} when asked about the cluster")
            return None
        view = _view_of(found)
        self._nodes = view.nodes
        self._preferred = address
        return view

    async def _try(self, address: Address, request: Any, attempts: "_Attempts") -> Any | None:
        """The answer of that node, or None if it did not answer and may be asked again."""
        connection = await self._connection(address, attempts)
        if connection is None:
            return None
        reads = APIS[request.api_key].reads
        try:
            return await connection.call(request, attempts.budget_ms(READ_MS if reads else None))
        except CallFailed as error:
            failure = error.failure
        attempts.note(address, failure.text)
        if failure.kind is FailureKind.UNSUPPORTED_VERSION:
            raise RequestRejected(ErrorCode.unsupported_version, failure.text)
        if failure.written and not reads:
            self._leave(address)
            raise attempts.outcome_unknown(failure)
        return None

    def _leave(self, address: Address) -> None:
        """Others are asked first from now on: one that is paused would keep every call until its end."""
        self._doubted.add(address)
        if self._controller is not None and self._controller.address == address:
            self._controller = None

    async def _connection(self, address: Address, attempts: "_Attempts") -> Connection | None:
        with trio.move_on_at(attempts.deadline):
            async with self._connecting.setdefault(address, trio.Lock()):
                held = self._connections.get(address)
                if held is not None and held.is_open:
                    return held
                try:
                    made = await connect(
                        address,
                        timeout_ms=attempts.budget_ms(CONNECT_MS),
                        client_id=self._client_id,
                        security=self._security,
                    )
                except ConnectFailed as error:
                    attempts.note(address, error.failure.text)
                    if attempts.are_of_no_use(address, error.failure):
                        raise CallFailed(error.failure) from None
                    return None
                self._connections[address] = made
                self._nursery.start_soon(made.run)
                return made
        attempts.note(address, "did not accept a connection in time")
        return None

    def _addresses(self) -> list[Address]:
        """All that are known, each once; first the one that answered last, last those whose word was no good."""
        first = () if self._preferred is None else (self._preferred,)
        known = list(dict.fromkeys((*first, *self._bootstrap, *(node.address for node in self._nodes))))
        if self._doubted.issuperset(known):
            self._doubted.clear()
        return sorted(known, key=self._doubted.__contains__)


class _Attempts:
    """The deadline of one call, the pauses between its attempts, and what they met."""

    def __init__(self, request: Any, timeout_ms: int, rng: random.Random) -> None:
        self._api = APIS[request.api_key]
        self._timeout_ms = timeout_ms
        self.deadline = trio.current_time() + timeout_ms / 1000
        self._rng = rng
        self._pause_ms = FIRST_PAUSE_MS
        self._reasons: dict[Address, str] = {}
        self._cut_off: Counter[Address] = Counter()

    def are_of_no_use(self, address: Address, failure: Failure) -> bool:
        """Whether no other attempt can end otherwise. A node that is killed may cut us off once, or one that takes its
        place another time; one that does so always wants something else from us."""
        if failure.kind is FailureKind.CUT_OFF:
            self._cut_off[address] += 1
        return failure.kind is FailureKind.NOT_LET_IN or self._cut_off[address] > CUTS_FORGIVEN

    def note(self, address: Address, reason: str) -> None:
        self._reasons[address] = reason

    def budget_ms(self, most: int | None) -> int:
        """What is left, but at most so much; never so little that nothing could come of it."""
        left = max(1, int((self.deadline - trio.current_time()) * 1000))
        return left if most is None else min(left, most)

    def check_deadline(self) -> None:
        """Raises NoAnswer once it is reached."""
        if trio.current_time() >= self.deadline:
            raise self.no_answer()

    async def pause(self) -> None:
        """Waits before the next round; a little different for each client, so that they do not come as one."""
        pause_s = self._pause_ms * self._rng.uniform(0.8, 1.2) / 1000
        self._pause_ms = min(2 * self._pause_ms, LONGEST_PAUSE_MS)
        await trio.sleep_until(min(self.deadline, trio.current_time() + pause_s))
        self.check_deadline()

    def no_answer(self) -> NoAnswer:
        what = f"{self._api.name}: no answer within {self._timeout_ms} ms"
        return NoAnswer(what if self._api.reads else what + "; nothing was changed", self._reasons)

    def outcome_unknown(self, failure: Failure) -> OutcomeUnknown:
        what = (
            f"{self._api.name}: the request was sent and not answered ({failure.kind.value}); it may have been carried "
            "out. Look before doing it again"
        )
        return OutcomeUnknown(what, self._reasons)


def _view_of(answer: Any) -> ClusterView:
    """From a Metadata or a DescribeCluster response, which name the node's id differently."""
    return ClusterView(
        cluster_id=answer.cluster_id,
        controller_id=answer.controller_id,
        nodes=tuple(
            Node(
                id=node.node_id if hasattr(node, "node_id") else node.broker_id,
                address=Address(node.host, node.port),
                rack=node.rack,
            )
            for node in answer.brokers
        ),
    )
