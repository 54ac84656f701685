"""Topics that are made because somebody asked for them: `auto.create.topics.enable` (shell).

A client's Metadata request that names an unknown topic is answered at once, and truthfully: there is none. Beside
that a CreateTopics goes to the controller on that client's behalf, with this broker's defaults; the client asks
again, and finds it. Each name is under way once, however many clients ask.
"""

from typing import Any, Final

import structlog

from quorate.broker.config import BrokerConfig
from quorate.broker.relay import Relay
from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.wire.table import decode_response, encode_request
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest

MAX_UNDER_WAY: Final = 100
"""Beyond it a name is not made now; its client will ask again."""
_TIMEOUT_MS: Final = 30_000
_VERSION: Final = 5
"""Of CreateTopics: spoken by every controller that takes envelopes."""
_LENGTH_BYTES: Final = 4
_NOTHING_TO_TELL: Final = frozenset({ErrorCode.none, ErrorCode.topic_already_exists})

_log = structlog.get_logger("broker")


class TopicMaker:
    """Makes topics on demand, through the relay."""

    def __init__(self, config: BrokerConfig, relay: Relay) -> None:
        self._partitions = config.num_partitions
        self._replication_factor = config.default_replication_factor
        self._relay = relay
        self._under_way: set[str] = set()

    def make(self, name: str, asked_by: Call) -> None:
        """Has the topic made, unless that is under way already."""
        if name in self._under_way or len(self._under_way) >= MAX_UNDER_WAY:
            return
        self._under_way.add(name)
        topic = CreatableTopic(
            name=name, num_partitions=self._partitions, replication_factor=self._replication_factor
        )
        request = CreateTopicsRequest(topics=(topic,), timeout_ms=_TIMEOUT_MS)
        frame = encode_request(request, _VERSION, 0, asked_by.client_id)[_LENGTH_BYTES:]
        self._relay.forward(
            Call(
                _Outcome(name, self._under_way),
                frame,
                principal=asked_by.principal,
                client_host=asked_by.client_host,
                listener_name=asked_by.listener_name,
                connection_id=asked_by.connection_id,
                received_ms=asked_by.received_ms,
            )
        )


class _Outcome:
    """Where the answer goes: to the log, if it is bad news."""

    def __init__(self, name: str, under_way: set[str]) -> None:
        self._name = name
        self._under_way = under_way

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self._under_way.discard(self._name)
        try:
            answer = response or decode_response(call.api_key, call.api_version, data[_LENGTH_BYTES:])
        except RemoteProtocolError as error:
            _log.warning("a topic was not made on demand", topic=self._name, why=str(error))
            return
        for topic in answer.topics:
            if topic.error_code not in _NOTHING_TO_TELL:
                _log.warning(
                    "a topic was not made on demand",
                    topic=topic.name,
                    error=topic.error_code.name.upper(),
                    why=topic.error_message,
                    client=call.client_host,
                )
