"""Objects to rows and back: for every record class and version, two functions made from its declaration.

A row is what CBOR holds: `[type, version, field, field, …]`, a struct is a row without the first two. Rows that come
in are tuples, rows that go out are lists. Both functions check every value, so nothing leaves that could not come
back. They run for every record that is ever written or read; therefore they are generated as straight code with the
common checks inline, as attrs generates constructors: a third to a half of the time of a loop over the fields. On
refusal the fields are tried one by one, for the message.

No bytes here: see `codec`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import ne
from typing import Any, Final, TypeAlias, assert_never, cast
from uuid import UUID

import attrs

from quorate.metadata.ids import uuid_from_bytes
from quorate.metadata.records import CONTROL_RECORDS, DATA_RECORDS
from quorate.metadata.records.declare import (
    INT_RANGES,
    MAX_STRING_BYTES,
    UNCHANGED,
    ArrayOf,
    Declared,
    Field,
    Kind,
    Scalar,
    StructOf,
)

_Convert: TypeAlias = Callable[[Any], Any]


class Unfit(ValueError):
    """A value that does not fit the declaration of its field."""


@attrs.frozen
class _Converter:
    """How values of one field go out and come in; both ways raise Unfit."""

    pack: _Convert
    unpack: _Convert
    passes: str = ""
    """Python source, with `{v}` for the value: true for what is fine as it is, both ways. Saves the call."""


@attrs.frozen
class Form:
    """One class at one version."""

    made: type[Any]
    fields: tuple[tuple[str, _Converter], ...]
    """Those that the version has, by name."""
    pack: Callable[[Any], list[Any]]
    """An object as a row. Raises Unfit."""
    unpack: Callable[[tuple[Any, ...]], Any]
    """A row as an object. Raises Unfit."""

    def why_not_packed(self, source: Any, refusal: Unfit) -> str:
        """The text for an object that was refused."""
        found = self._first_unfit((conv.pack, getattr(source, name)) for name, conv in self.fields)
        return found or str(refusal)

    def why_not_unpacked(self, row: tuple[Any, ...], refusal: Unfit) -> str:
        """The text for a row that was refused."""
        values = row[len(row) - len(self.fields) :] if len(row) >= len(self.fields) else row
        converters = [conv for _, conv in self.fields[: len(values)]]
        found = self._first_unfit((conv.unpack, v) for conv, v in zip(converters, values, strict=True))
        return str(refusal) if isinstance(refusal, _WrongCount) else found or str(refusal)

    def _first_unfit(self, attempts: Iterator[tuple[_Convert, Any]]) -> str:
        for (name, _), (convert, value) in zip(self.fields, attempts, strict=False):
            try:
                convert(value)
            except Unfit as e:
                return f"{name}: {e}"
        return ""


class _WrongCount(Unfit):
    """A row with too many fields or too few."""


def _integer(kind: Scalar) -> _Converter:
    low, high = INT_RANGES[kind]

    def convert(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        raise Unfit(f"{kind.value} needed, not {value!r:.50}")

    return _Converter(convert, convert, f"type({{v}}) is int and {low} <= {{v}} <= {high}")


def _exactly(wanted: type[Any]) -> _Converter:
    def convert(value: Any) -> Any:
        if type(value) is wanted:
            return value
        raise Unfit(f"{wanted.__name__} needed, not {value!r:.50}")

    return _Converter(convert, convert, f"type({{v}}) is {wanted.__name__}")


def _text(value: Any) -> Any:
    if type(value) is not str:
        raise Unfit(f"str needed, not {value!r:.50}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Unfit(f"{value!r:.50} is not Unicode text") from None
    if size > MAX_STRING_BYTES:
        raise Unfit(f"a text has at most {MAX_STRING_BYTES} bytes, not {size}")
    return value


def _pack_uuid(value: Any) -> Any:
    if type(value) is UUID:
        return value.bytes
    raise Unfit(f"UUID needed, not {value!r:.50}")


def _unpack_uuid(value: Any) -> Any:
    if type(value) is bytes and len(value) == _UUID_BYTES:
        return uuid_from_bytes(value)
    raise Unfit(f"16 bytes needed, not {value!r:.50}")


_UUID_BYTES: Final = 16
_SCALARS: Final[Mapping[Scalar, _Converter]] = {
    **{kind: _integer(kind) for kind in INT_RANGES},
    Scalar.BOOL: _exactly(bool),
    Scalar.FLOAT64: _exactly(float),
    Scalar.BYTES: _exactly(bytes),
    Scalar.STRING: _Converter(
        _text, _text, f"type({{v}}) is str and {{v}}.isascii() and len({{v}}) <= {MAX_STRING_BYTES}"
    ),
    Scalar.UUID: _Converter(_pack_uuid, _unpack_uuid),
}


def _array(item: _Converter) -> _Converter:
    def each(convert: _Convert) -> _Convert:
        def convert_all(value: Any) -> Any:
            if type(value) is not tuple:
                raise Unfit(f"an array needed, not {value!r:.50}")
            return tuple([convert(v) for v in value])

        return convert_all

    return _Converter(each(item.pack), each(item.unpack))


def _integers(kind: Scalar) -> _Converter:
    """As `_array(_integer(kind))`, without a call for every replica of every partition."""
    low, high = INT_RANGES[kind]

    def convert(value: Any) -> Any:
        if type(value) is not tuple:
            raise Unfit(f"an array needed, not {value!r:.50}")
        for v in value:
            if type(v) is not int or not low <= v <= high:
                raise Unfit(f"{kind.value} needed, not {v!r:.50}")
        return value

    return _Converter(convert, convert, "{v} == ()")


def _struct(form: Form) -> _Converter:
    def pack(value: Any) -> Any:
        if type(value) is not form.made:
            raise Unfit(f"{form.made.__name__} needed, not {value!r:.50}")
        return form.pack(value)

    def unpack(value: Any) -> Any:
        if type(value) is not tuple:
            raise Unfit(f"an array needed, not {value!r:.50}")
        return form.unpack(value)

    return _Converter(pack, unpack)


def _of_kind(kind: Kind, version: int) -> _Converter:
    match kind:
        case Scalar():
            return _SCALARS[kind]
        case ArrayOf(item=Scalar() as item) if item in INT_RANGES:
            return _integers(item)
        case ArrayOf(item=item):
            return _array(_of_kind(item, version))
        case StructOf():
            return _struct(_form(kind.struct, None, kind.fields, version))
        case _:
            assert_never(kind)


def _of_field(field: Field, version: int) -> _Converter:
    """As its kind, with null where it stands for something, and without what Kafka's form cannot say."""
    declared = field.declared
    converter = _of_kind(declared.kind, version)
    if field.may_be_unchanged:
        return _unchanged_or(_only_sayable(declared, converter))
    if declared.nullable and not declared.empty_is_null:
        return _none_or(converter)
    return converter


def _only_sayable(declared: Declared, converter: _Converter) -> _Converter:
    """Kafka's form spends a value on "unchanged"; that one cannot be said any more."""
    sayable: Callable[[Any], bool]
    if declared.codes is not None:
        sayable = declared.codes.__contains__
    elif declared.unchanged is not None:
        sayable = partial(ne, declared.unchanged)
    elif not declared.nullable:
        sayable = bool
    else:
        return converter

    def only(convert: _Convert) -> _Convert:
        def convert_sayable(value: Any) -> Any:
            converted = convert(value)
            if not sayable(value):
                raise Unfit(f"{value!r:.50} cannot be said in this field")
            return converted

        return convert_sayable

    return _Converter(only(converter.pack), only(converter.unpack))


def _unchanged_or(converter: _Converter) -> _Converter:
    def pack(value: Any) -> Any:
        return None if value is UNCHANGED else converter.pack(value)

    def unpack(value: Any) -> Any:
        return UNCHANGED if value is None else converter.unpack(value)

    return _Converter(pack, unpack)


def _none_or(converter: _Converter) -> _Converter:
    def pack(value: Any) -> Any:
        return None if value is None else converter.pack(value)

    def unpack(value: Any) -> Any:
        return None if value is None else converter.unpack(value)

    passes = f"{{v}} is None or ({converter.passes})" if converter.passes else "{v} is None"
    return _Converter(pack, unpack, passes)


def _form(made: type[Any], type_number: int | None, fields: tuple[Field, ...], version: int) -> Form:
    """The form of a record, or of a struct, which has no type number and shows no version."""
    present = tuple((f.name, _of_field(f, version)) for f in fields if f.declared.since <= version)
    absent = tuple(f for f in fields if f.declared.since > version)
    head = () if type_number is None else (type_number, version)
    return Form(made, present, _packer(head, present, absent), _unpacker(made, head, present, absent))


def _packer(
    head: tuple[int, ...], present: tuple[tuple[str, _Converter], ...], absent: tuple[Field, ...]
) -> Callable[[Any], list[Any]]:
    names: dict[str, Any] = {"Unfit": Unfit}
    lines: list[str] = []
    for i, field in enumerate(absent):
        names[f"default{i}"] = field.default
        lines.append(f"if o.{field.name} != default{i}: raise Unfit('this version has no {field.name}')")
    elements = [str(number) for number in head]
    for i, (name, converter) in enumerate(present):
        names[f"pack{i}"] = converter.pack
        lines.append(f"v{i} = o.{name}")
        elements.append(_element(i, converter.passes, f"pack{i}"))
    lines.append(f"return [{', '.join(elements)}]")
    return _compiled("pack", "o", lines, names)


def _unpacker(
    made: type[Any],
    head: tuple[int, ...],
    present: tuple[tuple[str, _Converter], ...],
    absent: tuple[Field, ...],
) -> Callable[[tuple[Any, ...]], Any]:
    """A frozen object is filled through its slots: a constructor call with keywords costs twice as much."""
    names: dict[str, Any] = {
        "new": object.__new__,
        "made": made,
        "miscounted": partial(_miscounted, len(head), len(present)),
    }
    lines = [f"if len(row) != {len(head) + len(present)}: raise miscounted(row)"]
    targets = [*("_" for _ in head), *(f"v{i}" for i in range(len(present)))]
    if present:
        lines.append(f"{', '.join(targets)}, = row")
    lines.append("o = new(made)")
    fixed = [(f.name, f.default) for f in absent] + ([("version", head[1])] if head else [])
    for i, (name, value) in enumerate(fixed):
        names |= {f"fix{i}": _slot(made, name), f"fixed{i}": value}
        lines.append(f"fix{i}(o, fixed{i})")
    for i, (name, converter) in enumerate(present):
        names |= {f"put{i}": _slot(made, name), f"unpack{i}": converter.unpack}
        lines.append(f"put{i}(o, {_element(i, converter.passes, f'unpack{i}')})")
    lines.append("return o")
    return _compiled("unpack", "row", lines, names)


def _element(i: int, passes: str, convert: str) -> str:
    return f"v{i} if {passes.format(v=f'v{i}')} else {convert}(v{i})" if passes else f"{convert}(v{i})"


def _compiled(name: str, argument: str, lines: list[str], names: dict[str, Any]) -> _Convert:
    source = "\n    ".join([f"def {name}({argument}):", *lines])
    exec(compile(source, f"<generated {name}>", "exec"), names)
    return cast(_Convert, names[name])


def _miscounted(head: int, wanted: int, row: tuple[Any, ...]) -> _WrongCount:
    return _WrongCount(f"{len(row) - head} fields where {wanted} belong")


def _slot(made: type[Any], name: str) -> Callable[[Any, Any], None]:
    return cast(Callable[[Any, Any], None], getattr(made, name).__set__)


FORMS: Final[Mapping[tuple[int, ...], Form]] = {
    (made.type_number, version): _form(made, made.type_number, made.fields(), version)
    for made in (*DATA_RECORDS.values(), *CONTROL_RECORDS.values())
    for version in range(made.versions[0], made.versions[1] + 1)
}
"""(type number, version) -> form."""
