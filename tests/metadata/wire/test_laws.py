"""The laws of reading and writing, for every version of every message that we speak."""

import dataclasses
import datetime
import io
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.serial import entity_reader, entity_writer

from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.wire.convert import OLD_FORMS
from quorate.metadata.wire.own_schemas import load_request_schema, load_response_schema
from quorate.metadata.wire.reading import read_message
from quorate.metadata.wire.table import (
    APIS,
    Api,
    decode_request,
    encode_request,
    encode_response,
    holds_error,
    refusal,
)
from quorate.metadata.wire.writing import write_message
from tests.metadata.wire.messages import IDS, MESSAGES, values

_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
EVERY_MESSAGE = pytest.mark.parametrize(("api", "version", "is_request"), MESSAGES, ids=IDS)


def written(value: Any, version: int, *, is_request: bool) -> bytes:
    out = bytearray()
    write_message(out, version, value, is_request=is_request)
    return bytes(out)


@EVERY_MESSAGE
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_reading_undoes_writing_and_kio_agrees(
    data: st.DataObject, api: Api, version: int, is_request: bool
) -> None:
    """An independent codec of the same protocol agrees, field by field and byte by byte."""
    value = data.draw(values(api, version, is_request=is_request))
    schema = (load_request_schema if is_request else load_response_schema)(api.key, version)

    ours = written(value, version, is_request=is_request)
    found = read_message(type(value), version, ours, 0, is_request=is_request)
    assert found == value

    value = _as_kafka_defines(value)
    ours = written(value, version, is_request=is_request)
    theirs, size = entity_reader(schema)(ours, 0)
    again = io.BytesIO()
    entity_writer(schema)(again, theirs)

    assert size == len(ours)
    assert again.getvalue() == ours
    assert_same(theirs, value, version)


def _as_kafka_defines(value: Any) -> Any:
    """Without tagged fields of our own: Kafka skips a tag that it does not know, kio fails."""
    own = {field.name: field.default for field in attrs.fields(type(value)) if field.metadata}
    return attrs.evolve(value, **own)


def assert_same(theirs: Any, ours: Any, version: int) -> None:
    """Compares a structure of kio with ours by the names of the fields, whatever order or classes they have."""
    if isinstance(theirs, tuple):
        assert len(theirs) == len(ours)
        for one, other in zip(theirs, ours, strict=True):
            assert_same(one, other, version)
    elif dataclasses.is_dataclass(theirs):
        for field in dataclasses.fields(theirs):
            name, found = field.name.rstrip("_"), getattr(theirs, field.name)
            if isinstance(found, datetime.timedelta | datetime.datetime):
                name += "_ms"
            old_form = OLD_FORMS.get((type(ours).__name__, name))
            if old_form is None or version > old_form.last:
                assert_same(found, getattr(ours, name), version)
    elif isinstance(theirs, datetime.timedelta):
        assert theirs == datetime.timedelta(milliseconds=ours)
    elif isinstance(theirs, datetime.datetime):
        assert (theirs - _EPOCH) // datetime.timedelta(milliseconds=1) == ours
    elif theirs is None:
        assert ours is None or ours == ZERO_UUID
    else:
        assert theirs == ours


@EVERY_MESSAGE
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_a_message_cut_short_is_none_and_a_longer_one_only_as_a_request(
    data: st.DataObject, api: Api, version: int, is_request: bool
) -> None:
    value = data.draw(values(api, version, is_request=is_request))
    whole = written(value, version, is_request=is_request)

    for end in range(len(whole)):
        with pytest.raises(RemoteProtocolError):
            read_message(type(value), version, whole[:end], 0, is_request=is_request)
    if is_request:  # as librdkafka's list_topics sends them, and Kafka reads them
        exactly = read_message(type(value), version, whole, 0, is_request=True)
        assert read_message(type(value), version, whole + b"\1\0\0", 0, is_request=True) == exactly
    else:
        with pytest.raises(RemoteProtocolError):
            read_message(type(value), version, whole + b"\0", 0, is_request=False)


REQUESTS = [(api, version) for api, version, is_request in MESSAGES if is_request]
REQUEST_IDS = [f"{api.name}-v{version}" for api, version in REQUESTS]


@pytest.mark.parametrize(("api", "version"), REQUESTS, ids=REQUEST_IDS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_every_request_can_be_refused_in_its_own_version(data: st.DataObject, api: Api, version: int) -> None:
    sent = data.draw(values(api, version, is_request=True))
    request = decode_request(encode_request(sent, version, 1, "me")[4:]).body

    answer = refusal(request, ErrorCode.not_controller, "node 3 is not the active controller")

    assert isinstance(answer, api.response)
    encode_response(api.key, version, 1, answer)
    items = [value for field in ("topics", "resources") for value in getattr(request, field, None) or ()]
    if hasattr(answer, "error_code") or items:
        assert holds_error(answer, ErrorCode.not_controller)


HOSTILE = (b"\0", b"\1", b"\2", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x0f", b"\xff\xff", b"ab")


@settings(max_examples=300, deadline=None)
@given(
    key=st.sampled_from(sorted(APIS)) | st.integers(-(2**15), 2**15 - 1),
    version=st.integers(0, 18) | st.integers(-(2**15), 2**15 - 1),
    rest=st.binary(max_size=120) | st.lists(st.sampled_from(HOSTILE)).map(b"".join),
)
def test_random_bytes_are_a_request_or_the_peers_fault(key: int, version: int, rest: bytes) -> None:
    frame = key.to_bytes(2, "big", signed=True) + version.to_bytes(2, "big", signed=True) + rest
    with suppress(RemoteProtocolError):
        decode_request(frame)


@pytest.mark.parametrize(("api", "version"), REQUESTS, ids=REQUEST_IDS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_damaged_request_is_a_request_or_the_peers_fault(
    data: st.DataObject, api: Api, version: int
) -> None:
    frame = bytearray(encode_request(data.draw(values(api, version, is_request=True)), version, 1, "me")[4:])
    for position in data.draw(st.lists(st.integers(8, len(frame) - 1), max_size=4)):
        frame[position] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    with suppress(RemoteProtocolError):
        decode_request(frame)
