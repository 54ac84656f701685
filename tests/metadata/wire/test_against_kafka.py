"""Requests and answers that real Kafka nodes sent, decoded by somebody else's code, have the same size from ours.

The traces give messages as JSON in Kafka's own field names, and the bytes that they had. A field that we lack,
misname, tag or write in another width shows here.
"""

import json
import re
import typing
import uuid
from pathlib import Path
from typing import Any

import attrs
import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import uuid_from_text
from quorate.metadata.wire.table import APIS, decode_request, decode_response, encode_request, encode_response

TRACES = Path(__file__).parents[2] / "artefacts" / "kafka" / "traces"
ROW = re.compile(
    r"\| \d+ \| \d+ \| \d+ \| (?P<key>\d+)\.v(?P<version>\d+) \| \w+ \| (?P<request_bytes>\d+) "
    r"\| (?P<response_bytes>\d+) \| \d+ \| (?P<request>.*?) \| (?P<response>.*?) \|?$"
)
RAFT = {1, 52, 53, 54, 82}
ENVELOPE = 58


def messages(side: str) -> list[Any]:
    """One (api key, version, message, whether controllers wrote it, bytes) for each different message of the traces.

    Left out are cells that are cut off, and fetched records, of which the traces tell only the gist.
    """
    found = {}
    for path in sorted(TRACES.glob("*.md")):
        for line in path.read_text().splitlines():
            match = ROW.match(line)
            if (
                match
                and match[side].startswith("`{")
                and match[side].endswith("}`")
                and '"records"' not in match[side]
            ):
                said = json.loads(match[side].strip("`"))
                open_envelope(said, match["request"])
                case = (
                    int(match["key"]),
                    int(match["version"]),
                    json.dumps(said),
                    path.name.startswith("controller"),
                )
                found.setdefault(case, int(match[side + "_bytes"]))
    return [
        pytest.param(*case, size, id=f"{APIS[case[0]].name}-v{case[1]}-{number}")
        for number, (case, size) in enumerate(found.items())
    ]


def open_envelope(said: dict[str, Any], request: str) -> None:
    """The traces decode what is inside an envelope; we put it back in."""
    if isinstance(inner := said.get("requestData"), dict):
        head = inner["header"]
        value = value_of(APIS[head["key"]].request, inner["body"])
        said["requestData"] = encode_request(value, head["version"], head["corr"], head["client"])[4:].hex()
    if isinstance(inner := said.get("responseData"), dict):
        head = json.loads(request.strip("`"))["requestData"]["header"]
        value = value_of(APIS[head["key"]].response, inner)
        said["responseData"] = encode_response(head["key"], head["version"], head["corr"], value)[4:].hex()


def value_of(annotation: Any, said: Any) -> Any:
    """Kafka's JSON of a structure as our value; fails on a name that we do not have."""
    parts = typing.get_args(annotation)
    if said is None:
        assert type(None) in parts, f"{annotation} cannot be null"
        return None
    if attrs.has(annotation):
        hints = typing.get_type_hints(annotation)
        named = {snake_case(name): value for name, value in said.items()}
        if "records" in hints:
            named.setdefault("records", "")  # the traces leave them out
        return annotation(**{name: value_of(hints[name], value) for name, value in named.items()})
    if typing.get_origin(annotation) is tuple:
        return tuple(value_of(parts[0], item) for item in said)
    if parts:
        return value_of(next(part for part in parts if part is not type(None)), said)
    if annotation is uuid.UUID:
        return uuid_from_text(said)
    if annotation is bytes:
        left_out = re.fullmatch(r"<(\d+) bytes>", said)
        return bytes(int(left_out[1])) if left_out else bytes.fromhex(said)
    return ErrorCode(said) if annotation is ErrorCode else said


def snake_case(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(("key", "version", "text", "of_controllers", "size"), messages("request"))
def test_a_request_of_kafka_has_its_size(
    key: int, version: int, text: str, of_controllers: bool, size: int
) -> None:
    value = value_of(APIS[key].request, json.loads(text))
    node_id = "3001" if of_controllers else "1"
    client_ids = (
        {f"raft-client-{node_id}", node_id}
        if key == 18
        else {f"raft-client-{node_id}" if key in RAFT else node_id}
    )

    ours = [encode_request(value, version, 7, client_id)[4:] for client_id in client_ids]

    assert size in [len(frame) for frame in ours]
    assert decode_request(ours[0]).body == value


@pytest.mark.parametrize(("key", "version", "text", "of_controllers", "size"), messages("response"))
def test_a_response_of_kafka_has_its_size(
    key: int, version: int, text: str, of_controllers: bool, size: int
) -> None:
    value = value_of(APIS[key].response, json.loads(text))

    ours = encode_response(key, version, 7, value)[4:]

    assert len(ours) == size
    assert decode_response(key, version, ours) == value


def test_the_traces_were_understood() -> None:
    """An empty list of cases would pass silently."""
    assert len(messages("request")) >= 60
    assert len(messages("response")) >= 40
    assert {case.values[0] for case in messages("request")} >= {1, 18, 52, 53, 54, 56, 58, 62, 63, 70, 82}
