"""A cluster in which every connection shows a certificate: real clients, a stranger, and a certificate that changes."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.e2e.clients import librdkafka
from tests.e2e.conftest import WITHIN_S, needs, started
from tests.secured import Certificates, Secured, secured

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    return secured("mtls", tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def cluster(guard: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with started(tmp_path_factory.mktemp("mtls"), guard.wanted(controllers=3, brokers=2)) as found:
        yield found


def walk(
    cluster: dict[str, Any], guard: Secured, where: str, client: str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        f"tests.e2e.clients.{client}",
        cluster[where],
        f"{client}-{where}".replace("_", "-"),
    ]
    environment = os.environ | {"CLIENT_SECURITY": json.dumps(guard.for_clients())}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )


@pytest.mark.parametrize("where", ["bootstrap", "bootstrap_controllers"])
def test_a_client_with_a_certificate_administers_the_cluster(
    cluster: dict[str, Any], guard: Secured, where: str
) -> None:
    done = walk(cluster, guard, where, "confluent")

    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["gone"]


def test_a_stranger_sees_nothing(cluster: dict[str, Any], guard: Secured, tmp_path: pathlib.Path) -> None:
    """He has a certificate with an administrator's name; only nobody who is believed vouches for it."""
    needs("kcat")
    strangers = Certificates(tmp_path).issue("stranger.pem", "admin@example.org", common_name="admin")
    own = attrs.evolve(guard, admin_pem=strangers)
    options = [word for pair in librdkafka(own.for_clients()).items() for word in ("-X", "=".join(pair))]

    done = subprocess.run(
        ["kcat", "-L", "-J", "-b", cluster["bootstrap"], "-m", "3", *options],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert done.returncode != 0
    assert str(cluster["brokers"][0]["id"]) not in done.stdout


def test_new_certificates_of_running_nodes_are_believed_and_the_old_ones_gone(
    cluster: dict[str, Any], guard: Secured, tmp_path: pathlib.Path
) -> None:
    """The file that all nodes read is replaced by one of the same authority; no node is restarted."""
    node_file = pathlib.Path(guard.node_settings["ssl.keystore.location"])
    before = served_certificate(cluster["bootstrap"], guard)
    assert guard.certificates is not None
    node_file.write_bytes(
        guard.certificates.issue("again.pem", "localhost", "127.0.0.1", common_name="node").read_bytes()
    )

    after = before
    for _ in range(200):
        after = served_certificate(cluster["bootstrap"], guard)
        if after != before:
            break
    assert after != before
    assert walk(cluster, guard, "bootstrap", "kafka_python").returncode == 0


def served_certificate(bootstrap: str, guard: Secured) -> str:
    """As OpenSSL's own client is shown it."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", bootstrap.partition(",")[0], "-cert", str(guard.admin_pem)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    assert begin in done.stdout, done.stderr
    return done.stdout[done.stdout.index(begin) : done.stdout.index(end)]
