"""ACLs and delegation tokens, out of a tree."""

import hashlib
import uuid
from collections.abc import Iterator
from typing import Final

import attrs

from quorate.metadata.image.writer import acl_record
from quorate.metadata.records import AnyDataRecord, DelegationTokenRecord
from quorate.metadata.security.permissions import Acl, Pattern
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.reading import Batch
from quorate.metadata.zookeeper.kafka_znodes.security import (
    RESOURCE_NODES,
    AclNode,
    decode_acls,
    decode_token,
)
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Troubles

ACLS_PER_BATCH: Final = 100

_STORES: Final = ((paths.LITERAL_ACLS, Pattern.LITERAL.value), (paths.PREFIXED_ACLS, Pattern.PREFIXED.value))


def acl_id(cluster_id: str | None, acl: Acl) -> uuid.UUID:
    """The id of an ACL that comes from ZooKeeper, where ACLs have none.

    It is made of what the ACL says, so that a copy that is begun again says the same. Kafka draws one.
    """
    said = repr((cluster_id, attrs.astuple(acl))).encode()
    return uuid.UUID(bytes=hashlib.sha256(said).digest()[:16], version=4)


@attrs.define
class SecurityReader:
    """Reads both stores of ACLs, and the tokens."""

    family: Family
    troubles: Troubles
    cluster_id: str | None

    def acls(self) -> Iterator[Batch]:
        """Literal ones first, by type and name of the resource; so many to a batch as Kafka's copy takes."""
        waiting: list[AnyDataRecord] = []
        seen: set[Acl] = set()
        for node in self._nodes():
            for acl in self._of(node):
                if acl in seen:
                    words = f"An ACL of {acl.principal} stands there twice; once is enough"
                    self.troubles.note(Category.ACLS, node.path, "double-acl", words)
                    continue
                seen.add(acl)
                waiting.append(acl_record(acl_id(self.cluster_id, acl), acl))
                if len(waiting) == ACLS_PER_BATCH:
                    yield Batch(category=Category.ACLS, path=node.path, records=tuple(waiting))
                    waiting = []
        if waiting:
            yield Batch(category=Category.ACLS, path=paths.LITERAL_ACLS, records=tuple(waiting))

    def _nodes(self) -> Iterator[AclNode]:
        for store, pattern in _STORES:
            for kind in self.family.children(store):
                if kind not in RESOURCE_NODES:
                    words = f"There is no type of resource {kind}: what lies there means nothing"
                    self.troubles.note(Category.ACLS, f"{store}/{kind}", "unknown-resource", words)
                    continue
                for name in self.family.children(f"{store}/{kind}"):
                    yield AclNode(RESOURCE_NODES[kind], pattern, name)

    def _of(self, node: AclNode) -> Iterator[Acl]:
        try:
            entries = decode_acls(node, self.family.data(node.path))
        except FormError as error:
            self.troubles.undecodable(
                Category.ACLS, node.path, error, "All ACLs of this resource are left out"
            )
            return
        for entry in entries:
            if entry.acl is None:
                problem = entry.trouble or FormError("not-json", "an ACL means nothing")
                self.troubles.undecodable(Category.ACLS, node.path, problem, "The ACL is left out")
                continue
            if entry.trouble is not None:
                words = (
                    f"{entry.trouble}: it is copied as an ACL for an unknown operation, which decides nothing"
                )
                self.troubles.warn(
                    Category.ACLS, node.path, entry.trouble.code, words, "Remove it by kafka-acls"
                )
            yield entry.acl

    def tokens(self) -> Iterator[Batch]:
        """By id. Null or empty data is a token that was removed."""
        for name in self.family.children(paths.TOKENS):
            path = paths.token(name)
            data = self.family.data(path)
            if not data:
                continue
            try:
                token_id, token = decode_token(data)
                if token_id != name:
                    raise FormError("wrong-value", f"its tokenId is {token_id!r}")
            except FormError as error:
                self.troubles.undecodable(Category.TOKENS, path, error, "The token is left out")
                continue
            record = DelegationTokenRecord(
                owner=token.owner,
                requester=token.requester,
                renewers=token.renewers,
                issue_timestamp=token.issue_timestamp,
                max_timestamp=token.max_timestamp,
                expiration_timestamp=token.expiration_timestamp,
                token_id=token_id,
            )
            yield Batch(category=Category.TOKENS, path=path, records=(record,))
