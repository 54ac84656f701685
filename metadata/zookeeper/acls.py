"""Who may do what to a znode, in ZooKeeper's words: permissions, schemes, identities (pure).

A client is known by its identities: `ip` by its address, `digest` by a name and password that it sent. A znode's ACL
lists identities with what they may do; nobody inherits anything from a parent. Schemes that this server cannot
authenticate (`sasl`, `x509`) can be stored, as a tree of a secured cluster has them; nobody is them here.
(ZooKeeper Programmer's Guide, "ZooKeeper access control using ACLs".)
"""

import base64
import enum
import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Final

import attrs


class Permission(enum.IntFlag):
    """ZooKeeper's numbers (ZooDefs.Perms)."""

    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


@attrs.frozen
class Identity:
    scheme: str
    id: str


@attrs.frozen
class Acl:
    permissions: int
    scheme: str
    id: str


OPEN: Final = (Acl(Permission.ALL, "world", "anyone"),)
READ_ONLY: Final = (Acl(Permission.READ, "world", "anyone"),)

_STORED_AS_THEY_ARE: Final = frozenset({"sasl", "x509", "super"})


def permits(acl: tuple[Acl, ...], wanted: int, identities: Iterable[Identity]) -> bool:
    """Any one of the permissions in `wanted` will do."""
    if acl is OPEN or not acl:
        return True
    for entry in acl:
        if not entry.permissions & wanted:
            continue
        if entry.scheme == "world":
            return True
        for identity in identities:
            if identity.scheme == entry.scheme and _is(identity, entry):
                return True
    return False


def expanded(acl: Iterable[Acl], identities: Iterable[Identity]) -> tuple[Acl, ...] | None:
    """As it is stored: each entry once, `auth` replaced by who asks; None if it says nothing or nobody can be meant."""
    found: dict[Acl, None] = {}
    for entry in acl:
        if entry.scheme == "auth":
            meant = [identity for identity in identities if identity.scheme != "ip"]
            if not meant:
                return None
            found.update((Acl(entry.permissions, who.scheme, who.id), None) for who in meant)
        elif _can_be_meant(entry):
            found[entry] = None
        else:
            return None
    result = tuple(found)
    return (OPEN if result == OPEN else result) or None


def without_passwords(acl: tuple[Acl, ...]) -> tuple[Acl, ...]:
    """For those who may read the ACL and not change it."""
    return tuple(
        attrs.evolve(entry, id=entry.id.partition(":")[0] + ":x") if entry.scheme == "digest" else entry
        for entry in acl
    )


def digest_identity(credential: bytes) -> Identity | None:
    """Of `name:password`; None if it is not of that form."""
    try:
        text = credential.decode()
    except UnicodeDecodeError:
        return None
    name, colon, _ = text.partition(":")
    if not colon:
        return None
    # SHA-1 is what ZooKeeper's ACLs hold: clients compute the same, and it is stored in trees
    return Identity("digest", f"{name}:{base64.b64encode(hashlib.sha1(credential).digest()).decode()}")


def _is(identity: Identity, entry: Acl) -> bool:
    if entry.scheme != "ip" or "/" not in entry.id:
        return identity.id == entry.id
    network, _, bits = entry.id.partition("/")
    wanted, given = _address(network), _address(identity.id)
    if wanted is None or given is None or len(wanted) != len(given):
        return False
    shift = 8 * len(wanted) - int(bits)
    return int.from_bytes(wanted, "big") >> shift == int.from_bytes(given, "big") >> shift


def _can_be_meant(entry: Acl) -> bool:
    match entry.scheme:
        case "world":
            return entry.id == "anyone"
        case "digest":
            return entry.id.count(":") == 1
        case "ip":
            address, slash, bits = entry.id.partition("/")
            found = _address(address)
            return found is not None and (not slash or (bits.isdecimal() and int(bits) <= 8 * len(found)))
        case other:
            return other in _STORED_AS_THEY_ARE


def _address(text: str) -> bytes | None:
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None
