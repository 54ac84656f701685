"""The words in which a record is declared: kinds of fields, since which version, under which tag.

A record is declared once, as a frozen attrs class; what attrs does not know about a field (Kafka's type, the
first record version that has it, its tag, a sentence) stands in the field's metadata as a `Declared`.
Both forms are derived from there: rows for CBOR (`record_forms`), Kafka's form (`kafka_form`). No record lives
here, and nothing here knows any bytes.

Source of every declaration: the schemas in Kafka's own jars (`common/metadata/*.json` and
`common/message/*.json` of 4.3.1); a test compares them field by field.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import attrs


class Unchanged(enum.Enum):
    """The type of `UNCHANGED`, so that type checkers can tell it from every real value."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"

    def __bool__(self) -> bool:
        # `if record.isr:` would take "unchanged" for "some replicas" or for "no replicas", both wrong.
        raise TypeError("UNCHANGED is neither true nor false; compare with `is UNCHANGED`")


UNCHANGED: Final = Unchanged.UNCHANGED
"""In a change record: this field keeps its value. Kafka says -2, -1, 0, null or [] for it, by field."""


class Scalar(enum.Enum):
    """The kinds of single values, by Kafka's names."""

    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT64 = "float64"
    STRING = "string"
    BYTES = "bytes"
    UUID = "uuid"


BOOL: Final = Scalar.BOOL
INT8: Final = Scalar.INT8
INT16: Final = Scalar.INT16
UINT16: Final = Scalar.UINT16
INT32: Final = Scalar.INT32
INT64: Final = Scalar.INT64
FLOAT64: Final = Scalar.FLOAT64
STRING: Final = Scalar.STRING
BYTES: Final = Scalar.BYTES
UUID: Final = Scalar.UUID

INT_RANGES: Final[Mapping[Scalar, tuple[int, int]]] = {
    INT8: (-(2**7), 2**7 - 1),
    INT16: (-(2**15), 2**15 - 1),
    UINT16: (0, 2**16 - 1),
    INT32: (-(2**31), 2**31 - 1),
    INT64: (-(2**63), 2**63 - 1),
}
MAX_STRING_BYTES: Final = 2**15 - 1
"""Kafka refuses longer strings (UTF-8) in any message, so no record may hold one."""


@attrs.frozen
class StructOf:
    """A value made of named fields."""

    struct: type[Any]
    fields: tuple["Field", ...]


@attrs.frozen
class ArrayOf:
    """Any number of values of one kind; a tuple in Python."""

    item: Scalar | StructOf


Kind: TypeAlias = Scalar | ArrayOf | StructOf


@attrs.frozen(kw_only=True)
class Declared:
    """What Kafka's schema says about a field."""

    kind: Kind
    about: str
    """One sentence: meaning, unit, what special values stand for."""
    since: int = 0
    """The first version of the record that has the field."""
    tag: int | None = None
    """A tagged (optional) field of Kafka's form; it is left out there while it has its default."""
    nullable: bool = False
    """None is a value of its own."""
    empty_is_null: bool = False
    """Kafka's form knows null where we say ()."""
    unchanged: int | None = None
    """In Kafka's form UNCHANGED is this number (null, or an empty array, where the kind is an array)."""
    codes: Mapping[bool, int] | None = None
    """Kafka has a number (int8) where we have a bool: which number each one is."""
    ours: bool = False
    """A field that Kafka's form does not have."""


@attrs.frozen
class Field:
    """One declared field of a record or struct, with its Python name and default."""

    name: str
    declared: Declared
    default: Any
    """`attrs.NOTHING` where the field must be given."""

    @property
    def kafka_name(self) -> str:
        """Kafka's spelling: `broker_id` is BrokerId, `kraft_version_feature` is KRaftVersionFeature."""
        return "".join("KRaft" if part == "kraft" else part.capitalize() for part in self.name.split("_"))

    @property
    def may_be_unchanged(self) -> bool:
        return self.default is UNCHANGED


_DECLARED: Final = "quorate.declared"


def kafka(
    kind: Kind,
    about: str,
    *,
    since: int = 0,
    tag: int | None = None,
    nullable: bool = False,
    empty_is_null: bool = False,
    unchanged: int | None = None,
    codes: Mapping[bool, int] | None = None,
) -> dict[str, Declared]:
    """The attrs metadata of a field that Kafka's schema has."""
    declared = Declared(
        kind=kind,
        about=about,
        since=since,
        tag=tag,
        nullable=nullable,
        empty_is_null=empty_is_null,
        unchanged=unchanged,
        codes=codes,
    )
    return {_DECLARED: declared}


def ours(kind: Kind, about: str) -> dict[str, Declared]:
    """The attrs metadata of a field that only we have."""
    return {_DECLARED: Declared(kind=kind, about=about, ours=True)}


def fields_of(declaring: type[Any]) -> tuple[Field, ...]:
    """The declared fields of a record or struct, in Kafka's order. `version` is not one of them."""
    return tuple(
        Field(a.name, a.metadata[_DECLARED], a.default)
        for a in attrs.fields(declaring)
        if _DECLARED in a.metadata
    )


def struct_of(struct: type[Any], **foreign: dict[str, Declared]) -> StructOf:
    """A struct whose class carries its own declarations, or (`foreign`) one declared from outside."""
    if foreign:
        fields = tuple(Field(n, meta[_DECLARED], attrs.NOTHING) for n, meta in foreign.items())
        return StructOf(struct, fields)
    return StructOf(struct, fields_of(struct))


@attrs.frozen(kw_only=True)
class Record:
    """What every record has: a type, a range of versions, and the version of this one.

    The version decides which fields exist. Whoever makes a record picks it at the finalized metadata.version
    (`features.record_version`); it is stored, and never reconsidered.
    """

    versions: ClassVar[tuple[int, int]]
    """Lowest and highest version that exist."""
    type_number: ClassVar[int]
    """Kafka's api key; for a control record minus Kafka's control type, so that the two never meet."""

    version: int = 0

    @classmethod
    def fields(cls) -> tuple[Field, ...]:
        """The declared fields in Kafka's order."""
        return fields_of(cls)

    @classmethod
    def fields_at(cls, version: int) -> Iterator[Field]:
        """The fields that exist at a version."""
        return (f for f in cls.fields() if f.declared.since <= version)


@attrs.frozen(kw_only=True)
class DataRecord(Record):
    """A record that changes the metadata image (or, like NoOp, could have)."""

    api_key: ClassVar[int]
    in_kafka: ClassVar[bool] = True
    """False: a record of our own. In Kafka's form a NoOp stands at its offset."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.type_number = cls.api_key


@attrs.frozen(kw_only=True)
class ControlRecord(Record):
    """A record of the quorum itself; it stands in control batches only and never reaches the image."""

    control_type: ClassVar[int]

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.type_number = -cls.control_type
