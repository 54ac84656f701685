"""Messages that Kafka does not have, in the form in which kio states Kafka's.

Their keys lie far above Kafka's, and they are advertised only where they work: clients skip keys that they do not know.
"""

import dataclasses
import uuid
from typing import Any, ClassVar, Final

import kio.index
from kio.schema.errors import ErrorCode
from kio.schema.request_header.v2.header import RequestHeader
from kio.schema.response_header.v1.header import ResponseHeader
from kio.static.constants import EntityType
from kio.static.primitive import i16, i64

FIRST_OWN_KEY: Final = 20_000


def load_request_schema(key: int, version: int) -> Any:
    """The class of a request, Kafka's or ours.

    Raises:
        kio.index.UnknownEntity: there is no such version.
    """
    return _REQUESTS[key, version] if key >= FIRST_OWN_KEY else kio.index.load_request_schema(key, version)


def load_response_schema(key: int, version: int) -> Any:
    """The class of a response, Kafka's or ours.

    Raises:
        kio.index.UnknownEntity: there is no such version.
    """
    return _RESPONSES[key, version] if key >= FIRST_OWN_KEY else kio.index.load_response_schema(key, version)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _SteerMigrationRequest:
    __type__: ClassVar = EntityType.request
    __version__: ClassVar[i16] = i16(0)
    __flexible__: ClassVar[bool] = True
    __api_key__: ClassVar[i16] = i16(20_000)
    __header_schema__: ClassVar[type[RequestHeader]] = RequestHeader
    step: str = dataclasses.field(metadata={"kafka_type": "string"})
    attempt: uuid.UUID | None = dataclasses.field(metadata={"kafka_type": "uuid"})
    forced: bool = dataclasses.field(metadata={"kafka_type": "bool"})
    validate_only: bool = dataclasses.field(metadata={"kafka_type": "bool"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _SteerMigrationResponse:
    __type__: ClassVar = EntityType.response
    __version__: ClassVar[i16] = i16(0)
    __flexible__: ClassVar[bool] = True
    __api_key__: ClassVar[i16] = i16(20_000)
    __header_schema__: ClassVar[type[ResponseHeader]] = ResponseHeader
    error_code: ErrorCode = dataclasses.field(metadata={"kafka_type": "error_code"})
    error_message: str | None = dataclasses.field(metadata={"kafka_type": "string"})
    offset: i64 = dataclasses.field(metadata={"kafka_type": "int64"})
    status: str = dataclasses.field(metadata={"kafka_type": "string"})


_REQUESTS: Final = {(20_000, 0): _SteerMigrationRequest}
_RESPONSES: Final = {(20_000, 0): _SteerMigrationResponse}
