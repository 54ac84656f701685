"""What `--command-config FILE` may say: a client's side of a connection, in Kafka's words.

The same file can be given to Kafka's own tools, so their other keys are known and ignored. What would change how
safely we speak is not ignored but refused.
"""

import difflib
import os
import pathlib
from collections.abc import Iterator
from typing import Final

import attrs

from quorate.metadata import config_providers
from quorate.metadata.addresses import Address, parse_servers
from quorate.metadata.config_keys import ResourceType, is_sensitive
from quorate.metadata.security.login import ClientLogin
from quorate.metadata.security.settings import REFUSED, client_settings
from quorate.metadata.security.settings import USED as SECURITY_KEYS
from quorate.metadata.security.settings import ClientSettings as SecuritySettings
from quorate.metadata.settings import InvalidSettings, Problem, read

_MAX_TIMEOUT_MS: Final = 3_600_000

_IGNORED: Final = frozenset({
    "auto.include.jmx.reporter",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.providers",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
})  # fmt: skip
"""Keys of Kafka's admin client without meaning here: we ask once, with one deadline."""

_USED: Final = frozenset({
    "bootstrap.controllers",
    "bootstrap.servers",
    "client.id",
    "default.api.timeout.ms",
    "sasl.mechanism",
    "security.protocol",
})  # fmt: skip


_TLS_WITHOUT_MEANING: Final = frozenset({
    "ssl.keymanager.algorithm",
    "ssl.keystore.password",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "ssl.truststore.password",
})  # fmt: skip
_KNOWN: Final = _USED | _IGNORED | SECURITY_KEYS | _TLS_WITHOUT_MEANING


@attrs.frozen(kw_only=True)
class ClientSettings:
    """None: the file does not say."""

    servers: tuple[Address, ...] | None = None
    timeout_ms: int | None = None
    client_id: str = "quorate-admin"
    security: SecuritySettings = attrs.field(factory=SecuritySettings)

    def login(self) -> ClientLogin:
        """
        Raises:
            CannotSecure: the certificates it names cannot be used.
        """
        return ClientLogin(self.security)


def load_client_settings(path: pathlib.Path | None) -> ClientSettings:
    """Reads the file, if there is one.

    Raises:
        InvalidSettings: all that is wrong with it.
    """
    if path is None:
        return ClientSettings()
    raw = config_providers.resolved(read(path), os.environ)
    texts = {
        key: text.value.strip() for key, text in raw.texts.items() if not key.startswith("config.providers")
    }
    problems = {one.key: one for one in _problems(str(path), texts)}

    def refuse(key: str, why: str) -> None:
        value = _shown(key, texts[key]) if key in texts else None
        problems.setdefault(key, Problem(origin=str(path), key=key, value=value, why=why))

    way = client_settings(texts, refuse)
    if problems:
        raise InvalidSettings(problems.values())
    servers = texts.get("bootstrap.servers") or texts.get("bootstrap.controllers")
    timeout = texts.get("default.api.timeout.ms")
    return ClientSettings(
        servers=None if servers is None else parse_servers(servers.split(",")),
        timeout_ms=None if timeout is None else int(timeout),
        client_id=texts.get("client.id") or "quorate-admin",
        security=way,
    )


def _problems(origin: str, texts: dict[str, str]) -> Iterator[Problem]:
    for key, value in sorted(texts.items()):
        why = _why_not(key, value)
        if why is not None:
            yield Problem(origin=origin, key=key, value=_shown(key, value), why=why)


def _shown(key: str, value: str) -> str:
    """Nobody reads a password over somebody's shoulder because another key was wrong."""
    may_be_secret = key.startswith(("sasl.", "ssl.")) and is_sensitive(ResourceType.BROKER, key)
    return "[hidden]" if may_be_secret else value


def _why_not(key: str, value: str) -> str | None:
    match key:
        case "bootstrap.servers" | "bootstrap.controllers":
            try:
                parse_servers(value.split(","))
            except ValueError as error:
                return f"{error}."
        case "default.api.timeout.ms":
            if not value.isdecimal() or not 0 < int(value) <= _MAX_TIMEOUT_MS:
                return f"Allowed: milliseconds, a whole number from 1 to {_MAX_TIMEOUT_MS}."
        case _ if key in REFUSED:
            return REFUSED[key]
        case _ if key not in _KNOWN and not key.startswith(
            ("sasl.oauthbearer.", "sasl.kerberos.", "sasl.login.")
        ):
            close = difflib.get_close_matches(key, _KNOWN, n=1, cutoff=0.75)
            return "There is no such key." + (f" Did you mean {close[0]}?" if close else "")
    return None
