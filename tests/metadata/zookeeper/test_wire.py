"""Messages: read back what kazoo writes, byte by byte; what is no message costs the connection or the request."""

import pytest
from kazoo.protocol import serialization as kazoo
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.zookeeper.acls import OPEN, Acl
from quorate.metadata.zookeeper.client import MultiRead as Theirs
from quorate.metadata.zookeeper.draft import SetAcl
from quorate.metadata.zookeeper.frames import Frames
from quorate.metadata.zookeeper.messages import (
    MAX_BYTES,
    Connect,
    Kind,
    Multi,
    MultiRead,
    Read,
    Unreadable,
    read_connect,
    read_request,
)
from quorate.metadata.zookeeper.znodes import Check, Create, Delete, ErrorCode, SetData

DIGEST = make_digest_acl("me", "secret", read=True)
OURS = (Acl(1, "digest", DIGEST.id.id),)


def sent(request: object, xid: int = 7) -> bytes:
    kind: int = request.type  # type: ignore[attr-defined]
    return kazoo.int_int_struct.pack(xid, kind) + bytes(request.serialize())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (kazoo.Create("/a", b"x", OPEN_ACL_UNSAFE, 0), Create("/a", b"x")),
        (kazoo.Create("/a", None, [DIGEST], 3), Create("/a", None, True, True, OURS)),
        (kazoo.Create2("/\u4e2d", b"", OPEN_ACL_UNSAFE, 1), Create("/\u4e2d", b"", True)),
        (kazoo.Delete("/a", 3), Delete("/a", 3)),
        (kazoo.SetData("/a", None, -1), SetData("/a", None, -1)),
        (kazoo.SetACL("/a", [DIGEST], 2), SetAcl("/a", OURS, 2)),
        (kazoo.GetData("/a", print), Read("/a", True)),
        (kazoo.Exists("/a", None), Read("/a", False)),
        (kazoo.GetChildren2("/a", None), Read("/a", False)),
        (kazoo.GetACL("/a"), "/a"),
        (
            kazoo.Transaction([kazoo.Create("/a", b"", OPEN_ACL_UNSAFE, 0), kazoo.CheckVersion("/b", 4)]),
            Multi([Create("/a", b""), Check("/b", 4)], [Kind.CREATE, Kind.CHECK]),
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_kazoo_says(theirs: object, ours: object) -> None:
    request = read_request(sent(theirs))

    assert (request.xid, request.body) == (7, ours)
    data = sent(theirs)
    for end in range(8, len(data)):
        with pytest.raises(Unreadable) as unreadable:
            read_request(data[:end])
        assert (unreadable.value.xid, unreadable.value.code) == (7, ErrorCode.MARSHALLING_ERROR)


def test_open_acls_are_one_object() -> None:
    """Of which a large tree has hundreds of thousands."""
    body = read_request(sent(kazoo.Create("/a", b"x", OPEN_ACL_UNSAFE, 0))).body

    assert isinstance(body, Create)
    assert body.acl is OPEN


def test_many_reads_in_one_request() -> None:

    assert read_request(sent(Theirs(8, ["/a", "/b"]))).body == MultiRead(
        [(Kind.GET_CHILDREN, "/a"), (Kind.GET_CHILDREN, "/b")]
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (kazoo.int_int_struct.pack(7, 99), ErrorCode.UNIMPLEMENTED),
        (sent(kazoo.Create("/a", b"", OPEN_ACL_UNSAFE, 4)), ErrorCode.UNIMPLEMENTED),
        (sent(kazoo.Create("/a", b"", OPEN_ACL_UNSAFE, 9)), ErrorCode.BAD_ARGUMENTS),
        (kazoo.int_int_struct.pack(7, 3) + b"\0\0\0\1\xff\0", ErrorCode.MARSHALLING_ERROR),
        (kazoo.int_int_struct.pack(7, 101) + bytes(8) + b"\x7f\xff\xff\xff", ErrorCode.MARSHALLING_ERROR),
    ],
)
def test_what_cannot_be_said(data: bytes, code: ErrorCode) -> None:
    with pytest.raises(Unreadable) as unreadable:
        read_request(data)
    assert unreadable.value.code is code


def test_no_header_is_no_request() -> None:
    with pytest.raises(RemoteProtocolError):
        read_request(b"\0\0\0\1\0")


def test_connect_of_new_and_old_clients() -> None:
    data = bytes(kazoo.Connect(0, 9, 4000, 77, b"p" * 16, False).serialize())

    assert read_connect(data) == Connect(9, 4000, 77, b"p" * 16, True)
    assert read_connect(data[:-1]) == Connect(9, 4000, 77, b"p" * 16, False)
    with pytest.raises(RemoteProtocolError):
        read_connect(data[:-10])


def test_frames_come_whole_however_they_arrive() -> None:
    stream = b"".join(len(one).to_bytes(4, "big") + one for one in (b"", b"a", b"bc" * 300))

    for step in (1, 3, 1000):
        frames = Frames()
        found: list[bytes] = []
        for at in range(0, len(stream), step):
            found += frames.add(stream[at : at + step])
        assert found == [b"", b"a", b"bc" * 300]


@pytest.mark.parametrize("size", [-1, MAX_BYTES + 1])
def test_too_long_a_frame(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match=str(size)):
        list(Frames().add(size.to_bytes(4, "big", signed=True)))
