"""Links to the other replicas: the core's requests out, their outcomes back into its inbox (shell).

One link per address, connected when first needed and again after it broke. A link never retries by itself: whether and
when to ask again is the core's decision, which needs to be told at once that nobody listens (REFUSED) or that a
connection broke (RESET).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.connection import (
    ClientSecurity,
    ConnectFailed,
    Connection,
    FailureKind,
    connect,
)
from quorate.metadata.connection import Failure as NoAnswer
from quorate.metadata.features import KRAFT_VERSION
from quorate.metadata.fetch_frames import FetchForm
from quorate.metadata.ids import Endpoint, NodeId
from quorate.metadata.quorum.effects import SendRequest
from quorate.metadata.quorum.events import Event, Failure, RequestFailed, ResponseReceived
from quorate.metadata.quorum.messages import (
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    VersionsRequest,
    VersionsResponse,
)
from quorate.metadata.raft_wire import request_to_wire, response_from_wire

_IDLE_S: Final = 60.0
"""A link that has no connection, and that nobody wants for so long, is forgotten: peers change addresses."""

_FAILURES: Final = {
    FailureKind.REFUSED: Failure.REFUSED,
    FailureKind.RESET: Failure.RESET,
    FailureKind.CLOSED: Failure.RESET,
    FailureKind.UNSUPPORTED_VERSION: Failure.UNSUPPORTED,
}
"""All other kinds say nothing about the peer's process: to the core they are a request that timed out."""

Submit = Callable[[Event], None]

_log = structlog.get_logger(__name__)


class PeerLinks:
    """All links of one node. `run` owns their tasks; `send` may be called from the moment it has started."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        cluster_id: str,
        listener: str,
        request_timeout_ms: int,
        security: ClientSecurity | None = None,
    ) -> None:
        self._client_id = f"raft-client-{node_id}"
        self._cluster_id = cluster_id
        self._listener = listener
        self._fetches = FetchForm(cluster_id=cluster_id, client_id=self._client_id, listener=listener)
        self._timeout_ms = request_timeout_ms
        self._security = security
        self._links: dict[tuple[str, int], _Link] = {}
        self._complained: dict[tuple[str, int], str] = {}
        self._outcomes: dict[tuple[str, int], LeaderAndEpoch | str] = {}
        self._nursery: trio.Nursery | None = None
        self._submit: Submit | None = None

    async def run(
        self, submit: Submit, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until cancelled. `submit` takes the outcomes: the node's inbox."""
        async with trio.open_nursery() as nursery:
            self._nursery, self._submit = nursery, submit
            task_status.started()
            await trio.sleep_forever()

    def send(self, request: SendRequest) -> None:
        """Sends, or fails: exactly one event follows, for the inbox of a node that is in the middle of a turn."""
        endpoint = request.peer.endpoint
        where = (endpoint.host, endpoint.port)
        link = self._links.get(where)
        if link is None:
            if self._nursery is None or self._submit is None:
                raise RuntimeError("PeerLinks.send before run")
            link = self._links[where] = _Link(endpoint, self)
            self._nursery.start_soon(self._live, link)
        link.send(request)

    async def _live(self, link: "_Link") -> None:
        try:
            await link.run()
        finally:
            where = (link.endpoint.host, link.endpoint.port)
            if self._links.get(where) is link:
                del self._links[where]

    async def open(self, endpoint: Endpoint) -> Connection:
        return await connect(
            Address(endpoint.host, endpoint.port),
            timeout_ms=self._timeout_ms,
            client_id=self._client_id,
            security=self._security,
        )

    def put(self, connection: Connection, request: SendRequest) -> None:
        """Writes a request to an open connection and sees to its outcome."""
        if isinstance(request.request, VersionsRequest):  # it said so when the connection was opened
            self._tell(
                ResponseReceived(request.correlation, VersionsResponse(kraft_versions=_spoken(connection)))
            )
            return
        endpoint = request.peer.endpoint

        def on_reply(reply: Any) -> None:
            if isinstance(reply, NoAnswer):
                self.fail(request, reply)
                return
            try:
                response = (
                    reply if isinstance(reply, FetchResponse) else response_from_wire(reply, self._listener)
                )
            except RemoteProtocolError as error:
                why = self._complain(endpoint, reply, error)
                self.fail(request, NoAnswer(kind=FailureKind.NOT_KAFKA, written=True, text=why))
                return
            self._outcomes[endpoint.host, endpoint.port] = response.leader
            self._tell(ResponseReceived(request.correlation, response))

        if isinstance(request.request, FetchRequest):
            connection.send(request.request, on_reply, timeout_ms=self._timeout_ms, form=self._fetches)
        else:
            asked = request_to_wire(request.request, self._cluster_id)
            connection.send(asked, on_reply, timeout_ms=self._timeout_ms)

    def fail(self, request: SendRequest, failure: NoAnswer) -> None:
        endpoint = request.peer.endpoint
        self._outcomes[endpoint.host, endpoint.port] = failure.text
        if failure.kind in (FailureKind.NOT_LET_IN, FailureKind.CUT_OFF):
            self._warn_once(endpoint, failure.text)
        self._tell(RequestFailed(request.correlation, _FAILURES.get(failure.kind, Failure.TIMED_OUT)))

    def last_said(self) -> dict[Address, str]:
        """Each address that was asked, and what became of the last request to it: for people."""
        return {
            Address(*where): outcome if isinstance(outcome, str) else _leader_named(outcome)
            for where, outcome in self._outcomes.items()
        }

    def _complain(self, peer: Endpoint, reply: Any, error: RemoteProtocolError) -> str:
        """To the core this is a peer that does not answer; whoever runs the node is told why, once."""
        why = str(error)
        if reply.error_code is ErrorCode.inconsistent_cluster_id:
            why = (
                f"it belongs to another cluster than this node, whose directory is of cluster {self._cluster_id}; "
                "controller.quorum.bootstrap.servers or metadata.log.dir is wrong, or the quorum was recovered without "
                "this directory, which then has to be formatted anew (docs/recovery.md)"
            )
        elif reply.error_code is ErrorCode.cluster_authorization_failed:
            why = (
                "it does not take this node for one of the cluster: super.users of all nodes must name the principal "
                "as which this node is let in there (its log has it, as denied)"
            )
        self._warn_once(peer, why)
        return why

    def _warn_once(self, peer: Endpoint, why: str) -> None:
        where = (peer.host, peer.port)
        if self._complained.get(where) != why:
            self._complained[where] = why
            _log.warning("a peer's answer is of no use", peer=f"{peer.host}:{peer.port}", why=why)

    def _tell(self, event: Event) -> None:
        if self._submit is not None:
            self._submit(event)


def _spoken(connection: Connection) -> tuple[int, int] | None:
    for feature in connection.peer.supported_features:
        if feature.name == KRAFT_VERSION:
            return feature.min_version, feature.max_version
    return None


class _Link:
    """The connection to one address, and what waits for it."""

    def __init__(self, endpoint: Endpoint, links: PeerLinks) -> None:
        self.endpoint = endpoint
        self._links = links
        self._connection: Connection | None = None
        self._waiting: deque[SendRequest] = deque()
        self._wanted = trio.Event()

    def send(self, request: SendRequest) -> None:
        if self._connection is not None and self._connection.is_open:
            self._links.put(self._connection, request)
        else:
            self._waiting.append(request)
            self._wanted.set()

    async def run(self) -> None:
        """Connects whenever something waits; ends when nothing did for a while."""
        while True:
            with trio.move_on_after(_IDLE_S):
                await self._wanted.wait()
            if not self._waiting:
                return
            self._wanted = trio.Event()
            try:
                connection = await self._links.open(self.endpoint)
            except ConnectFailed as problem:
                self._fail_waiting(problem.failure)
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run)
                self._connection = connection
                while self._waiting:
                    self._links.put(connection, self._waiting.popleft())
            self._connection = None

    def _fail_waiting(self, failure: NoAnswer) -> None:
        while self._waiting:
            self._links.fail(self._waiting.popleft(), failure)


def _leader_named(leader: LeaderAndEpoch) -> str:
    if leader.leader_id is None:
        return f"knows of no active controller in epoch {leader.epoch}"
    where = "" if leader.endpoint is None else f" at {Address(leader.endpoint.host, leader.endpoint.port)}"
    return f"says that node {leader.leader_id}{where} is the active controller of epoch {leader.epoch}"
