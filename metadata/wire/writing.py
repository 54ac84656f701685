"""Values to bytes: a writer for each message and version, compiled once from its plan.

Twin of `reading`. kio's own writer makes an object and a call for each field; for an answer that names ten
thousand partitions that is a tenth of a second in which no heartbeat is answered.
"""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import attrs

from quorate.metadata.wire.convert import StructPlan, UnsayableValue, WireField, message_plan
from quorate.metadata.wire.reading import FIXED_FORMATS, MAX_STRING_BYTES

Write = Callable[[bytearray, Any], None]

_MAX_LENGTH: Final = 2**31 - 1


def write_message(out: bytearray, version: int, value: Any, *, is_request: bool) -> None:
    """Appends a value as its version writes it. After an error `out` holds a part of it.

    Raises:
        UnsayableValue: the version has no word for what the value says, or a field is not of its type.
    """
    value_class: type = type(value)
    _write_whole(_message_writer(value_class, version, is_request), out, version, value)


def write_data(out: bytearray, plan: StructPlan, value: Any) -> None:
    """Likewise for a structure that is no message.

    Raises:
        UnsayableValue: a field is not of its type.
    """
    _write_whole(_data_writer(plan), out, 0, value)


def _write_whole(write: Write, out: bytearray, version: int, value: Any) -> None:
    try:
        write(out, value)
    except (struct.error, TypeError, AttributeError, UnicodeEncodeError) as error:
        raise UnsayableValue(f"{type(value).__name__} v{version} cannot be written: {error}") from error


@cache
def _message_writer(value_class: type, version: int, is_request: bool) -> Write:
    return _struct_writer(message_plan(value_class, version, is_request=is_request))


@cache
def _data_writer(plan: StructPlan) -> Write:
    return _struct_writer(plan)


def put_varint(out: bytearray, value: int) -> None:
    """An unsigned varint (KIP-482)."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _put_tags(out: bytearray, tags: list[tuple[int, bytearray]]) -> None:
    put_varint(out, len(tags))
    for tag, data in tags:
        put_varint(out, tag)
        put_varint(out, len(data))
        out += data


def _null(name: str) -> UnsayableValue:
    return UnsayableValue(f"{name} is null, which this version does not know")


def _too_long(name: str, size: int, limit: int) -> UnsayableValue:
    return UnsayableValue(f"{name} has {size} bytes, and at most {limit} can be written")


def _dropped(name: str, value: object) -> UnsayableValue:
    return UnsayableValue(f"this version has no field {name}, which is {value!r}")


@attrs.define
class _Source:
    """The text of one writer, and the objects that it names."""

    flexible: bool
    lines: list[str] = attrs.field(factory=list)
    names: dict[str, Any] = attrs.field(factory=dict)

    def add(self, *lines: str) -> None:
        self.lines.extend("    " + line for line in lines)

    def bind(self, prefix: str, thing: object) -> str:
        name = f"{prefix}{len(self.names)}"
        self.names[name] = thing
        return name

    def compiled(self) -> Write:
        scope = self.names | {
            "put_varint": put_varint,
            "put_tags": _put_tags,
            "null": _null,
            "too_long": _too_long,
            "dropped": _dropped,
            "pack": struct.pack,
        }
        exec("\n".join(["def write(out, value):", *self.lines, "    return"]), scope)
        write: Write = scope["write"]
        return write


def _struct_writer(plan: StructPlan) -> Write:
    source = _Source(plan.flexible)
    for name, default in plan.dropped:
        expected = source.bind("default", default)
        source.add(f"if value.{name} != {expected}:", f"    raise dropped({name!r}, value.{name})")
    run: list[WireField] = []
    for field in plan.fields:
        if field.kind in FIXED_FORMATS and not field.is_array and field.old_form is None:
            run.append(field)
            continue
        _add_run(source, run)
        run = []
        source.add(f"x = value.{field.name}")
        if field.old_form is not None:
            source.add(f"x = {source.bind('old', field.old_form.write)}(x)")
        _add_field(source, field)
    _add_run(source, run)
    if plan.flexible:
        _add_tagged(source, plan.tagged)
    return source.compiled()


def _add_run(source: _Source, run: list[WireField]) -> None:
    """Neighbours of fixed size, in one call."""
    if not run:
        return
    layout = struct.Struct(">" + "".join(FIXED_FORMATS[field.kind] for field in run))
    values = [f"value.{field.name}" + (".bytes" if field.kind == "uuid" else "") for field in run]
    source.add(f"out += {source.bind('pack', layout.pack)}({', '.join(values)})")


def _add_field(source: _Source, field: WireField) -> None:
    """Writes `x`."""
    if field.is_array:
        _add_array(source, field)
    elif field.nested is not None:
        write = source.bind("write", _struct_writer(field.nested))
        if field.nullable:  # KIP-893: a byte says whether there is one
            source.add("if x is None:", "    out.append(255)", "else:")
            source.add("    out.append(1)", f"    {write}(out, x)")
        else:
            source.add(f"{write}(out, x)")
    elif field.kind in FIXED_FORMATS:
        layout = struct.Struct(">" + FIXED_FORMATS[field.kind])
        suffix = ".bytes" if field.kind == "uuid" else ""
        source.add(f"out += {source.bind('pack', layout.pack)}(x{suffix})")
    else:
        _add_text(source, field, nullable=field.nullable)


def _add_null(source: _Source, field: WireField, *, nullable: bool, wide: bool) -> None:
    """Ends with `else:`; what is written when `x` is there follows, one level in."""
    null = "\\0" if source.flexible else "\\xff" * (4 if wide else 2)
    source.add("if x is None:")
    source.add(f"    out += b'{null}'" if nullable else f"    raise null({field.name!r})")
    source.add("else:")


def _add_length(source: _Source, *, wide: bool) -> None:
    """Writes `n`, one level in."""
    if source.flexible:
        source.add(
            "    if n < 127:", "        out.append(n + 1)", "    else:", "        put_varint(out, n + 1)"
        )
    else:
        layout = struct.Struct(">i" if wide else ">h")
        source.add(f"    out += {source.bind('pack', layout.pack)}(n)")


def _add_text(source: _Source, field: WireField, *, nullable: bool) -> None:
    is_text = field.kind == "string"
    _add_null(source, field, nullable=nullable, wide=not is_text)
    if is_text:
        source.add("    x = x.encode()")
    source.add("    n = len(x)")
    source.add(
        f"    if n > {MAX_STRING_BYTES if is_text else _MAX_LENGTH}:",
        f"        raise too_long({field.name!r}, n)",
    )
    _add_length(source, wide=not is_text)
    source.add("    out += x")


def _add_array(source: _Source, field: WireField) -> None:
    _add_null(source, field, nullable=field.nullable, wide=True)
    source.add("    n = len(x)")
    _add_length(source, wide=True)
    if field.kind == "uuid":
        source.add("    for item in x:", "        out += item.bytes")
    elif field.kind in FIXED_FORMATS:
        source.add(f"    out += pack(f'>{{n}}{FIXED_FORMATS[field.kind]}', *x)")
    else:
        write = source.bind("write", _element_writer(field, source.flexible))
        source.add("    for item in x:", f"        {write}(out, item)")


def _element_writer(field: WireField, flexible: bool) -> Write:
    if field.nested is not None:
        return _struct_writer(field.nested)
    source = _Source(flexible)
    source.add("x = value")
    _add_text(source, field, nullable=False)
    return source.compiled()


def _add_tagged(source: _Source, tagged: tuple[WireField, ...]) -> None:
    if not tagged:
        source.add("out.append(0)")
        return
    source.add("tags = []")
    for field in tagged:
        default = source.bind("default", field.default)
        write = source.bind("write", _tagged_writer(field))
        source.add(f"x = value.{field.name}", f"if x is not {default} and x != {default}:")
        source.add("    data = bytearray()", f"    {write}(data, x)", f"    tags.append(({field.tag}, data))")
    source.add("put_tags(out, tags)")


def _tagged_writer(field: WireField) -> Write:
    source = _Source(flexible=True)
    source.add("x = value")
    _add_field(source, field)
    return source.compiled()
