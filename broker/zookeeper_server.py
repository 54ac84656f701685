"""What a broker in ZooKeeper mode answers: almost nothing itself (shell).

It has no image. Everything but ApiVersions and DescribeLogDirs goes in an Envelope to whoever holds the controller's
office: to this very broker's part in it, to another broker, or, while a migration runs, to a controller of a quorum.
Envelopes from other brokers go to this broker's part in the office.
"""

from collections.abc import Mapping
from typing import Any, Final

from quorate.broker.links import Sender
from quorate.broker.log_dirs import describe_log_dirs
from quorate.broker.relay import Relay
from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.metadata.calls import AskedAt, Call, answer_read
from quorate.metadata.config_keys import BROKER_KEYS, ConfigKey
from quorate.metadata.connection import OnReply
from quorate.metadata.ids import Endpoint
from quorate.metadata.node import now_ms
from quorate.metadata.security.gate import Gate
from quorate.metadata.wire import cluster, configs, log_dirs
from quorate.metadata.wire.envelope import EnvelopeRequest
from quorate.metadata.wire.table import encode_request, offered
from quorate.metadata.zookeeper.office import ControllerOffice

_LENGTH_BYTES: Final = 4


class ZooKeeperBrokerServer:
    """A `calls.Service`."""

    def __init__(self, *, config: ZooKeeperBrokerConfig, relay: Relay, office: ControllerOffice) -> None:
        self._config = config
        self._relay = relay
        self._office = office
        # Without an image only super users are known to have rights; it is asked for nothing but DescribeLogDirs.
        self._gate = Gate(config.authorizer, lambda: None, at_controller=False)
        own = (EnvelopeRequest.api_key, log_dirs.DescribeLogDirsRequest.api_key)
        self.serves: Final = frozenset((*office.serves, *own))

    def api_versions(self, listener_name: str) -> cluster.ApiVersionsResponse:
        """No features: inter.broker.protocol.version is in their place."""
        return cluster.ApiVersionsResponse(
            api_keys=offered((*self.serves, cluster.ApiVersionsRequest.api_key))
        )

    def handle(self, call: Call) -> None:
        if isinstance(call.request, EnvelopeRequest):
            self._office.handle(call)
        elif isinstance(call.request, log_dirs.DescribeLogDirsRequest):
            if self._gate.admits(call):
                answer_read(call, self._describe_log_dirs)
        else:
            self._relay.forward(call)

    def _describe_log_dirs(self, call: Call) -> Any:
        return describe_log_dirs(self._config.metadata_log_dir)


class AskedHere:
    """What the controller is told of this broker, so that it can answer in its place."""

    def __init__(self, config: ZooKeeperBrokerConfig) -> None:
        self._node_id = config.node_id
        self._configs = _shown(config.static, type(config).own_keys())

    def __call__(self, call: Call) -> AskedAt:
        describes = isinstance(call.request, configs.DescribeConfigsRequest)
        return AskedAt(
            broker_id=self._node_id,
            listener_name=call.listener_name,
            configs=self._configs if describes else {},
        )


def _shown(static: Mapping[str, str], own_keys: Mapping[str, ConfigKey]) -> Mapping[str, str]:
    """What a file says, but for what must not be told: passwords stay here."""

    def tells(name: str) -> bool:
        key = own_keys.get(name) or BROKER_KEYS.by_name.get(name)
        return key is not None and not key.sensitive

    return {name: text if tells(name) else "" for name, text in static.items()}


class OwnOfficeFirst:
    """A `links.Sender` that needs no connection to this very broker, and two ways to others: brokers and controllers
    ask differently who is there."""

    def __init__(
        self, to_brokers: Sender, to_controllers: Sender, office: ControllerOffice, own: Endpoint
    ) -> None:
        self._to_brokers = to_brokers
        self._to_controllers = to_controllers
        self._office = office
        self._own = own

    def send(self, endpoint: Endpoint, request: Any, on_reply: OnReply, *, timeout_ms: int) -> None:
        """See `links.Sender`."""
        if endpoint != self._own:
            links = self._to_brokers if endpoint.name == self._own.name else self._to_controllers
            links.send(endpoint, request, on_reply, timeout_ms=timeout_ms)
            return
        envelope = Call(
            _Reply(on_reply),
            encode_request(request, 0, 0, None)[_LENGTH_BYTES:],
            principal="User:ANONYMOUS",
            client_host="127.0.0.1",
            listener_name=endpoint.name,
            connection_id=0,
            received_ms=now_ms(),
        )
        self._office.handle(envelope, own=True)


class _Reply:
    """Hands the answer to whoever sent the Envelope."""

    def __init__(self, on_reply: OnReply) -> None:
        self._on_reply = on_reply

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self._on_reply(response)
