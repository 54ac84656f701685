"""Records of who may do what and who is who: ACLs, SCRAM credentials, delegation tokens."""

import uuid
from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.records.declare import (
    BYTES,
    INT8,
    INT32,
    INT64,
    STRING,
    UUID,
    ArrayOf,
    DataRecord,
    kafka,
)


@frozen(kw_only=True)
class AccessControlEntryRecord(DataRecord):
    """Adds an ACL. The numbers are those of Kafka's enums (KIP-140, KIP-290)."""

    api_key: ClassVar = 18
    versions: ClassVar = (0, 0)

    id: uuid.UUID = field(metadata=kafka(UUID, "The ACL's id; it is removed by it."))
    resource_type: int = field(
        metadata=kafka(INT8, "2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.")
    )
    resource_name: str = field(metadata=kafka(STRING, "The resource, or the prefix, or *."))
    pattern_type: int = field(metadata=kafka(INT8, "3 literal, 4 prefixed."))
    principal: str = field(metadata=kafka(STRING, "Whom it is about, as type:name."))
    host: str = field(metadata=kafka(STRING, "The client's address, or *."))
    operation: int = field(
        metadata=kafka(INT8, "2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, and so on.")
    )
    permission_type: int = field(metadata=kafka(INT8, "2 deny, 3 allow."))


@frozen(kw_only=True)
class RemoveAccessControlEntryRecord(DataRecord):
    """Removes an ACL."""

    api_key: ClassVar = 19
    versions: ClassVar = (0, 0)

    id: uuid.UUID = field(metadata=kafka(UUID, "The ACL to remove."))


@frozen(kw_only=True)
class UserScramCredentialRecord(DataRecord):
    """Sets a user's SCRAM credential for one mechanism (KIP-900)."""

    api_key: ClassVar = 11
    versions: ClassVar = (0, 0)

    name: str = field(metadata=kafka(STRING, "The user."))
    mechanism: int = field(metadata=kafka(INT8, "1 SCRAM-SHA-256, 2 SCRAM-SHA-512."))
    salt: bytes = field(repr=False, metadata=kafka(BYTES, "The salt that the client drew."))
    stored_key: bytes = field(repr=False, metadata=kafka(BYTES, "What the server checks the client with."))
    server_key: bytes = field(repr=False, metadata=kafka(BYTES, "What the server proves itself with."))
    iterations: int = field(metadata=kafka(INT32, "How often the password was hashed."))


@frozen(kw_only=True)
class RemoveUserScramCredentialRecord(DataRecord):
    """Removes a user's SCRAM credential for one mechanism."""

    api_key: ClassVar = 22
    versions: ClassVar = (0, 0)

    name: str = field(metadata=kafka(STRING, "The user."))
    mechanism: int = field(metadata=kafka(INT8, "1 SCRAM-SHA-256, 2 SCRAM-SHA-512."))


@frozen(kw_only=True)
class DelegationTokenRecord(DataRecord):
    """Creates or renews a delegation token.

    Its HMAC is not stored: every node computes it from the shared secret.
    """

    api_key: ClassVar = 10
    versions: ClassVar = (0, 0)

    owner: str = field(metadata=kafka(STRING, "The principal that the token stands for."))
    requester: str = field(metadata=kafka(STRING, "The principal that asked for it."))
    renewers: tuple[str, ...] = field(metadata=kafka(ArrayOf(STRING), "The principals that may renew it."))
    issue_timestamp: int = field(metadata=kafka(INT64, "When it was made, wall clock ms."))
    max_timestamp: int = field(metadata=kafka(INT64, "When it can no longer be renewed, wall clock ms."))
    expiration_timestamp: int = field(metadata=kafka(INT64, "When it expires unless renewed, wall clock ms."))
    token_id: str = field(metadata=kafka(STRING, "The token's id."))


@frozen(kw_only=True)
class RemoveDelegationTokenRecord(DataRecord):
    """Removes a delegation token."""

    api_key: ClassVar = 26
    versions: ClassVar = (0, 0)

    token_id: str = field(metadata=kafka(STRING, "The token to remove."))
