"""Bytes to values: a reader for each message and version, compiled once from its plan.

A reader is Python source made field by field, as attrs makes its constructors: neighbouring fields of fixed size
become one `struct` call, and nothing is looked up by name while reading. It trusts no length: an array must have
room for its elements before the first is read, and a string or a structure that runs past the end leaves a
position behind it, which the next read or the final comparison with the frame's size finds. Bytes left over are
an error too, so a message that was written in another version is refused rather than half understood.
"""

import struct
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import attrs

from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.ids import ZERO_UUID, uuid_from_bytes
from quorate.metadata.wire.convert import StructPlan, WireField, message_plan

Read = Callable[[bytes, int], tuple[Any, int]]

MAX_STRING_BYTES: Final = 0x7FFF
"""Kafka refuses longer strings in every version, whatever the length field could hold."""

FIXED_FORMATS: Final = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint16": "H",
    "uint32": "I",
    "float64": "d",
    "error_code": "h",
    "timedelta_i32": "i",
    "timedelta_i64": "q",
    "datetime_i64": "q",
    "uuid": "16s",
}

_ZERO_BYTES: Final = bytes(16)
_ERRORS: Final = {code.value: code for code in ErrorCode}


class Malformed(Exception):
    """Bytes that are no such message; told to the outside as RemoteProtocolError."""


def read_message(value_class: type, version: int, buffer: bytes, position: int, *, is_request: bool) -> Any:
    """The message that begins at `position` and fills the rest of the buffer.

    Bytes behind a request are ignored, as Kafka does: librdkafka's `list_topics` sends three of them.

    Raises:
        RemoteProtocolError: these bytes are not such a message.
    """
    read = _message_reader(value_class, version, is_request)
    return _read_whole(read, value_class, version, buffer, position, lenient=is_request)


def read_data(plan: StructPlan, buffer: bytes, position: int) -> Any:
    """Likewise for a structure that is no message.

    Raises:
        RemoteProtocolError: these bytes are not such a structure.
    """
    return _read_whole(_data_reader(plan), plan.value_class, 0, buffer, position)


def _read_whole(
    read: Read, value_class: type, version: int, buffer: bytes, position: int, *, lenient: bool = False
) -> Any:
    try:
        value, end = read(buffer, position)
    except (Malformed, IndexError, UnicodeDecodeError, struct.error) as error:
        raise RemoteProtocolError(f"these bytes are no {value_class.__name__} v{version}: {error}") from None
    if end > len(buffer) or (end < len(buffer) and not lenient):
        raise RemoteProtocolError(
            f"{value_class.__name__} v{version} ends at byte {end} of a frame of {len(buffer)}"
        )
    return value


@cache
def _message_reader(value_class: type, version: int, is_request: bool) -> Read:
    return _struct_reader(message_plan(value_class, version, is_request=is_request))


@cache
def _data_reader(plan: StructPlan) -> Read:
    return _struct_reader(plan)


def read_varint(buffer: bytes, position: int) -> tuple[int, int]:
    """An unsigned varint of at most five bytes (KIP-482)."""
    value = buffer[position]
    position += 1
    if value < 0x80:
        return value, position
    value, shift = value & 0x7F, 7
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise Malformed("a length has more than five bytes")


def skip_tags(buffer: bytes, position: int) -> int:
    """The end of a section of tagged fields none of which is known.

    Raises:
        RemoteProtocolError: the section does not end inside the buffer.
    """
    try:
        if buffer[position] == 0:  # nearly always: there is none at all
            return position + 1
        _, position = _read_tags(buffer, position, {})
    except (Malformed, IndexError) as error:
        raise RemoteProtocolError(f"tagged fields that do not end: {error}") from None
    return position


def _read_tags(buffer: bytes, position: int, readers: dict[int, Read]) -> tuple[dict[int, Any], int]:
    found = {}
    count, position = read_varint(buffer, position)
    for _ in range(count):
        tag, position = read_varint(buffer, position)
        size, position = read_varint(buffer, position)
        end = position + size
        if end > len(buffer):
            raise Malformed(f"tagged field {tag} runs past the end")
        if tag in readers:
            found[tag], position = readers[tag](buffer, position)
            if position != end:
                raise Malformed(f"tagged field {tag} says {size} bytes and has another size")
        position = end
    return found, position


def _uuid_of(raw: bytes) -> uuid.UUID:
    return ZERO_UUID if raw == _ZERO_BYTES else uuid_from_bytes(raw)


def _null(name: str) -> Malformed:
    return Malformed(f"{name} is null")


def _too_long(name: str, size: int) -> Malformed:
    return Malformed(f"{name} has a length of {size}, which is impossible here")


@attrs.define
class _Source:
    """The text of one reader, and the objects that it names."""

    flexible: bool
    lines: list[str] = attrs.field(factory=list)
    names: dict[str, Any] = attrs.field(factory=dict)

    def add(self, *lines: str) -> None:
        self.lines.extend("    " + line for line in lines)

    def bind(self, prefix: str, thing: object) -> str:
        name = f"{prefix}{len(self.names)}"
        self.names[name] = thing
        return name

    def compiled(self, result: str) -> Read:
        scope = self.names | {
            "read_varint": read_varint,
            "read_tags": _read_tags,
            "uuid_of": _uuid_of,
            "error_of": _ERRORS.get,
            "unknown_error": ErrorCode.unknown_server_error,
            "null": _null,
            "too_long": _too_long,
            "unpack_from": struct.unpack_from,
        }
        text = "\n".join(["def read(buf, pos):", *self.lines, f"    return {result}, pos"])
        exec(text, scope)
        read: Read = scope["read"]
        return read


def _struct_reader(plan: StructPlan) -> Read:
    source = _Source(plan.flexible)
    arguments = {}
    run: list[tuple[str, WireField]] = []
    for number, field in enumerate(plan.fields):
        local = f"f{number}"
        arguments[field.name] = _translated(source, field, local)
        if field.kind in FIXED_FORMATS and not field.is_array:
            run.append((local, field))
            continue
        _add_run(source, run)
        run = []
        _add_field(source, field, local)
    _add_run(source, run)
    if plan.flexible:
        arguments |= _add_tagged(source, plan.tagged)
    source.names["cls"] = plan.value_class
    return source.compiled(f"cls({', '.join(f'{name}={value}' for name, value in arguments.items())})")


def _translated(source: _Source, field: WireField, local: str) -> str:
    return local if field.old_form is None else f"{source.bind('old', field.old_form.read)}({local})"


def _add_run(source: _Source, run: list[tuple[str, WireField]]) -> None:
    """Neighbours of fixed size, in one call."""
    if not run:
        return
    layout = struct.Struct(">" + "".join(FIXED_FORMATS[field.kind] for _, field in run))
    unpack = source.bind("unpack", layout.unpack_from)
    source.add(f"{', '.join(local for local, _ in run)}, = {unpack}(buf, pos)", f"pos += {layout.size}")
    for local, field in run:
        if field.kind == "uuid":
            source.add(f"{local} = uuid_of({local})")
        elif field.kind == "error_code":
            source.add(f"{local} = error_of({local}, unknown_error)")


def _add_field(source: _Source, field: WireField, local: str) -> None:
    """A field whose size the bytes tell."""
    if field.is_array:
        _add_array(source, field, local)
    elif field.nested is not None:
        read = source.bind("read", _struct_reader(field.nested))
        if field.nullable:  # KIP-893: a byte says whether there is one
            source.add(f"{local} = None", "pos += 1", "if buf[pos - 1] < 128:")
            source.add(f"    {local}, pos = {read}(buf, pos)")
        else:
            source.add(f"{local}, pos = {read}(buf, pos)")
    elif field.kind in FIXED_FORMATS:
        _add_run(source, [(local, field)])
    else:
        _add_text(source, field, local, nullable=field.nullable)


def _add_length(source: _Source, field: WireField, *, nullable: bool, wide: bool, local: str) -> None:
    """Leaves the length in `n`; after it an `if n >= 0:` block must follow where null is allowed."""
    if source.flexible:
        source.add("n = buf[pos] - 1", "pos += 1", "if n > 126:")
        source.add("    n, pos = read_varint(buf, pos - 1)", "    n -= 1")
    else:
        layout = struct.Struct(">i" if wide else ">h")
        source.add(f"n, = {source.bind('unpack', layout.unpack_from)}(buf, pos)", f"pos += {layout.size}")
    if nullable:
        source.add("if n < 0:", f"    {local} = None")
    else:
        source.add("if n < 0:", f"    raise null({field.name!r})")


def _add_text(source: _Source, field: WireField, local: str, *, nullable: bool) -> None:
    is_text = field.kind == "string"
    _add_length(source, field, nullable=nullable, wide=not is_text, local=local)
    if is_text:
        source.add(f"elif n > {MAX_STRING_BYTES}:", f"    raise too_long({field.name!r}, n)")
    source.add("else:", f"    {local} = buf[pos : pos + n]{'.decode()' if is_text else ''}", "    pos += n")


def _add_array(source: _Source, field: WireField, local: str) -> None:
    least = _least_size(field, source.flexible)
    _add_length(source, field, nullable=field.nullable, wide=True, local=local)
    source.add(f"elif n * {least} > len(buf) - pos:", f"    raise too_long({field.name!r}, n)", "else:")
    if field.kind in FIXED_FORMATS:
        letter = FIXED_FORMATS[field.kind]
        if field.kind == "uuid":
            source.add(
                f"    {local} = tuple([uuid_of(buf[i : i + 16]) for i in range(pos, pos + n * 16, 16)])",
                "    pos += n * 16",
            )
        else:
            source.add(f"    {local} = unpack_from(f'>{{n}}{letter}', buf, pos)", f"    pos += n * {least}")
        return
    read = source.bind("read", _element_reader(field, source.flexible))
    source.add("    items = []", "    for _ in range(n):", f"        item, pos = {read}(buf, pos)")
    source.add("        items.append(item)", f"    {local} = tuple(items)")


def _element_reader(field: WireField, flexible: bool) -> Read:
    if field.nested is not None:
        return _struct_reader(field.nested)
    source = _Source(flexible)
    _add_text(source, field, "item", nullable=False)
    return source.compiled("item")


def _least_size(field: WireField, flexible: bool) -> int:
    """The fewest bytes that an element of this array can have."""
    if field.kind in FIXED_FORMATS:
        return struct.calcsize(">" + FIXED_FORMATS[field.kind])
    if field.nested is not None:
        return _least_struct_size(field.nested)
    return 1 if flexible else 2


def _least_struct_size(plan: StructPlan) -> int:
    size = 1 if plan.flexible else 0
    for field in plan.fields:
        if field.is_array:
            size += 1 if plan.flexible else 4
        elif field.nested is not None and field.nullable:
            size += 1
        else:
            size += _least_size(field, plan.flexible)
    return size


def _add_tagged(source: _Source, tagged: tuple[WireField, ...]) -> dict[str, str]:
    readers = source.bind("readers", {field.tag: _tagged_reader(field) for field in tagged})
    source.add("n = buf[pos]", "pos += 1")
    if not tagged:
        source.add("if n:", f"    _, pos = read_tags(buf, pos - 1, {readers})")
        return {}
    values, defaults = {}, {}
    for field in tagged:
        local = f"t{field.tag}"
        values[field.name], defaults[local] = local, source.bind("default", field.default)
    source.add("if n:", f"    found, pos = read_tags(buf, pos - 1, {readers})")
    source.add(*(f"    {local} = found.get({local[1:]}, {default})" for local, default in defaults.items()))
    source.add("else:", *(f"    {local} = {default}" for local, default in defaults.items()))
    return values


def _tagged_reader(field: WireField) -> Read:
    source = _Source(flexible=True)
    _add_field(source, field, "item")
    return source.compiled("item")
