"""How an ensemble is spoken to, in Kafka's words (`zookeeper.ssl.client.enable` and its like) (pure).

Keys and certificates are PEM, as everywhere here. What Kafka takes from a JAAS file of the JVM has keys of our own:
`quorate.zookeeper.digest`, and `quorate.zookeeper.sasl.` with `mechanism`, `username` and `password`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from quorate.metadata.zookeeper.interface import ConnectSettings

_SASL: Final = ("mechanism", "username", "password")
_SASL_PREFIX: Final = "quorate.zookeeper.sasl."
DIGEST: Final = "quorate.zookeeper.digest"
_TIMEOUTS: Final = ("zookeeper.session.timeout.ms", "zookeeper.connection.timeout.ms")
_PREFIX: Final = "zookeeper.ssl."
KEYS: Final = frozenset({
    DIGEST,
    *(_SASL_PREFIX + name for name in _SASL),
    *_TIMEOUTS,
    "zookeeper.ssl.client.enable",
    "zookeeper.ssl.endpoint.identification.algorithm",
    "zookeeper.ssl.keystore.location",
    "zookeeper.ssl.keystore.password",
    "zookeeper.ssl.truststore.location",
})  # fmt: skip
IGNORED: Final = frozenset({
    "zookeeper.clientCnxnSocket",
    "zookeeper.max.in.flight.requests",
    "zookeeper.ssl.keystore.type",
    "zookeeper.ssl.truststore.password",
    "zookeeper.ssl.truststore.type",
})  # fmt: skip
"""Without meaning here: what kind of file it is, the file says."""
SECRET: Final = frozenset({DIGEST, _SASL_PREFIX + "password", "zookeeper.ssl.keystore.password"})
_NOT_PEM: Final = (".jks", ".p12", ".pfx")

Refuse = Callable[[str, str], None]
"""Is told a key and why its value will not do."""


def connect_settings(hosts: str, texts: Mapping[str, str], refuse: Refuse) -> ConnectSettings:
    """Of the keys in `KEYS`; others are not looked at. What was refused has its default in what is given."""
    timeouts = [_timeout(texts, key, refuse) for key in _TIMEOUTS]
    session_ms = timeouts[0] or ConnectSettings(hosts=hosts).session_timeout_ms
    files = {key: _file(texts, f"{_PREFIX}{key}.location", refuse) for key in ("truststore", "keystore")}
    digest = texts.get(DIGEST)
    if digest is not None and ":" not in digest:
        refuse(DIGEST, "it is NAME:PASSWORD")
    return ConnectSettings(
        hosts=hosts,
        session_timeout_ms=session_ms,
        connect_timeout_ms=timeouts[1] or session_ms,
        digest=digest,
        sasl=_sasl(texts, refuse),
        tls=_flag(texts, "zookeeper.ssl.client.enable", refuse),
        ca_file=files["truststore"],
        cert_file=files["keystore"],
        key_file=files["keystore"],
        key_password=texts.get("zookeeper.ssl.keystore.password"),
        verify_host=texts.get("zookeeper.ssl.endpoint.identification.algorithm", "HTTPS") != "",
    )


def _timeout(texts: Mapping[str, str], key: str, refuse: Refuse) -> int | None:
    text = texts.get(key)
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        refuse(key, "it is a number of milliseconds")
        return None
    return int(text)


def _flag(texts: Mapping[str, str], key: str, refuse: Refuse) -> bool:
    text = texts.get(key, "false").lower()
    if text not in ("true", "false"):
        refuse(key, "it is true or false")
    return text == "true"


def _file(texts: Mapping[str, str], key: str, refuse: Refuse) -> str | None:
    path = texts.get(key)
    if path is not None and path.lower().endswith(_NOT_PEM):
        refuse(
            key, "it must be a PEM file: `openssl pkcs12 -in FILE -nodes -out FILE.pem` makes one of PKCS12"
        )
    return path


def _sasl(texts: Mapping[str, str], refuse: Refuse) -> Mapping[str, str] | None:
    found = {name: texts[_SASL_PREFIX + name] for name in _SASL if _SASL_PREFIX + name in texts}
    if not found:
        return None
    for name in ("username", "password"):
        if name not in found:
            refuse(_SASL_PREFIX + name, "a login needs it")
    return {"mechanism": "DIGEST-MD5", "service": "zookeeper", **found}
