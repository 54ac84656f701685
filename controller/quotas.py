"""AlterClientQuotas (KIP-546, KIP-612): quotas of users, client ids, both together, and addresses."""

import ipaddress
import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.settings import QuotaKey
from quorate.metadata.records import AnyDataRecord, ClientQuotaRecord, QuotaEntity
from quorate.metadata.wire.quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlteredEntry,
    AlteredEntryResult,
    EntityData,
    OpData,
)

USER: Final = "user"
CLIENT_ID: Final = "client-id"
IP: Final = "ip"
_COMBINATIONS: Final = ({USER}, {CLIENT_ID}, {USER, CLIENT_ID}, {IP})
_WHOLE: Final = True
_FRACTION: Final = False
_OF_CLIENTS: Final[Mapping[str, bool]] = {
    "producer_byte_rate": _WHOLE,
    "consumer_byte_rate": _WHOLE,
    "request_percentage": _FRACTION,
    "controller_mutation_rate": _FRACTION,
}
_OF_ADDRESSES: Final[Mapping[str, bool]] = {"connection_creation_rate": _WHOLE}
_LARGEST: Final = {
    "producer_byte_rate": 2**63,
    "consumer_byte_rate": 2**63,
    "connection_creation_rate": 2**31 - 1,
}
"""What Kafka's brokers keep them in: a long (as a double, so its largest neighbour), an int."""


def alter_client_quotas(
    context: Context, request: AlterClientQuotasRequest
) -> ControllerResult[AlterClientQuotasResponse]:
    """Entities are judged one by one; one that is named twice is refused each time."""
    counts = Counter(_key(entry.entity) for entry in request.entries)
    records: list[AnyDataRecord] = []
    results = []
    for entry in request.entries:
        try:
            if counts[_key(entry.entity)] > 1:
                reject(
                    ErrorCode.invalid_request,
                    f"The entity {_named(entry.entity)} is named twice in this request.",
                )
            added = _changes(context, entry)
        except RequestRejected as refusal:
            results.append(
                AlteredEntryResult(
                    error_code=refusal.code, error_message=refusal.message, entity=entry.entity
                )
            )
            continue
        context.require_room(records, len(added), "this change of quotas")
        records += added
        results.append(AlteredEntryResult(entity=entry.entity))
    return ControllerResult(
        () if request.validate_only else records, AlterClientQuotasResponse(entries=tuple(results))
    )


def _key(entity: tuple[EntityData, ...]) -> QuotaKey:
    return tuple(sorted({(part.entity_type, part.entity_name) for part in entity}, key=repr))


def _changes(context: Context, entry: AlteredEntry) -> list[AnyDataRecord]:
    allowed = _check_entity(entry.entity)
    entity = tuple(
        QuotaEntity(entity_type=part.entity_type, entity_name=part.entity_name) for part in entry.entity
    )
    current = context.image.quotas.of(
        tuple(sorted((part.entity_type, part.entity_name) for part in entry.entity))
    )
    seen: set[str] = set()
    records: list[AnyDataRecord] = []
    for op in entry.ops:
        if op.key in seen:
            reject(
                ErrorCode.invalid_request, f"The quota {op.key} is changed twice for {_named(entry.entity)}."
            )
        seen.add(op.key)
        _check_value(op, allowed, entry.entity)
        if current.get(op.key) != (None if op.remove else op.value):
            records.append(
                ClientQuotaRecord(
                    entity=entity, key=op.key, value=0.0 if op.remove else op.value, remove=op.remove
                )
            )
    return records


def _check_entity(entity: tuple[EntityData, ...]) -> Mapping[str, bool]:
    """The quotas that an entity may have: which of them are whole numbers.

    Raises:
        RequestRejected: INVALID_REQUEST.
    """
    types = [part.entity_type for part in entity]
    if len(set(types)) < len(types) or set(types) not in _COMBINATIONS:
        reject(
            ErrorCode.invalid_request,
            f"Invalid entity {_named(entity)}: quotas are for a user, a client-id, a user with a client-id, or an ip.",
        )
    for part in entity:
        if part.entity_name == "":
            reject(
                ErrorCode.invalid_request,
                f"Empty {part.entity_type}: leave the name out to mean the default.",
            )
        if part.entity_type == IP and part.entity_name is not None:
            _check_address(part.entity_name)
    return _OF_ADDRESSES if types == [IP] else _OF_CLIENTS


def _check_address(text: str) -> None:
    """Kafka resolves a host name here, on whichever controller is active; a pure decision cannot."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        reject(ErrorCode.invalid_request, f"{text!r} is no IP address. Host names are not looked up here.")


def _check_value(op: OpData, allowed: Mapping[str, bool], entity: tuple[EntityData, ...]) -> None:
    whole = allowed.get(op.key)
    if whole is None:
        reject(
            ErrorCode.invalid_request,
            f"Invalid configuration key {op.key} for {_named(entity)}: it can have {', '.join(allowed)}.",
        )
    if op.remove:
        return
    if not math.isfinite(op.value) or op.value <= 0:
        reject(ErrorCode.invalid_request, f"Quota {op.key} must be greater than 0, and is {op.value}.")
    if whole and op.value != math.floor(op.value):
        reject(ErrorCode.invalid_request, f"Quota {op.key} must be a whole number, and is {op.value}.")
    if op.value > _LARGEST.get(op.key, math.inf):
        reject(
            ErrorCode.invalid_request, f"Quota {op.key} may be {_LARGEST[op.key]} at most, and is {op.value}."
        )


def _named(entity: tuple[EntityData, ...]) -> str:
    parts = (
        f"{part.entity_type} {'default' if part.entity_name is None else repr(part.entity_name)}"
        for part in entity
    )
    return ", ".join(parts) or "(nothing)"
