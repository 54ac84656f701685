"""The decision of Kafka's StandardAuthorizer, from an index of the ACLs: a few look-ups, however many there are.

For a resource three kinds of pattern count: its literal name, the literal `*`, and every prefix of the name. Behind
each pattern the rules lie by principal, so that a topic that a thousand users share costs one of them no more than
his own rules and those for everybody.

1. a matching DENY denies, whatever else there is;
2. a matching ALLOW allows; some operations are allowed by others (who may read a topic may describe it);
3. else a resource that any ACL is about, be it for other principals, is denied;
4. and one that no ACL is about is left to `allow.everyone.if.no.acl.found`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from quorate.metadata.image.security import Acl
from quorate.metadata.security.permissions import (
    ANYBODY,
    WILDCARD,
    Operation,
    Pattern,
    Permission,
    Resource,
)

_ALLOWED_BY: Final[Mapping[int, frozenset[int]]] = {
    Operation.DESCRIBE: frozenset(
        {
            Operation.DESCRIBE,
            Operation.READ,
            Operation.WRITE,
            Operation.DELETE,
            Operation.ALTER,
            Operation.ALL,
        }
    ),
    Operation.DESCRIBE_CONFIGS: frozenset(
        {Operation.DESCRIBE_CONFIGS, Operation.ALTER_CONFIGS, Operation.ALL}
    ),
}
"""Operations that allow another one (KIP-11). To forbid something forbids nothing else."""


@attrs.frozen
class Decision:
    """Whether it is allowed, and the ACL that says so; None: there is none that does."""

    allowed: bool
    acl: Acl | None = None


_Pattern = tuple[int, int, str]


class AclIndex:
    """All ACLs of one image, kept up as it changes."""

    def __init__(self) -> None:
        self._rules: dict[_Pattern, dict[str, list[Acl]]] = {}
        self._prefix_lengths: dict[int, Counter[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, acl: Acl) -> None:
        """One that is not there yet."""
        by_principal = self._rules.setdefault((acl.resource_type, acl.pattern_type, acl.resource_name), {})
        by_principal.setdefault(acl.principal, []).append(acl)
        self._count += 1
        if acl.pattern_type == Pattern.PREFIXED:
            self._prefix_lengths.setdefault(acl.resource_type, Counter())[len(acl.resource_name)] += 1

    def remove(self, acl: Acl) -> None:
        """One that is there."""
        pattern = (acl.resource_type, acl.pattern_type, acl.resource_name)
        by_principal = self._rules[pattern]
        rules = by_principal[acl.principal]
        rules.remove(acl)
        self._count -= 1
        if not rules:
            del by_principal[acl.principal]
        if not by_principal:
            del self._rules[pattern]
        if acl.pattern_type == Pattern.PREFIXED:
            lengths = self._prefix_lengths[acl.resource_type]
            lengths[len(acl.resource_name)] -= 1
            if not lengths[len(acl.resource_name)]:
                del lengths[len(acl.resource_name)]

    def decide(
        self,
        principal: str,
        host: str,
        operation: Operation,
        resource: Resource,
        name: str,
        *,
        if_no_acl: bool,
    ) -> Decision:
        """`principal`: as `User:alice`. `if_no_acl`: the answer where no ACL is about the resource."""
        allowing = _ALLOWED_BY.get(operation)
        allow: Acl | None = None
        any_at_all = False
        for by_principal in self._about(resource, name):
            any_at_all = True
            for who in (principal, ANYBODY):
                for acl in by_principal.get(who, ()):
                    if acl.host not in (host, WILDCARD):
                        continue
                    direct = acl.operation in (operation, Operation.ALL)
                    if acl.permission_type == Permission.DENY:
                        if direct:
                            return Decision(False, acl)
                    elif allow is None and (direct or (allowing is not None and acl.operation in allowing)):
                        allow = acl
        if allow is not None:
            return Decision(True, allow)
        return Decision(if_no_acl and not any_at_all)

    def _about(self, resource: int, name: str) -> Iterator[dict[str, list[Acl]]]:
        """The rules, by principal, of each pattern that matches a resource."""
        rules = self._rules
        for literal in (name, WILDCARD) if name != WILDCARD else (name,):
            found = rules.get((resource, Pattern.LITERAL, literal))
            if found is not None:
                yield found
        for length in self._prefix_lengths.get(resource, ()):
            if length <= len(name):
                found = rules.get((resource, Pattern.PREFIXED, name[:length]))
                if found is not None:
                    yield found
