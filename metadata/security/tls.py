"""TLS contexts of what the configuration says, read from PEM files and read again when these change (shell).

Certificates live shorter than nodes. Before a connection is secured the files are looked at, at most once a second;
if one has changed a new context is made. One that cannot be read does not replace the one that works: the log says so,
and the next change is tried again.
"""

import os
import pathlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import trio

from quorate.metadata.security.settings import Pem, TlsSettings

_LOOK_EVERY_S: Final = 1.0
_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {
    "none": ssl.CERT_NONE,
    "requested": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

_log = structlog.get_logger("tls")


class CannotSecure(Exception):
    """Certificates or keys that cannot be used; the text says which file, why and what to do."""


class TlsContext:
    """The context for the next connection."""

    def __init__(self, settings: TlsSettings, *, serves: bool) -> None:
        """
        Raises:
            CannotSecure: it cannot be made of these files.
        """
        self._settings = settings
        self._serves = serves
        self._files = [
            pem.path
            for pem in (settings.identity, settings.trusted)
            if pem is not None and pem.path is not None
        ]
        self._seen = self._state()
        self._looked_at = float("-inf")
        self._context = make_context(settings, serves=serves)

    def current(self) -> ssl.SSLContext:
        """Made of the files as they are, or, if these will not do, as they last did."""
        now = trio.current_time()
        if self._files and now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            state = self._state()
            if state != self._seen:
                self._seen = state
                self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            self._context = make_context(self._settings, serves=self._serves)
        except CannotSecure as error:
            _log.error("changed certificates cannot be used; the former ones stay", why=str(error))
        else:
            _log.info("certificates were read again", files=[str(file) for file in self._files])

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_file_state(file) for file in self._files]


def _file_state(file: pathlib.Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def make_context(settings: TlsSettings, *, serves: bool) -> ssl.SSLContext:
    """One side's context.

    Raises:
        CannotSecure: it cannot be made of these files.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    chosen = [_VERSIONS[version] for version in settings.versions]
    context.minimum_version, context.maximum_version = min(chosen), max(chosen)
    if serves:
        context.verify_mode = _CLIENT_AUTH[settings.client_auth]
    else:
        context.check_hostname = settings.check_host
    if settings.identity is not None:
        _load_identity(context, settings.identity)
    if settings.trusted is not None:
        _load_trusted(context, settings.trusted)
    elif not serves:
        context.load_default_certs()
    return context


def _load_identity(context: ssl.SSLContext, pem: Pem) -> None:
    def ask() -> str:
        raise CannotSecure(
            f"The key in {_where(pem)} is encrypted, and there is no password for it\n"
            "  what to do: set ssl.key.password"
        )

    with _as_file(pem) as path, _explained(pem, "a certificate with its key"):
        context.load_cert_chain(path, password=ask if pem.password is None else pem.password)


def _load_trusted(context: ssl.SSLContext, pem: Pem) -> None:
    with _explained(pem, "certificates of authorities"):
        if pem.path is not None:
            context.load_verify_locations(cafile=pem.path)
        else:
            context.load_verify_locations(cadata=pem.text)


@contextmanager
def _as_file(pem: Pem) -> Iterator[str | pathlib.Path]:
    """OpenSSL reads keys from files only. What stands in the configuration is shown to it in memory."""
    if pem.path is not None:
        yield pem.path
        return
    descriptor = os.memfd_create("quorate-pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, (pem.text or "").encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@contextmanager
def _explained(pem: Pem, what: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise CannotSecure(
            f"There are no {what} to be read from {_where(pem)}\n"
            f"  why: {reason.replace('_', ' ').lower()}\n"
            "  what to do: write PEM into it: -----BEGIN CERTIFICATE-----, the node's own first, then those that "
            "vouch for it; and for a key -----BEGIN PRIVATE KEY----- in the same file"
        ) from None
    except OSError as error:
        raise CannotSecure(
            f"Cannot read {_where(pem)}\n"
            f"  why: {error.strerror}\n"
            "  what to do: see that the file is there and that this user may read it, or change "
            "ssl.keystore.location / ssl.truststore.location"
        ) from None


def _where(pem: Pem) -> str:
    return "the configuration" if pem.path is None else str(pem.path)


def ended_without_a_word(error: BaseException) -> bool:
    """Whether the other side just hung up, rather than say what it does not like."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    return cause is None or cause.reason == "UNEXPECTED_EOF_WHILE_READING"


def explain_handshake(error: BaseException) -> str:
    """What went wrong while a connection was being secured, for the log and for people."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    if cause is None:
        return "the other side ended the connection while it was being secured"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {cause.verify_message.rstrip('.')}"
    return _REASONS.get(cause.reason or "", (cause.reason or "TLS failed").replace("_", " ").lower())


_REASONS: Final = {
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "HTTP_REQUEST": "the other side speaks HTTP without TLS",
    "RECORD_LAYER_FAILURE": "the other side does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "the other side does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the other side ended the connection while it was being secured",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate, and one is required (ssl.client.auth)",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not believe our certificate: it knows no authority that vouches "
    "for it",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side does not believe our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other side says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the other side does not believe our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate from us (ssl.keystore.location)",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side refused: it may want a certificate from us",
    "NO_SHARED_CIPHER": "both sides have no cipher in common",
    "UNSUPPORTED_PROTOCOL": "both sides have no version of TLS in common (ssl.enabled.protocols)",
}
