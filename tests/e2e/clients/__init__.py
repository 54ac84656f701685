"""The same walk with each client library: `python -m tests.e2e.clients.NAME BOOTSTRAP TOPIC`; prints one JSON object.

Each in a process of its own: what a library does with threads and sockets at exit is its own business.
"""

import json
import os
import ssl
import time
from collections.abc import Callable
from typing import Any

WITHIN_S = 30.0


def eventually(look: Callable[[], object], wanted: object) -> object:
    """What is seen once it is as wanted, or after a long time: a broker's answer may be older than another broker's."""
    end = time.monotonic() + WITHIN_S
    while (seen := look()) != wanted and time.monotonic() < end:
        pass
    return seen


def given() -> dict[str, str]:
    """How the cluster wants to be spoken to: `secured.Secured.for_clients`."""
    return dict(json.loads(os.environ.get("CLIENT_SECURITY", '{"mode": "plaintext"}')))


def librdkafka(security: dict[str, str]) -> dict[str, str]:
    """In librdkafka's words, which kcat takes too."""
    if security["mode"] == "plaintext":
        return {}
    authority = {"ssl.ca.location": security["authority"]}
    if security["mode"] == "mtls":
        own = {
            "ssl.certificate.location": security["certificate"],
            "ssl.key.location": security["certificate"],
        }
        return {"security.protocol": "ssl", **authority, **own}
    return {
        "security.protocol": "sasl_ssl",
        **authority,
        "sasl.mechanism": "PLAIN",
        "sasl.username": security["user"],
        "sasl.password": security["password"],
    }


def in_python(security: dict[str, str]) -> dict[str, Any]:
    """In the words of kafka-python and aiokafka."""
    if security["mode"] == "plaintext":
        return {}
    context = ssl.create_default_context(cafile=security["authority"])
    if security["mode"] == "mtls":
        context.load_cert_chain(security["certificate"])
        return {"security_protocol": "SSL", "ssl_context": context}
    return {
        "security_protocol": "SASL_SSL",
        "ssl_context": context,
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": security["user"],
        "sasl_plain_password": security["password"],
    }
