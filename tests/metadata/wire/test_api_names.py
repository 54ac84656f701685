"""Names of Kafka's requests, against Kafka's own schemas as kio carries them."""

import importlib
import importlib.util
import pkgutil
import re

import kio.schema
import pytest

from quorate.metadata.wire.api_names import API_NAMES, OWN_NAMES, api_called
from quorate.metadata.wire.table import APIS, UnsupportedRequest, decode_request


def _kafkas_names() -> dict[int, str]:
    """Of the newest version of each request; any would do, for a name holds for all."""
    found: dict[int, str] = {}
    for api in pkgutil.iter_modules(kio.schema.__path__, "kio.schema."):
        if not api.ispkg:
            continue
        versions = pkgutil.iter_modules(importlib.import_module(api.name).__path__, f"{api.name}.")
        newest = max((one.name for one in versions if one.ispkg), default=None)
        if newest is None or importlib.util.find_spec(f"{newest}.request") is None:
            continue  # a record or a header
        module = importlib.import_module(f"{newest}.request")
        for name, value in vars(module).items():
            if name.endswith("Request") and hasattr(value, "__api_key__"):
                found[int(value.__api_key__)] = name.removesuffix("Request")
    return found


def test_each_key_has_kafkas_name() -> None:
    kafkas = _kafkas_names()

    assert len(kafkas) > 70
    assert {key: API_NAMES[key] for key in kafkas} == kafkas


def test_what_is_spoken_here_has_no_second_name() -> None:
    assert {key: (API_NAMES | OWN_NAMES)[key] for key in APIS} == {key: api.name for key, api in APIS.items()}


def test_those_that_are_gone_and_those_that_never_were() -> None:
    assert api_called(4) == "LeaderAndIsr (API 4)"
    assert len(API_NAMES) == 93
    assert api_called(93) == "API 93"


@pytest.mark.parametrize(("key", "called"), [(0, "Produce (API 0)"), (93, "API 93")])
def test_a_request_that_is_not_spoken_is_called_by_its_name(key: int, called: str) -> None:
    frame = key.to_bytes(2, "big") + bytes(6) + b"\xff\xff"
    with pytest.raises(UnsupportedRequest, match=re.escape(f"{called} is not spoken here")):
        decode_request(frame)
