"""The decision of Kafka's StandardAuthorizer, from an index of the ACLs: a few look-ups, however many there are
(one for each length that a prefix has).

For a resource three kinds of pattern count: its literal name, the literal `*`, and every prefix of the name. Behind
each pattern the rules lie by principal and host, each as two sets of operations, so that it makes no difference how
many others share a topic.

1. a matching DENY denies, whatever else there is;
2. a matching ALLOW allows; some operations are allowed by others (who may read a topic may describe it);
3. else a resource that any ACL is about, be it for other principals, is denied;
4. and one that no ACL is about is left to `allow.everyone.if.no.acl.found`.

The index is immutable and structurally shared, as the image is of which it is a part: a change of one ACL touches one
path, an older image keeps its own, and a thread may read while the next one is made.
"""

import functools
import ipaddress
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, TypeAlias

import attrs
from immutables import Map

from quorate.metadata.security.permissions import (
    ANYBODY,
    WILDCARD,
    Acl,
    Operation,
    Pattern,
    Permission,
    Resource,
)

_Who: TypeAlias = tuple[str, str]
"""(principal, host), as an ACL has them"""
_Sets: TypeAlias = tuple[int, int]
"""(what is denied, what is allowed): a bit for each operation"""
_Rules: TypeAlias = Map[_Who, _Sets]

_NOTHING: Final[_Sets] = (0, 0)
_NOBODY: Final[_Rules] = Map()


def _bits(*operations: Operation) -> int:
    return sum(1 << operation for operation in operations)


_DENIED_BY: Final = {one: _bits(one, Operation.ALL) for one in Operation if one is not Operation.ALL} | {
    Operation.ALL: _bits(Operation.ALL)
}
"""To forbid something forbids nothing else."""
_ALLOWED_BY: Final = _DENIED_BY | {
    Operation.DESCRIBE: _bits(
        Operation.DESCRIBE,
        Operation.READ,
        Operation.WRITE,
        Operation.DELETE,
        Operation.ALTER,
        Operation.ALL,
    ),
    Operation.DESCRIBE_CONFIGS: _bits(Operation.DESCRIBE_CONFIGS, Operation.ALTER_CONFIGS, Operation.ALL),
}
"""Operations that allow another one (KIP-11)."""


@attrs.frozen
class Decision:
    """Whether it is allowed."""

    allowed: bool
    forbidden_by: Acl | None = None
    """The ACL that denies it; None: none does, there is only none that allows it."""


ALLOWED: Final = Decision(True)
NOT_ALLOWED: Final = Decision(False)


@attrs.frozen
class Caller:
    """Who asks, and under which names ACLs may speak of him."""

    principal: str
    """`User:alice`."""
    host: str
    known_as: tuple[_Who, ...]


@functools.lru_cache(4096)
def caller(principal: str, host: str) -> Caller:
    """`host`: the address as text. One of IPv6 is known in Java's spelling as well, in which Kafka's ACLs have it."""
    hosts = (WILDCARD, *_spellings(host))
    return Caller(
        principal, host, tuple((who, where) for who in dict.fromkeys((principal, ANYBODY)) for where in hosts)
    )


def _spellings(host: str) -> tuple[str, ...]:
    if ":" not in host:
        return (host,)
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return (host,)
    java = ":".join(f"{int(part, 16):x}" for part in address.exploded.split(":"))
    return tuple(dict.fromkeys((host, address.compressed, java)))


@attrs.frozen(eq=False)
class _OfType:
    """The rules about resources of one type."""

    literals: Map[str, _Rules]
    prefixes: Map[str, _Rules]
    lengths: Map[int, int]
    """Length of a prefix -> how many prefixes have it."""
    ascending: tuple[int, ...]
    """The lengths."""


_NONE_OF_TYPE: Final = _OfType(Map(), Map(), Map(), ())


@attrs.frozen(eq=False)
class AclIndex:
    """All ACLs of one image."""

    EMPTY: ClassVar["AclIndex"]

    types: Map[int, _OfType] = attrs.field(repr=False)

    def changed(self, gone: Iterable[Acl], come: Iterable[Acl]) -> "AclIndex":
        """The next one. `gone` are in this one, `come` are not."""
        changes: dict[int, _Changes] = {}
        for acls, is_there in ((gone, False), (come, True)):
            for acl in acls:
                of_type = changes.get(acl.resource_type)
                if of_type is None:
                    before = self.types.get(acl.resource_type, _NONE_OF_TYPE)
                    of_type = changes[acl.resource_type] = _Changes(before)
                of_type.put(acl, is_there)
        types = self.types
        for resource_type, change in changes.items():
            types = types.set(resource_type, change.done())
        return AclIndex(types)

    def decide(
        self, caller: Caller, operation: Operation, resource: Resource, name: str, *, if_no_acl: bool
    ) -> Decision:
        """`if_no_acl`: the answer where no ACL is about the resource."""
        denied_by, allowed_by = _DENIED_BY[operation], _ALLOWED_BY[operation]
        is_allowed = is_known = False
        for rules in _about(self.types.get(resource, _NONE_OF_TYPE), name):
            is_known = True
            for who in caller.known_as:
                found = rules.get(who)
                if found is None:
                    continue
                denied, allowed = found
                if denied & denied_by:
                    return self._denial(who, operation, resource, name)
                if allowed & allowed_by:
                    is_allowed = True
        return ALLOWED if is_allowed or (if_no_acl and not is_known) else NOT_ALLOWED

    def _denial(self, who: _Who, operation: Operation, resource: Resource, name: str) -> Decision:
        """The ACL that denies, found once more with its name: few requests are denied, and most need no name."""
        of_type = self.types.get(resource, _NONE_OF_TYPE)
        patterns = [(Pattern.LITERAL, name), (Pattern.LITERAL, WILDCARD)]
        patterns += [(Pattern.PREFIXED, name[:length]) for length in of_type.ascending]
        for kind, text in patterns:
            rules = (of_type.literals if kind is Pattern.LITERAL else of_type.prefixes).get(text, _NOBODY)
            denied, _ = rules.get(who, _NOTHING)
            if denied & _DENIED_BY[operation]:
                return Decision(False, _denying(kind, text, resource, who, operation, denied))
        return NOT_ALLOWED


AclIndex.EMPTY = AclIndex(Map())


def _about(of_type: _OfType, name: str) -> Iterator[_Rules]:
    """The rules of each pattern that matches a name."""
    literals = of_type.literals
    found = literals.get(name)
    if found is not None:
        yield found
    if name != WILDCARD:
        found = literals.get(WILDCARD)
        if found is not None:
            yield found
    prefixes = of_type.prefixes
    for length in of_type.ascending:
        if length > len(name):
            break
        found = prefixes.get(name[:length])
        if found is not None:
            yield found


class _Changes:
    """The rules about one type on their way to the next ones."""

    def __init__(self, before: _OfType) -> None:
        self._literals = before.literals.mutate()
        self._prefixes = before.prefixes.mutate()
        self._lengths = before.lengths.mutate()

    def put(self, acl: Acl, is_there: bool) -> None:
        is_prefix = acl.pattern_type == Pattern.PREFIXED
        patterns = self._prefixes if is_prefix else self._literals
        name, who, bit = acl.resource_name, (acl.principal, acl.host), 1 << acl.operation
        rules = patterns.get(name, _NOBODY)
        denied, allowed = rules.get(who, _NOTHING)
        if acl.permission_type == Permission.DENY:
            denied = denied | bit if is_there else denied & ~bit
        else:
            allowed = allowed | bit if is_there else allowed & ~bit
        after = rules.set(who, (denied, allowed)) if denied or allowed else rules.delete(who)
        if after:
            patterns[name] = after
        else:
            del patterns[name]
        if is_prefix and bool(rules) != bool(after):
            self._count(len(name), 1 if after else -1)

    def _count(self, length: int, more: int) -> None:
        count = self._lengths.get(length, 0) + more
        if count:
            self._lengths[length] = count
        else:
            del self._lengths[length]

    def done(self) -> _OfType:
        lengths = self._lengths.finish()
        return _OfType(self._literals.finish(), self._prefixes.finish(), lengths, tuple(sorted(lengths)))


def _denying(
    kind: Pattern, name: str, resource: Resource, who: _Who, operation: Operation, denied: int
) -> Acl:
    principal, host = who
    return Acl(
        resource_type=int(resource),
        resource_name=name,
        pattern_type=int(kind),
        principal=principal,
        host=host,
        operation=int(operation if denied >> operation & 1 else Operation.ALL),
        permission_type=int(Permission.DENY),
    )
