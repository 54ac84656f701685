"""What configurations say of security: whose value counts, and what is refused in which words."""

import pathlib

import pytest

from quorate.admin.client_settings import load_client_settings
from quorate.controller.config import ControllerConfig
from quorate.metadata.addresses import SecurityProtocol
from quorate.metadata.security.jaas import PLAIN as MODULE
from quorate.metadata.security.jaas import SCRAM as SCRAM_MODULE
from quorate.metadata.security.settings import ListenerSettings, SaslServerSettings
from quorate.metadata.settings import InvalidSettings, RawSettings

BASE = {
    "node.id": "1",
    "process.roles": "controller",
    "listeners": "CONTROLLER://localhost:9093",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "localhost:9093",
    "metadata.log.dir": "/nowhere",
}
TLS = {"ssl.keystore.type": "PEM", "ssl.keystore.location": "node.pem"}
ENTRY = f'{MODULE} required username="n" password="hush" user_n="hush";'
SASL = {
    "listener.security.protocol.map": "CONTROLLER:SASL_PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "sasl.jaas.config": ENTRY,
}


def listener(**values: str) -> ListenerSettings:
    return ControllerConfig.of(BASE | values).listener_security["CONTROLLER"]


def sasl(more: dict[str, str]) -> SaslServerSettings:
    found = listener(**(SASL | more)).sasl
    assert found is not None
    return found


def problems(more: dict[str, str]) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as refusal:
        ControllerConfig.of(BASE | more)
    assert "hush" not in str(refusal.value)
    return {one.key: one.why for one in refusal.value.problems}


def test_in_the_clear_by_default() -> None:
    found = ControllerConfig.of(BASE)

    assert found.listener_security["CONTROLLER"].protocol is SecurityProtocol.PLAINTEXT
    assert found.controller_security.protocol is SecurityProtocol.PLAINTEXT


def test_a_listeners_own_value_comes_first() -> None:
    own = {
        "listener.name.controller.plain.sasl.jaas.config": f'{MODULE} required username="n" password="p" user_a="b";',
        "connections.max.reauth.ms": "1000",
        "listener.name.controller.plain.connections.max.reauth.ms": "2000",
    }

    assert sasl({}).plain_users == {"n": "hush"}
    assert sasl(own).plain_users == {"a": "b"}
    assert sasl({"connections.max.reauth.ms": "1000"}).max_session_ms == {"PLAIN": 1000}
    assert sasl(own).max_session_ms == {"PLAIN": 2000}


def test_a_node_logs_in_at_the_controllers_as_their_listener_wants_it() -> None:
    way = ControllerConfig.of(BASE | SASL).controller_security

    assert way.protocol is SecurityProtocol.SASL_PLAINTEXT
    assert way.sasl is not None
    assert (way.sasl.mechanism, way.sasl.login.username, way.sasl.login.password) == ("PLAIN", "n", "hush")


def test_what_has_an_effect_is_not_warned_of_and_what_has_none_is() -> None:
    given = (
        BASE
        | SASL
        | {
            "listener.name.other.ssl.keystore.location": "x",
        }
    )
    _, warnings = ControllerConfig.from_raw(RawSettings.of(given))

    assert [one.key for one in warnings] == ["listener.name.other.ssl.keystore.location"]


def test_certificates_and_logins_that_nothing_uses_are_warned_of() -> None:
    """Or an operator believes that a listener in the clear is secured."""
    _, warnings = ControllerConfig.from_raw(
        RawSettings.of(BASE | TLS | {"sasl.enabled.mechanisms": "PLAIN", "sasl.jaas.config": ENTRY})
    )

    assert {one.key: one.why.rpartition(" ")[2] for one in warnings} == {
        "ssl.keystore.type": "TLS",
        "ssl.keystore.location": "TLS",
        "sasl.enabled.mechanisms": "SASL",
        "sasl.jaas.config": "SASL",
    }
    assert ControllerConfig.from_raw(RawSettings.of(BASE | TLS | TLS_MAP))[1] == ()


def test_passwords_are_not_in_the_text_of_a_configuration() -> None:
    assert "hush" not in repr(ControllerConfig.of(BASE | SASL))
    assert "hush" not in repr(ControllerConfig.of(BASE | SASL).listener_security)
    assert "hush" not in repr(ControllerConfig.of(BASE | SASL).controller_security)


TLS_MAP = {"listener.security.protocol.map": "CONTROLLER:SSL"}


@pytest.mark.parametrize(
    ("more", "key", "why"),
    [
        (TLS_MAP, "ssl.keystore.location", "needs a certificate"),
        (TLS_MAP | {"ssl.keystore.location": "a.jks"}, "ssl.keystore.type", "read by Java only"),
        (TLS_MAP | TLS | {"ssl.client.auth": "required"}, "ssl.truststore.location", "which authorities"),
        (TLS_MAP | TLS | {"ssl.client.auth": "maybe"}, "ssl.client.auth", "one of"),
        (TLS_MAP | TLS | {"ssl.enabled.protocols": "SSLv3"}, "ssl.enabled.protocols", "TLSv1.2, TLSv1.3"),
        (TLS_MAP | TLS | {"ssl.cipher.suites": "TLS_X"}, "ssl.cipher.suites", "OpenSSL"),
        (TLS_MAP | TLS | {"ssl.principal.mapping.rules": "X"}, "ssl.principal.mapping.rules", "no rule"),
        (
            TLS_MAP | {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": "x"},
            "ssl.keystore.key",
            "belong together",
        ),
        (
            TLS_MAP | TLS | {"listener.name.controller.ssl.endpoint.identification.algorithm": "ftp"},
            "listener.name.controller.ssl.endpoint.identification.algorithm",
            "https",
        ),
        (
            SASL | {"sasl.enabled.mechanisms": "GSSAPI,PLAIN"},
            "sasl.enabled.mechanisms",
            "GSSAPI is not spoken",
        ),
        (
            SASL | {"sasl.mechanism.controller.protocol": "GSSAPI"},
            "sasl.mechanism.controller.protocol",
            "name PLAIN",
        ),
        (
            SASL | {"sasl.mechanism.controller.protocol": "SCRAM-SHA-256"},
            "sasl.mechanism.controller.protocol",
            "before it is in the quorum",
        ),
        (SASL | {"sasl.jaas.config": ""}, "sasl.jaas.config", "It is missing"),
        (
            SASL | {"sasl.jaas.config": f'{MODULE} required username="n" password="hush";'},
            "sasl.jaas.config",
            "user_",
        ),
        (SASL | {"sasl.jaas.config": f'{MODULE} required user_n="hush";'}, "sasl.jaas.config", "log in with"),
        (
            SASL | {"sasl.jaas.config": f"{SCRAM_MODULE} required;"},
            "sasl.jaas.config",
            "needs the login module",
        ),
        (SASL | {"sasl.jaas.config": "hush"}, "sasl.jaas.config", "no login entry"),
        (
            SASL | {"listener.name.controller.plain.sasl.server.callback.handler.class": "x.Y"},
            "listener.name.controller.plain.sasl.server.callback.handler.class",
            "Java classes",
        ),
        (SASL | {"principal.builder.class": "x.Y"}, "principal.builder.class", "Java classes"),
    ],
)
def test_what_would_leave_a_door_open_or_shut_for_ever_is_refused(
    more: dict[str, str], key: str, why: str
) -> None:
    found = problems(more)

    assert why in found[key]
    assert "PLAINTEXT" not in found[key]


def client(tmp_path: pathlib.Path, *lines: str) -> pathlib.Path:
    path = tmp_path / "client.properties"
    path.write_text("\n".join(lines))
    return path


def test_a_clients_file(tmp_path: pathlib.Path) -> None:
    path = client(
        tmp_path,
        "security.protocol=SASL_SSL",
        "sasl.mechanism=SCRAM-SHA-512",
        f'sasl.jaas.config={SCRAM_MODULE} required username="a" password="hush";',
        "ssl.truststore.type=PEM",
        "ssl.truststore.location=/authority.pem",
        "ssl.endpoint.identification.algorithm=",
        "ssl.truststore.password=ignored",
    )

    found = load_client_settings(path).security

    assert found.protocol is SecurityProtocol.SASL_SSL
    assert found.sasl is not None
    assert (found.sasl.mechanism, found.sasl.login.username) == ("SCRAM-SHA-512", "a")
    assert found.tls is not None
    assert (found.tls.check_host, found.tls.trusted and str(found.tls.trusted.path)) == (
        False,
        "/authority.pem",
    )


@pytest.mark.parametrize(
    ("lines", "key", "why"),
    [
        (["security.protocol=TLS"], "security.protocol", "SASL_SSL"),
        (["security.protocol=SASL_SSL"], "sasl.mechanism", "needs a mechanism"),
        (["security.protocol=SASL_SSL", "sasl.mechanism=OAUTHBEARER"], "sasl.mechanism", "PLAIN"),
        (["security.protocol=SASL_SSL", "sasl.mechanism=PLAIN"], "sasl.jaas.config", "missing"),
        (
            ["security.protocol=SSL", "ssl.truststore.location=/a.jks"],
            "ssl.truststore.type",
            "openssl pkcs12",
        ),
        (
            ["ssl.truststor.location=/a.pem"],
            "ssl.truststor.location",
            "Did you mean ssl.truststore.location?",
        ),
        (["sasl.client.callback.handler.class=x.Y"], "sasl.client.callback.handler.class", "Java"),
    ],
)
def test_what_is_wrong_with_a_clients_file(
    tmp_path: pathlib.Path, lines: list[str], key: str, why: str
) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        load_client_settings(client(tmp_path, *lines))

    assert why in {one.key: one.why for one in refusal.value.problems}[key]
