"""What a configuration says of security: for each listener, for a node's own way to the controllers, for a client.

Kafka's keys keep Kafka's meaning. A listener's own value comes before the node's:

    listener.name.<listener>.<mechanism>.sasl.jaas.config     before     listener.name.<listener>.sasl.jaas.config
    listener.name.<listener>.ssl.keystore.location            before     ssl.keystore.location

Certificates are read from PEM files or from the configuration itself; Java's own stores are refused with the command
that converts them. A value may stand in a file or in the environment (`config.providers`, KIP-297).
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from quorate.metadata.addresses import SecurityProtocol
from quorate.metadata.config_keys import BROKER_KEYS, ConfigValue, InvalidConfigValue
from quorate.metadata.security.jaas import PLAIN as PLAIN_MODULE
from quorate.metadata.security.jaas import SCRAM as SCRAM_MODULE
from quorate.metadata.security.jaas import LoginEntry, parse_login
from quorate.metadata.security.mechanisms import MECHANISMS, PLAIN, SCRAM
from quorate.metadata.security.principals import PrincipalRules, parse_rules

TLS_PROTOCOLS: Final = frozenset({SecurityProtocol.SSL, SecurityProtocol.SASL_SSL})
SASL_PROTOCOLS: Final = frozenset({SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL})

OnProblem = Callable[[str, str], None]
"""(key, why it will not do): the value itself is never shown, it may be a secret."""


@attrs.frozen(kw_only=True)
class Pem:
    """Certificates, and perhaps a key, in PEM: in a file or in the configuration."""

    path: pathlib.Path | None = None
    text: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    """Of the key."""


@attrs.frozen(kw_only=True)
class TlsSettings:
    """One side of TLS."""

    identity: Pem | None = None
    """Our certificate with its chain and its key."""
    trusted: Pem | None = None
    """The authorities that we believe; None: those of the system."""
    client_auth: str = "none"
    """For a server: required, requested or none."""
    versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    check_host: bool = True
    """For a client: whether the server's certificate must name the host that was connected to."""


@attrs.frozen(kw_only=True)
class SaslServerSettings:
    """How a listener lets clients log in."""

    mechanisms: tuple[str, ...]
    plain_users: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    max_session_ms: Mapping[str, int] = attrs.field(factory=dict)
    """By mechanism: after so long a client has to log in again; 0: never."""
    max_token_bytes: int = 524_288


@attrs.frozen(kw_only=True)
class ListenerSettings:
    """One listener."""

    name: str
    protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    tls: TlsSettings | None = None
    rules: PrincipalRules = attrs.field(factory=PrincipalRules)
    sasl: SaslServerSettings | None = None
    failure_delay_ms: int = 100
    """A client that was not let in hears of it so much later: guessing takes time."""


@attrs.frozen(kw_only=True)
class SaslClientSettings:
    """How we log in."""

    mechanism: str
    login: LoginEntry


@attrs.frozen(kw_only=True)
class ClientSettings:
    """One way to other nodes."""

    protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    tls: TlsSettings | None = None
    sasl: SaslClientSettings | None = None


_TLS_KEYS: Final = (
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.key.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.protocol",
)
_SASL_KEYS: Final = ("sasl.jaas.config", "sasl.enabled.mechanisms", "connections.max.reauth.ms")
_NODE_KEYS: Final = (
    "ssl.principal.mapping.rules",
    "sasl.server.max.receive.size",
    "sasl.mechanism.controller.protocol",
    "connection.failed.authentication.delay.ms",
)
USED: Final = frozenset((*_TLS_KEYS, *_SASL_KEYS, *_NODE_KEYS))
"""Kafka's keys that have an effect here."""
BETWEEN_BROKERS: Final = frozenset(
    {"inter.broker.listener.name", "security.inter.broker.protocol", "sasl.mechanism.inter.broker.protocol"}
)
"""Those that have one in ZooKeeper mode only, where brokers talk to each other."""

REFUSED: Final[Mapping[str, str]] = {
    "ssl.cipher.suites": "The cipher suites are OpenSSL's own choice here. Remove this key; the system-wide policy of "
    "OpenSSL narrows them.",
    "ssl.engine.factory.class": "Java classes cannot be loaded. Remove this key, and use PEM files.",
    "principal.builder.class": "Java classes cannot be loaded. Remove this key; ssl.principal.mapping.rules makes "
    "principals of certificates.",
    "sasl.server.callback.handler.class": "Java classes cannot be loaded. Remove this key; PLAIN takes its users from "
    "sasl.jaas.config, SCRAM from the cluster's metadata.",
    "sasl.client.callback.handler.class": "Java classes cannot be loaded. Remove this key.",
    "sasl.login.callback.handler.class": "Java classes cannot be loaded. Remove this key.",
    "sasl.login.class": "Java classes cannot be loaded. Remove this key.",
}
"""Kafka's keys that, were they ignored, would let in others than the operator means."""


def uses(protocol: SecurityProtocol, key: str) -> bool:
    """Whether a listener that speaks so looks at the key."""
    if key.startswith("ssl."):
        return protocol in TLS_PROTOCOLS
    return protocol in SASL_PROTOCOLS


def listener_prefix(name: str) -> str:
    """What stands before a listener's own keys."""
    return f"listener.name.{name.lower()}."


class Given:
    """The texts of a configuration, as one listener sees them."""

    def __init__(self, texts: Mapping[str, str], problem: OnProblem, *prefixes: str) -> None:
        self._texts = texts
        self._problem = problem
        self._prefixes = (*prefixes, "")

    def within(self, prefix: str) -> "Given":
        """The same, with values of its own behind a further prefix."""
        return Given(self._texts, self._problem, self._prefixes[0] + prefix, *self._prefixes[:-1])

    def key_of(self, key: str) -> str:
        """The key in the configuration that says it; the key itself if none does."""
        return next((prefix + key for prefix in self._prefixes if prefix + key in self._texts), key)

    def text(self, key: str) -> str | None:
        """None: not given, or empty."""
        return self._texts.get(self.key_of(key), "").strip() or None

    def value(self, key: str) -> ConfigValue:
        """Of Kafka's type and default; None after a problem."""
        found = self.key_of(key)
        definition = BROKER_KEYS.by_name[key]
        try:
            return definition.parse(self._texts.get(found, definition.default))
        except InvalidConfigValue:
            self.problem(key, f"It must be {definition.allowed}.")
            return None

    def problem(self, key: str, why: str) -> None:
        self._problem(self.key_of(key), why)


def listener_settings(given: Given, name: str, protocol: SecurityProtocol) -> ListenerSettings:
    """Of one listener; what is wrong goes to the problems. `given` is the node's, without the listener's prefix."""
    node, given = given, given.within(listener_prefix(name))
    delay = node.value("connection.failed.authentication.delay.ms")
    return ListenerSettings(
        name=name,
        protocol=protocol,
        tls=_tls(given, serves=True) if protocol in TLS_PROTOCOLS else None,
        rules=_rules(given),
        sasl=_sasl_server(given, node) if protocol in SASL_PROTOCOLS else None,
        failure_delay_ms=delay if isinstance(delay, int) else 0,
    )


def controller_client_settings(
    given: Given, listener: str, protocol: SecurityProtocol, *, is_controller: bool
) -> ClientSettings:
    """How a node reaches the controllers: as their listener wants it, with what the node says of that listener."""
    refuse_scram = (
        "A controller cannot look up SCRAM credentials before it is in the quorum, nor be in the quorum before "
        "it has logged in. Use PLAIN over TLS, or certificates, between controllers."
    )
    key = "sasl.mechanism.controller.protocol"
    return _node_client_settings(given, listener, protocol, key, refuse_scram if is_controller else None)


def broker_client_settings(given: Given, listener: str, protocol: SecurityProtocol) -> ClientSettings:
    """How a broker in ZooKeeper mode reaches the others: as `inter.broker.listener.name` wants it."""
    refuse_scram = (
        "A broker looks up SCRAM credentials at the controller, which it cannot reach before it has logged in. Use "
        "PLAIN over TLS, or certificates, between brokers."
    )
    key = "sasl.mechanism.inter.broker.protocol"
    return _node_client_settings(given, listener, protocol, key, refuse_scram)


def _node_client_settings(
    given: Given, listener: str, protocol: SecurityProtocol, key: str, refuse_scram: str | None
) -> ClientSettings:
    given = given.within(listener_prefix(listener))
    sasl = None
    if protocol in SASL_PROTOCOLS:
        mechanism = given.text(key)
        if mechanism not in MECHANISMS:
            given.problem(
                key,
                f"The listener {listener} wants a login: name {', '.join(MECHANISMS)}; others are not spoken here.",
            )
        elif refuse_scram is not None and mechanism in SCRAM:
            given.problem(key, refuse_scram)
        else:
            sasl = _sasl_client(given, mechanism)
    return ClientSettings(
        protocol=protocol, tls=_tls(given, serves=False) if protocol in TLS_PROTOCOLS else None, sasl=sasl
    )


def client_settings(texts: Mapping[str, str], problem: OnProblem) -> ClientSettings:
    """Of a client's file: `security.protocol`, `sasl.mechanism`, `sasl.jaas.config`, `ssl.*`."""
    given = Given(texts, problem)
    word = texts.get("security.protocol", "PLAINTEXT").strip()
    if word not in SecurityProtocol.__members__:
        problem("security.protocol", f"There are {', '.join(SecurityProtocol.__members__)}.")
        return ClientSettings()
    protocol = SecurityProtocol[word]
    sasl = None
    if protocol in SASL_PROTOCOLS:
        mechanism = texts.get("sasl.mechanism", "").strip()
        if mechanism not in MECHANISMS:
            problem("sasl.mechanism", f"{word} needs a mechanism: {', '.join(MECHANISMS)}.")
        else:
            sasl = _sasl_client(given, mechanism)
    tls = _tls(given, serves=False) if protocol in TLS_PROTOCOLS else None
    return ClientSettings(protocol=protocol, tls=tls, sasl=sasl)


# ---- TLS


def _tls(given: Given, *, serves: bool) -> TlsSettings:
    identity = _identity(given)
    if serves and identity is None:
        given.problem(
            "ssl.keystore.location",
            "It is missing: a listener that speaks TLS needs a certificate with its key, in a PEM file. Set "
            "ssl.keystore.type = PEM and ssl.keystore.location.",
        )
    client_auth = given.value("ssl.client.auth")
    trusted = _trusted(given)
    if serves and client_auth != "none" and trusted is None:
        given.problem(
            "ssl.truststore.location",
            "It is missing: where clients show certificates, it must be said which authorities are believed. Set "
            "ssl.truststore.type = PEM and ssl.truststore.location.",
        )
    algorithm = given.value("ssl.endpoint.identification.algorithm")
    if algorithm not in ("https", "HTTPS", "", None):
        given.problem("ssl.endpoint.identification.algorithm", "It must be https, or empty to check no host.")
    return TlsSettings(
        identity=identity,
        trusted=trusted,
        client_auth=str(client_auth or "none"),
        versions=_versions(given),
        check_host=algorithm in ("https", "HTTPS"),
    )


def _identity(given: Given) -> Pem | None:
    chain, key = given.text("ssl.keystore.certificate.chain"), given.text("ssl.keystore.key")
    location, password = given.text("ssl.keystore.location"), given.text("ssl.key.password")
    if chain is None and key is None and location is None:
        return None
    _check_type(given, "ssl.keystore")
    if location is not None:
        if chain is not None or key is not None:
            given.problem("ssl.keystore.location", "Name a file or write the certificate here, not both.")
        return Pem(path=pathlib.Path(location), password=password)
    if chain is None or key is None:
        given.problem(
            "ssl.keystore.key" if key is None else "ssl.keystore.certificate.chain",
            "It is missing: a certificate and its key belong together.",
        )
        return None
    return Pem(text=f"{chain}\n{key}", password=password)


def _trusted(given: Given) -> Pem | None:
    location, text = given.text("ssl.truststore.location"), given.text("ssl.truststore.certificates")
    if location is None and text is None:
        return None
    _check_type(given, "ssl.truststore")
    if location is not None:
        return Pem(path=pathlib.Path(location))
    return Pem(text=text)


def _check_type(given: Given, store: str) -> None:
    kind = given.value(f"{store}.type")
    if str(kind).upper() != "PEM":
        given.problem(
            f"{store}.type",
            f"It must be PEM; {kind} is read by Java only. A PKCS12 store is converted by `openssl pkcs12 -in STORE "
            "-out FILE.pem -nodes`, a JKS store first by `keytool -importkeystore -deststoretype PKCS12`.",
        )


def _versions(given: Given) -> tuple[str, ...]:
    words = given.value("ssl.enabled.protocols")
    versions = tuple(words) if isinstance(words, tuple | list) else ()
    known = ("TLSv1.2", "TLSv1.3")
    if not versions or any(word not in known for word in versions):
        given.problem("ssl.enabled.protocols", f"It must be one or both of {', '.join(known)}.")
        return known
    return tuple(word for word in known if word in versions)


def _rules(given: Given) -> PrincipalRules:
    try:
        return parse_rules(given.text("ssl.principal.mapping.rules") or "DEFAULT")
    except ValueError as error:
        given.problem("ssl.principal.mapping.rules", f"{error}.")
        return PrincipalRules()


# ---- SASL


def _sasl_server(given: Given, node: Given) -> SaslServerSettings:
    words = given.value("sasl.enabled.mechanisms")
    names: Iterable[str] = words if isinstance(words, tuple | list) else ()
    mechanisms = tuple(dict.fromkeys(names))
    strange = [name for name in mechanisms if name not in MECHANISMS]
    if strange or not mechanisms:
        given.problem(
            "sasl.enabled.mechanisms",
            f"It must be some of {', '.join(MECHANISMS)}"
            + (f"; {', '.join(strange)} is not spoken here." if strange else "."),
        )
    sessions = {name: _max_session(given, name) for name in mechanisms}
    size = node.value("sasl.server.max.receive.size")
    return SaslServerSettings(
        mechanisms=tuple(name for name in mechanisms if name in MECHANISMS),
        plain_users=_plain_users(given) if PLAIN in mechanisms else {},
        max_session_ms=sessions,
        max_token_bytes=size if isinstance(size, int) else 524_288,
    )


def _max_session(given: Given, mechanism: str) -> int:
    value = given.within(f"{mechanism.lower()}.").value("connections.max.reauth.ms")
    return value if isinstance(value, int) and value > 0 else 0


def _plain_users(given: Given) -> Mapping[str, str]:
    within = given.within("plain.")
    entry = _login(within, PLAIN_MODULE)
    if entry is not None and not entry.users:
        within.problem(
            "sasl.jaas.config",
            'PLAIN is enabled and it names no user that may log in; add user_NAME="PASSWORD" to it.',
        )
    return {} if entry is None else entry.users


def _sasl_client(given: Given, mechanism: str) -> SaslClientSettings | None:
    within = given.within(f"{mechanism.lower()}.")
    entry = _login(within, PLAIN_MODULE if mechanism == PLAIN else SCRAM_MODULE)
    if entry is None:
        return None
    if not entry.username or entry.password is None:
        within.problem("sasl.jaas.config", 'It must say username="..." and password="..." to log in with.')
        return None
    return SaslClientSettings(mechanism=mechanism, login=entry)


def _login(given: Given, module: str) -> LoginEntry | None:
    key = "sasl.jaas.config"
    text = given.text(key)
    if text is None:
        given.problem(key, f'It is missing. It must be: {module} required option="value" ...;')
        return None
    try:
        entry = parse_login(text)
    except ValueError as error:
        given.problem(key, f"{error}.")
        return None
    if entry.module != module:
        given.problem(key, f"This mechanism needs the login module {module}, not {entry.module}.")
        return None
    return entry
