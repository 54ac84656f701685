"""Delegation tokens from beginning to end: made by a user who logged in with a password, used, renewed, ended.

A cluster of its own, whose listeners ask who is there.
"""

import base64
import json

import pytest

from tests.admin.command import dev_cluster
from tests.admin.test_documented_shapes import EXAMPLES, members
from tests.secured import PASSWORD, USER, secured

pytestmark = pytest.mark.e2e

_TRIES = 200
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@pytest.fixture(scope="module")
def safe_cluster(tmp_path_factory):
    """(its ready line, the settings of a client's TLS)"""
    directory = tmp_path_factory.mktemp("safe")
    guard = secured("sasl_ssl", directory / "files")
    tls = {key: value for key, value in guard.client_settings.items() if not key.startswith("sasl.")}
    with dev_cluster(directory / "c", guard.wanted(controllers=1, brokers=1)) as ready:
        yield ready, tls


@pytest.fixture(params=["bootstrap", "bootstrap_controllers"])
def ask_as(request, safe_cluster, run, tmp_path):
    """Runs a command as a user; gives (exit code, its JSON document)."""
    ready, tls = safe_cluster

    def ask(mechanism, entry, line):
        file = tmp_path / "client.properties"
        settings = {**tls, "sasl.mechanism": mechanism, "sasl.jaas.config": entry}
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        there = ["--bootstrap", ready[request.param], "--command-config", str(file), "--output", "json"]
        ran = run(*line.split(), *there)
        assert "Traceback" not in ran.err
        return ran.code, json.loads(ran.out)

    return ask


@pytest.fixture
def as_alice(ask_as):
    return lambda line: ask_as("PLAIN", f'{_PLAIN} required username="{USER}" password="{PASSWORD}";', line)


@pytest.fixture
def by_token(ask_as):
    def ask(token, line):
        entry = f'{_SCRAM} required username="{token["id"]}" password="{token["hmac"]}" tokenauth="true";'
        return ask_as("SCRAM-SHA-512", entry, line)

    return ask


def _until(look, expected):
    """A node may not have heard of it yet, so it is asked until it has."""
    for _ in range(_TRIES):
        found = look()
        if expected(found):
            return found
    raise AssertionError(found)


def test_from_beginning_to_end(as_alice, by_token):
    code, made = as_alice("tokens create --renewer-principal User:bob --max-life-time-period 3600000")
    token = made["token"]
    assert code == 0
    assert (token["owner"], token["requester"], token["renewers"]) == (
        "User:alice",
        "User:alice",
        ["User:bob"],
    )
    assert token["ends_ms"] - token["issued_ms"] == 3_600_000
    assert members(made) == members(json.loads(EXAMPLES["tokens create"]))

    _until(lambda: by_token(token, "features describe")[0], lambda code: code == 0)
    described = as_alice("tokens describe")[1]
    assert token in described["tokens"]
    assert members(described) == members(json.loads(EXAMPLES["tokens describe"]))
    assert as_alice("tokens describe --owner-principal User:bob")[1]["tokens"]
    assert as_alice("tokens describe --owner-principal User:carol")[1] == {"tokens": []}

    for line in ("tokens create", "tokens describe", f"tokens renew --hmac {token['hmac']}"):
        code, refused = by_token(token, line)
        assert code == 1
        assert "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" in refused["error"]["why"]

    code, renewed = as_alice(f"tokens renew --hmac {token['hmac']} --renew-time-period 60000")
    assert code == 0
    assert token["issued_ms"] + 60_000 <= renewed["expires_ms"] < token["ends_ms"]
    assert members(renewed) == members(json.loads(EXAMPLES["tokens renew"]))

    code, gone = as_alice(f"tokens expire --hmac {token['hmac']}")
    assert (code, gone) == (0, {"expires_ms": None, "removed": True})
    assert members(gone) == members(json.loads(EXAMPLES["tokens expire"]))
    _until(lambda: by_token(token, "features describe")[0], lambda code: code == 1)


def test_for_others_a_right_is_needed_and_an_unknown_one_is_not_found(as_alice):
    code, refused = as_alice("tokens create --owner-principal User:bob")
    assert (code, refused["error"]["why"]) == (1, "DELEGATION_TOKEN_AUTHORIZATION_FAILED")

    unknown = base64.b64encode(b"unknown").decode()
    code, refused = as_alice(f"tokens renew --hmac {unknown}")
    assert (code, refused["error"]["why"]) == (1, "DELEGATION_TOKEN_NOT_FOUND")
