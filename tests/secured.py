"""Clusters whose listeners ask who is there: throw-away certificates, users, and what nodes and clients need of them.

plaintext   nothing is asked
mtls        every listener speaks TLS and wants a certificate
sasl_ssl    every listener speaks TLS and wants a login: the nodes' own by PLAIN, administrators' by PLAIN or SCRAM

In both of the latter ACLs decide what everybody but the nodes and the administrator may do.
"""

import datetime
import pathlib
from collections.abc import Mapping
from typing import Final

import attrs
import trustme
from cryptography.hazmat.primitives import serialization

from quorate.admin.cluster_files import Wanted

MODES: Final = ("plaintext", "mtls", "sasl_ssl")
ADMIN: Final = "admin"
"""May do everything."""
USER: Final = "alice"
"""May do what ACLs say."""
PASSWORD: Final = "admin's secret"
NODE_PASSWORD: Final = "between nodes"
TOKEN_SECRET: Final = "of all tokens"
_LONG_AGO: Final = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"


class Certificates:
    """One authority, and what it vouches for."""

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.authority = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(self.authority)

    def issue(
        self, file: str, *names: str, common_name: str | None = None, expired: bool = False
    ) -> pathlib.Path:
        """Certificate and key in one file; whoever has it is `CN=common_name,...`."""
        until = _LONG_AGO if expired else None
        made = self._authority.issue_cert(*names, common_name=common_name, not_after=until)
        path = self._directory / file
        chain = [blob.bytes() for blob in made.cert_chain_pems]
        path.write_bytes(b"".join([*chain, _as_pkcs8(made.private_key_pem.bytes())]))
        return path


def _as_pkcs8(key_pem: bytes) -> bytes:
    """The only form of a key that Java reads."""
    key = serialization.load_pem_private_key(key_pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@attrs.frozen(kw_only=True)
class Secured:
    """One mode, with its files."""

    mode: str
    certificates: Certificates | None = None
    authority: pathlib.Path | None = None
    admin_pem: pathlib.Path | None = None
    node_settings: Mapping[str, str] = attrs.field(factory=dict)
    client_settings: Mapping[str, str] = attrs.field(factory=dict)

    def wanted(
        self,
        *,
        controllers: int | None = None,
        brokers: int | None = None,
        controller_settings: Mapping[str, str] | None = None,
        broker_settings: Mapping[str, str] | None = None,
    ) -> Wanted:
        """A cluster in this mode."""
        return Wanted(
            controllers=controllers,
            brokers=brokers,
            controller_settings={**self.node_settings, **(controller_settings or {})},
            broker_settings={**self.node_settings, **(broker_settings or {})},
            client_settings=self.client_settings,
        )

    def for_clients(self) -> dict[str, str]:
        """For programs of other people's client libraries (tests/e2e/clients): the mode and its files."""
        if self.mode == "plaintext":
            return {"mode": self.mode}
        return {
            "mode": self.mode,
            "authority": str(self.authority),
            "certificate": str(self.admin_pem),
            "user": ADMIN,
            "password": PASSWORD,
        }


def login_entry(user: str, password: str = PASSWORD) -> str:
    """A client's `sasl.jaas.config`."""
    return f'{_PLAIN} required username="{user}" password="{password}";'


def secured(mode: str, directory: pathlib.Path) -> Secured:
    """A mode of `MODES`; its files go into the directory."""
    if mode == "plaintext":
        return Secured(mode=mode)
    certificates = Certificates(directory)
    node = certificates.issue("node.pem", "localhost", "127.0.0.1", common_name="node")
    admin = certificates.issue("admin.pem", "admin@example.org", common_name=ADMIN)
    protocol = "SSL" if mode == "mtls" else "SASL_SSL"
    tls = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(certificates.authority)}
    nodes = {
        "listener.security.protocol.map": f"CONTROLLER:{protocol},PLAINTEXT:{protocol}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(node),
        **tls,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:node;User:{ADMIN}",
        "delegation.token.secret.key": TOKEN_SECRET,
    }
    clients = {"security.protocol": protocol, **tls}
    if mode == "mtls":
        nodes["ssl.client.auth"] = "required"
        nodes["ssl.principal.mapping.rules"] = "RULE:^CN=([a-z]+),.*$/$1/,DEFAULT"
        clients |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(admin)}
    else:
        entry = (
            f'{_PLAIN} required username="node" password="{NODE_PASSWORD}" user_node="{NODE_PASSWORD}" '
            f'user_{ADMIN}="{PASSWORD}" user_{USER}="{PASSWORD}";'
        )
        nodes |= {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": entry,
            "listener.name.plaintext.plain.sasl.jaas.config": entry,
        }
        clients |= {
            "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": login_entry(ADMIN),
        }
    return Secured(
        mode=mode,
        certificates=certificates,
        authority=certificates.authority,
        admin_pem=admin,
        node_settings=nodes,
        client_settings=clients,
    )
