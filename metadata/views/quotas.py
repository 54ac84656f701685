"""The answer to DescribeClientQuotas (KIP-546)."""

import enum
from typing import Final

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.settings import QuotaKey
from quorate.metadata.wire.quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribedEntry,
    EntityData,
    ValueData,
)

_TYPES: Final = ("user", "client-id", "ip")


class _Match(enum.IntEnum):
    EXACT = 0
    DEFAULT = 1
    SPECIFIED = 2
    """Whatever its name, the default included."""


def answer_client_quotas(
    image: MetadataImage, request: DescribeClientQuotasRequest
) -> DescribeClientQuotasResponse:
    """The entities that satisfy every component; with `strict`, that have no other part besides.

    Raises:
        RequestRejected: INVALID_REQUEST, UNSUPPORTED_VERSION (Kafka's code for an entity type that it does not know).
    """
    components = _checked(request.components)
    entries = tuple(
        DescribedEntry(
            entity=tuple(EntityData(entity_type=kind, entity_name=name) for kind, name in entity),
            values=tuple(ValueData(key=key, value=quotas[key]) for key in sorted(quotas)),
        )
        for entity, quotas in image.quotas.entities()
        if _satisfies(entity, components, strict=request.strict)
    )
    return DescribeClientQuotasResponse(entries=entries)


def _checked(components: tuple[ComponentData, ...]) -> dict[str, ComponentData]:
    found: dict[str, ComponentData] = {}
    for one in components:
        if not one.entity_type:
            raise RequestRejected(ErrorCode.invalid_request, "Unexpected empty entity type.")
        if one.entity_type in found:
            raise RequestRejected(
                ErrorCode.invalid_request,
                f"Entity type {one.entity_type} cannot appear more than once in the filter.",
            )
        if one.entity_type not in _TYPES:
            raise RequestRejected(
                ErrorCode.unsupported_version,
                f"Unsupported entity type {one.entity_type}: quotas are for {', '.join(_TYPES)}.",
            )
        _check_match(one)
        found[one.entity_type] = one
    if "ip" in found and len(found) > 1:
        raise RequestRejected(
            ErrorCode.invalid_request, "Invalid entity filter component combination: an ip stands alone."
        )
    return found


def _check_match(one: ComponentData) -> None:
    if one.match_type not in {kind.value for kind in _Match}:
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"Unexpected match type {one.match_type}: 0 exact, 1 default, 2 specified.",
        )
    if (one.match_type == _Match.EXACT) != (one.match is not None):
        what = "needs" if one.match_type == _Match.EXACT else "takes no"
        raise RequestRejected(
            ErrorCode.invalid_request, f"Match type {one.match_type} of {one.entity_type} {what} name."
        )


def _satisfies(entity: QuotaKey, components: dict[str, ComponentData], *, strict: bool) -> bool:
    parts = dict(entity)
    if strict and len(parts) != len(components):
        return False
    for kind, component in components.items():
        if kind not in parts:
            return False
        if component.match_type != _Match.SPECIFIED and parts[kind] != component.match:
            return False
    return True
