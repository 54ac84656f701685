"""How each version of a message says a value: which fields, in which order, of which kind.

kio's classes, generated from Kafka's own definitions, are the source: one per message and version, imported when
that version is first spoken. A `StructPlan` pairs their fields with those of our value by name; `reading` and
`writing` turn plans into functions. kio's own decoder is not used on bytes from a socket: it allocates what a
length field asks for before it looks at the bytes, so that ten hostile bytes end the process.

- A field that a version lacks has its default after reading. Writing drops it; in a request only where Kafka
  calls it ignorable, else the request would mean something else than its sender did. An answer is never withheld
  because its asker is old.
- Where an old version says the same thing in another field, `OLD_FORMS` translates: handlers see one form.
- Kafka's zero uuid is `ids.ZERO_UUID`, never None.
"""

import dataclasses
import datetime
import types
import typing
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import attrs

from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.wire.brokers import BrokerState
from quorate.metadata.wire.own_schemas import load_request_schema, load_response_schema
from quorate.metadata.wire.raft import FetchReplicaState, ReplicaInfo
from quorate.metadata.wire.topics import DeleteTopicState


class UnsayableValue(ValueError):
    """A value that the chosen version cannot express. Our mistake, not the peer's."""


@attrs.frozen
class OldForm:
    """How versions up to `last` say the value field `says`: in a field of their own, or with another meaning.

    `write` raises UnsayableValue where the old form has no word for the value.
    """

    last: int
    says: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def _names_of(topics: tuple[DeleteTopicState, ...]) -> tuple[str, ...]:
    names = tuple(topic.name for topic in topics if topic.name is not None)
    if len(names) != len(topics):
        raise UnsayableValue("before version 6 DeleteTopics knows topics by name only")
    return names


def _no_topics_is_all(topics: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if topics == ():
        raise UnsayableValue("Metadata version 0 cannot ask for no topics: an empty list means all")
    return topics or ()


OLD_FORMS: Final[dict[tuple[str, str], OldForm]] = {
    ("FetchRequest", "replica_id"): OldForm(
        last=14,
        says="replica_state",
        read=lambda replica_id: FetchReplicaState(replica_id=replica_id),
        write=lambda state: state.replica_id,
    ),
    ("DeleteTopicsRequest", "topic_names"): OldForm(
        last=5,
        says="topics",
        read=lambda names: tuple(DeleteTopicState(name=name) for name in names),
        write=_names_of,
    ),
    ("EndQuorumEpochRequestPartitionData", "preferred_successors"): OldForm(
        last=0,
        says="preferred_candidates",
        read=lambda ids: tuple(ReplicaInfo(candidate_id=i, candidate_directory_id=ZERO_UUID) for i in ids),
        write=lambda candidates: tuple(candidate.candidate_id for candidate in candidates),
    ),
    ("AlterPartitionRequestPartitionData", "new_isr"): OldForm(
        last=2,
        says="new_isr_with_epochs",
        read=lambda ids: tuple(BrokerState(broker_id=i) for i in ids),
        write=lambda members: tuple(member.broker_id for member in members),
    ),
    ("FeatureUpdateKey", "allow_downgrade"): OldForm(
        last=0,
        says="upgrade_type",
        read=lambda allowed: 2 if allowed else 1,  # SAFE_DOWNGRADE, UPGRADE
        write=lambda upgrade_type: upgrade_type != 1,
    ),
    ("MetadataRequest", "topics"): OldForm(
        last=0, says="topics", read=lambda topics: topics or None, write=_no_topics_is_all
    ),
}

IGNORABLE: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("FetchPartition", "replica_directory_id"),
        ("FetchPartition", "high_watermark"),
        ("FetchSnapshotRequestPartitionSnapshot", "replica_directory_id"),
        ("VoteRequest", "voter_id"),
        ("VoteRequestPartitionData", "replica_directory_id"),
        ("VoteRequestPartitionData", "voter_directory_id"),
        ("BeginQuorumEpochRequest", "voter_id"),
        ("BeginQuorumEpochRequest", "leader_endpoints"),
        ("BeginQuorumEpochRequestPartitionData", "voter_directory_id"),
        ("EndQuorumEpochRequest", "leader_endpoints"),
        ("BrokerRegistrationRequest", "log_dirs"),
        ("BrokerRegistrationRequest", "previous_broker_epoch"),
        ("ApiVersionsRequest", "client_software_name"),
        ("ApiVersionsRequest", "client_software_version"),
        ("MetadataRequestTopic", "topic_id"),
        ("AlterPartitionReassignmentsRequest", "allow_replication_factor_change"),
    }
)
"""Fields of requests that an older version may drop (`ignorable` in Kafka's definitions)."""


_OWN_TAG: Final = "own tag"


def own_tag(tag: int, kind: str, *, default: Any) -> Any:
    """A tagged field that Kafka's definition does not have: Kafka's own nodes skip it (KIP-482)."""
    return attrs.field(default=default, metadata={_OWN_TAG: (tag, kind)})


@attrs.frozen(kw_only=True)
class WireField:
    """One field as one version writes it."""

    name: str
    """The field of our value that it says."""
    kind: str
    """kio's name of the type (`int32`, `string`, `error_code`, …); `struct` where `nested` is set."""
    is_array: bool
    nullable: bool
    tag: int | None
    default: Any
    """What an absent tagged field means."""
    nested: "StructPlan | None"
    old_form: OldForm | None


@attrs.frozen(kw_only=True, eq=False)
class StructPlan:
    """One structure as one version writes it; untagged fields in wire order, tagged ones by tag."""

    value_class: type
    flexible: bool
    fields: tuple[WireField, ...]
    tagged: tuple[WireField, ...]
    dropped: tuple[tuple[str, Any], ...]
    """Fields that this version lacks and that must have these values, or the value is unsayable."""


@cache
def message_plan(value_class: type, version: int, *, is_request: bool) -> StructPlan:
    """The plan of a whole message; `value_class.api_key` says which one it is.

    Raises:
        kio.index.UnknownEntity: Kafka has no such version.
    """
    load = load_request_schema if is_request else load_response_schema
    schema: Any = load(value_class.api_key, version)  # type: ignore[attr-defined]
    return _struct_plan(value_class, schema, version, strict=is_request)


def data_plan(value_class: type, schema: Any) -> StructPlan:
    """The plan of a structure that is no message, from kio's class of one version of it."""
    return _struct_plan(value_class, schema, schema.__version__, strict=True)


def _struct_plan(value_class: type, schema: Any, version: int, *, strict: bool) -> StructPlan:
    annotations = typing.get_type_hints(value_class)
    known = {field.name: field for field in attrs.fields(value_class)}
    said = set()
    fields = []
    for wire in dataclasses.fields(schema):
        wire_name = _value_name(wire)
        old_form = OLD_FORMS.get((value_class.__name__, wire_name))
        if old_form is not None and version > old_form.last:
            old_form = None
        name = wire_name if old_form is None else old_form.says
        check(name in known, f"{value_class.__name__} has no field for {wire_name!r} of version {version}")
        said.add(name)
        fields.append(_wire_field(wire, known[name], old_form, annotations[name], version, strict=strict))
    fields += [_own_field(name, field) for name, field in known.items() if _OWN_TAG in field.metadata]
    said.update(name for name, field in known.items() if _OWN_TAG in field.metadata)
    dropped = [
        (name, field.default)
        for name, field in known.items()
        if strict and name not in said and (value_class.__name__, name) not in IGNORABLE
    ]
    return StructPlan(
        value_class=value_class,
        flexible=schema.__flexible__,
        fields=tuple(field for field in fields if field.tag is None),
        tagged=tuple(sorted((f for f in fields if f.tag is not None), key=lambda f: typing.cast(int, f.tag))),
        dropped=tuple(dropped),
    )


def _wire_field(
    wire: Any,
    ours: "attrs.Attribute[Any]",
    old_form: OldForm | None,
    annotation: Any,
    version: int,
    *,
    strict: bool,
) -> WireField:
    schema, nullable, is_array = _unwrap(wire.type)
    nested = None
    kind = wire.metadata.get("kafka_type", "struct")
    if kind == "struct":
        nested = _struct_plan(_unwrap(annotation)[0], schema, version, strict=strict)
    if annotation is ErrorCode:
        kind = "error_code"  # kio takes CreateTopics' topic_config_error_code for a mere int16
    default = _default(wire, kind, nested, is_array=is_array)
    return WireField(
        name=ours.name,
        kind=kind,
        is_array=is_array,
        nullable=nullable and (is_array or kind != "uuid"),
        tag=wire.metadata.get("tag"),
        default=ours.default if ours.default == default else default,  # the writer first asks for identity
        nested=nested,
        old_form=old_form,
    )


def _own_field(name: str, field: "attrs.Attribute[Any]") -> WireField:
    tag, kind = field.metadata[_OWN_TAG]
    return WireField(
        name=name,
        kind=kind,
        is_array=False,
        nullable=False,
        tag=tag,
        default=field.default,
        nested=None,
        old_form=None,
    )


_TIMES: Final = ("timedelta", "datetime")


def _value_name(wire: Any) -> str:
    """Our name of a field: kio turns `timeoutMs` into a timedelta called `timeout`, and `id` into `id_`."""
    name: str = wire.name.rstrip("_")
    return name + "_ms" if wire.metadata.get("kafka_type", "").startswith(_TIMES) else name


def _unwrap(annotation: Any) -> tuple[Any, bool, bool]:
    """(element type, whether None is allowed, whether it is an array)."""
    nullable = is_array = False
    while True:
        origin = typing.get_origin(annotation)
        if origin in (types.UnionType, typing.Union):
            # `tuple[UUID | None, …]`: None inside an array is kio's zero uuid, no null.
            nullable = nullable or not is_array
            annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
        elif origin is tuple:
            is_array = True
            annotation = typing.get_args(annotation)[0]
        else:
            return annotation, nullable, is_array


_IMPLICIT: Final[dict[str, Any]] = {
    "string": "",
    "bytes": b"",
    "records": b"",
    "bool": False,
    "uuid": ZERO_UUID,
    "error_code": ErrorCode.none,
}


def _default(wire: Any, kind: str, nested: StructPlan | None, *, is_array: bool) -> Any:
    """What Kafka means by the field's absence: its stated default, else the zero of its type."""
    stated = wire.default
    if stated is None and (is_array or kind != "uuid"):
        return None
    if is_array:
        return ()
    if nested is not None:
        said = {field.name: field.default for field in (*nested.fields, *nested.tagged)}
        return nested.value_class(**said)
    if stated is dataclasses.MISSING or stated is None:
        return _IMPLICIT.get(kind, 0)
    if isinstance(stated, datetime.timedelta):
        return stated // datetime.timedelta(milliseconds=1)
    if kind == "error_code":
        return ErrorCode(stated)
    check(not isinstance(stated, uuid.UUID), "no message has a uuid default but zero")
    return stated if isinstance(stated, bool | str | bytes) else int(stated)
