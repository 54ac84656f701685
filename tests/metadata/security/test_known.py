"""Whom a listener knows: from its configuration, and from the metadata as it is at that moment."""

import base64
import hashlib
import hmac

from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.security import SCRAM_SHA_256
from quorate.metadata.records import (
    DelegationTokenRecord,
    RemoveUserScramCredentialRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.security.known import KnownUsers, token_password
from quorate.metadata.security.mechanisms import client_mechanism, server_mechanism
from tests.metadata.security.people import CREDENTIALS


def after(image: MetadataImage, *records: object) -> MetadataImage:
    delta = MetadataDelta(image)
    for record in records:
        delta.replay(record)
    return delta.apply(image.provenance)


def test_a_credential_counts_while_it_is_in_the_image() -> None:
    made = CREDENTIALS[SCRAM_SHA_256]
    record = UserScramCredentialRecord(
        name="alice",
        mechanism=SCRAM_SHA_256,
        salt=made.salt,
        stored_key=made.stored_key,
        server_key=made.server_key,
        iterations=made.iterations,
    )
    images = [MetadataImage.EMPTY]
    known = KnownUsers(image=lambda: images[-1], wall_ms=lambda: 0)

    assert known.credential_of("alice", SCRAM_SHA_256) is None
    images.append(after(images[-1], record))
    assert known.credential_of("alice", SCRAM_SHA_256) == made
    images.append(after(images[-1], RemoveUserScramCredentialRecord(name="alice", mechanism=SCRAM_SHA_256)))
    assert known.credential_of("alice", SCRAM_SHA_256) is None


def test_a_token_lets_its_owner_in_until_it_expires_and_only_where_its_secret_is_known() -> None:
    token = DelegationTokenRecord(
        owner="User:bob",
        requester="User:bob",
        renewers=(),
        issue_timestamp=0,
        max_timestamp=100,
        expiration_timestamp=50,
        token_id="t",
    )
    image = after(MetadataImage.EMPTY, token)
    clock = [49]
    known = KnownUsers(image=lambda: image, wall_ms=lambda: clock[0], token_secret="secret")
    password = base64.b64encode(hmac.new(b"secret", b"t", hashlib.sha512).digest()).decode()

    assert token_password("t", "secret") == password
    server = server_mechanism("SCRAM-SHA-256", known, lambda: "s")
    client = client_mechanism("SCRAM-SHA-256", "t", password, lambda: "c", by_token=True)
    data: bytes | None = client.first()
    while data is not None:
        data = client.next(server.respond(data))
    assert server.identity is not None
    assert (server.identity.principal, server.identity.expires_ms) == ("User:bob", 50)

    clock[0] = 50
    assert known.token("t", SCRAM_SHA_256) is None
    clock[0] = 0
    assert KnownUsers(image=lambda: image, wall_ms=lambda: 0).token("t", SCRAM_SHA_256) is None
