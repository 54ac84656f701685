"""ACLs, SCRAM credentials and delegation tokens, as images and as changes to them."""

import uuid
from collections.abc import Iterator
from typing import ClassVar, Final, TypeAlias

import attrs
from immutables import Map

from quorate.metadata.image.patch import patched
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import (
    AccessControlEntryRecord,
    DelegationTokenRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveUserScramCredentialRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.security.acl_index import AclIndex
from quorate.metadata.security.permissions import Acl

SCRAM_SHA_256: Final = 1
SCRAM_SHA_512: Final = 2
SCRAM_MECHANISMS: Final = {SCRAM_SHA_256: "SCRAM-SHA-256", SCRAM_SHA_512: "SCRAM-SHA-512"}


@attrs.frozen
class AclsImage:
    """Every ACL. No ACL is there twice."""

    EMPTY: ClassVar["AclsImage"]

    by_id: Map[uuid.UUID, Acl] = attrs.field(repr=False)
    ids: Map[Acl, uuid.UUID] = attrs.field(repr=False, eq=False)
    index: AclIndex = attrs.field(repr=False, eq=False)
    """The same ACLs, as decisions look them up."""

    def __len__(self) -> int:
        return len(self.by_id)


AclsImage.EMPTY = AclsImage(Map(), Map(), AclIndex.EMPTY)


class AclsDelta:
    """Changes to ACLs; None is an ACL that is gone."""

    __slots__ = ("_base", "_ids", "changed")

    def __init__(self, base: AclsImage) -> None:
        self._base = base
        self._ids: dict[Acl, uuid.UUID | None] = {}
        self.changed: dict[uuid.UUID, Acl | None] = {}

    def replay(self, record: AccessControlEntryRecord) -> None:
        acl = Acl(
            resource_type=record.resource_type,
            resource_name=record.resource_name,
            pattern_type=record.pattern_type,
            principal=record.principal,
            host=record.host,
            operation=record.operation,
            permission_type=record.permission_type,
        )
        if self._of(record.id) is not None:
            raise ReplayError(f"{record} makes a second ACL with that id")
        same = self._ids[acl] if acl in self._ids else self._base.ids.get(acl)
        if same is not None:
            raise ReplayError(f"{record} makes an ACL that exists as {same}")
        self.changed[record.id] = acl
        self._ids[acl] = record.id

    def replay_remove(self, record: RemoveAccessControlEntryRecord) -> None:
        acl = self._of(record.id)
        if acl is None:
            raise ReplayError(f"{record} removes an ACL that does not exist")
        self.changed[record.id] = None
        self._ids[acl] = None

    def _of(self, acl_id: uuid.UUID) -> Acl | None:
        return self.changed[acl_id] if acl_id in self.changed else self._base.by_id.get(acl_id)

    def apply(self) -> AclsImage:
        before = self._base.ids
        gone = [acl for acl, acl_id in self._ids.items() if acl_id is None and acl in before]
        come = [acl for acl, acl_id in self._ids.items() if acl_id is not None and acl not in before]
        return AclsImage(
            patched(self._base.by_id, self.changed),
            patched(before, self._ids),
            self._base.index.changed(gone, come),
        )


@attrs.frozen(kw_only=True)
class ScramCredential:
    """What a server needs to check a user's password."""

    salt: bytes = attrs.field(repr=False)
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)
    iterations: int


UserAndMechanism: TypeAlias = tuple[str, int]


@attrs.frozen
class CredentialsImage:
    """Every SCRAM credential."""

    EMPTY: ClassVar["CredentialsImage"]

    by_user: Map[UserAndMechanism, ScramCredential] = attrs.field(repr=False)
    """(user, mechanism) -> credential."""

    def of(self, user: str, mechanism: int) -> ScramCredential | None:
        return self.by_user.get((user, mechanism))

    def mechanisms_of(self, user: str) -> dict[int, ScramCredential]:
        """mechanism -> credential of one user."""
        found = ((mechanism, self.by_user.get((user, mechanism))) for mechanism in SCRAM_MECHANISMS)
        return {mechanism: credential for mechanism, credential in found if credential is not None}

    def users(self) -> list[str]:
        """Every user that has a credential, sorted."""
        return sorted({user for user, _ in self.by_user})


CredentialsImage.EMPTY = CredentialsImage(Map())


class CredentialsDelta:
    """Changes to SCRAM credentials; None is one that is gone."""

    __slots__ = ("_base", "changed")

    def __init__(self, base: CredentialsImage) -> None:
        self._base = base
        self.changed: dict[UserAndMechanism, ScramCredential | None] = {}

    def replay(self, record: UserScramCredentialRecord) -> None:
        if record.mechanism not in SCRAM_MECHANISMS:
            raise ReplayError(f"{record} has an unknown mechanism")
        self.changed[record.name, record.mechanism] = ScramCredential(
            salt=record.salt,
            stored_key=record.stored_key,
            server_key=record.server_key,
            iterations=record.iterations,
        )

    def replay_remove(self, record: RemoveUserScramCredentialRecord) -> None:
        key = (record.name, record.mechanism)
        there = self.changed[key] if key in self.changed else self._base.by_user.get(key)
        if there is None:
            raise ReplayError(f"{record} removes a credential that does not exist")
        self.changed[key] = None

    def apply(self) -> CredentialsImage:
        return CredentialsImage(patched(self._base.by_user, self.changed))


@attrs.frozen(kw_only=True)
class DelegationToken:
    """One delegation token; times are wall clock ms."""

    owner: str
    requester: str
    renewers: tuple[str, ...]
    issue_timestamp: int
    max_timestamp: int
    expiration_timestamp: int


@attrs.frozen
class TokensImage:
    """Every delegation token."""

    EMPTY: ClassVar["TokensImage"]

    by_id: Map[str, DelegationToken] = attrs.field(repr=False)

    def sorted(self) -> Iterator[tuple[str, DelegationToken]]:
        """(id, token) of all, by id."""
        return ((token_id, self.by_id[token_id]) for token_id in sorted(self.by_id))


TokensImage.EMPTY = TokensImage(Map())


class TokensDelta:
    """Changes to delegation tokens; None is one that is gone."""

    __slots__ = ("_base", "changed")

    def __init__(self, base: TokensImage) -> None:
        self._base = base
        self.changed: dict[str, DelegationToken | None] = {}

    def replay(self, record: DelegationTokenRecord) -> None:
        self.changed[record.token_id] = DelegationToken(
            owner=record.owner,
            requester=record.requester,
            renewers=record.renewers,
            issue_timestamp=record.issue_timestamp,
            max_timestamp=record.max_timestamp,
            expiration_timestamp=record.expiration_timestamp,
        )

    def replay_remove(self, record: RemoveDelegationTokenRecord) -> None:
        # Kafka lets a token be removed twice: expiry and an operator may both have asked for it.
        self.changed[record.token_id] = None

    def apply(self) -> TokensImage:
        return TokensImage(patched(self._base.by_id, self.changed))
