"""Kafka's `zookeeper.` keys, and what they make of a connection."""

import pytest

from quorate.metadata.zookeeper.connect_settings import KEYS, SECRET, connect_settings
from quorate.metadata.zookeeper.interface import ConnectSettings


def made(texts: dict[str, str]) -> tuple[ConnectSettings, dict[str, str]]:
    """And what was refused."""
    refused: dict[str, str] = {}
    return connect_settings("a:2181/kafka", texts, refused.__setitem__), refused


def test_nothing_said_is_kafkas_defaults() -> None:
    assert made({}) == (ConnectSettings(hosts="a:2181/kafka"), {})


def test_everything_said() -> None:
    found, refused = made(
        {
            "zookeeper.session.timeout.ms": "6000",
            "zookeeper.ssl.client.enable": "true",
            "zookeeper.ssl.truststore.location": "ca.pem",
            "zookeeper.ssl.keystore.location": "me.pem",
            "zookeeper.ssl.keystore.password": "p",
            "zookeeper.ssl.endpoint.identification.algorithm": "",
            "quorate.zookeeper.digest": "me:secret",
            "quorate.zookeeper.sasl.username": "kafka",
            "quorate.zookeeper.sasl.password": "secret",
        }
    )

    assert refused == {}
    assert found == ConnectSettings(
        hosts="a:2181/kafka",
        session_timeout_ms=6000,
        connect_timeout_ms=6000,
        digest="me:secret",
        sasl={"mechanism": "DIGEST-MD5", "service": "zookeeper", "username": "kafka", "password": "secret"},
        tls=True,
        ca_file="ca.pem",
        cert_file="me.pem",
        key_file="me.pem",
        key_password="p",
        verify_host=False,
    )
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("zookeeper.session.timeout.ms", "soon"),
        ("zookeeper.connection.timeout.ms", "0"),
        ("zookeeper.ssl.client.enable", "yes"),
        ("zookeeper.ssl.truststore.location", "trust.JKS"),
        ("quorate.zookeeper.digest", "nobody"),
    ],
)
def test_what_will_not_do(key: str, value: str) -> None:
    assert list(made({key: value})[1]) == [key]


def test_half_a_login() -> None:
    assert list(made({"quorate.zookeeper.sasl.username": "kafka"})[1]) == ["quorate.zookeeper.sasl.password"]


def test_secrets_are_keys() -> None:
    assert SECRET < KEYS
