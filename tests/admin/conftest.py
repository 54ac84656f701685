"""A running cluster for the tests of commands that ask one, and ways to ask it."""

import json
import os

import pytest

from quorate.admin.cluster_files import Wanted
from quorate.admin.entry import main
from quorate.metadata.security.authorizer import STANDARD_AUTHORIZER
from tests.admin.command import Ran, dev_cluster

_TRIES = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The ready line of a running cluster, which has an authorizer and lets everybody do everything."""
    directory = tmp_path_factory.mktemp("dev") / "cluster"
    guarded = {"authorizer.class.name": STANDARD_AUTHORIZER, "super.users": "User:ANONYMOUS"}
    with dev_cluster(directory, Wanted(controller_settings=guarded, broker_settings=guarded)) as ready:
        yield ready


@pytest.fixture(params=["brokers", "controllers"])
def bootstrap(request, cluster):
    """Every command must work against either."""
    return cluster["bootstrap"] if request.param == "brokers" else cluster["bootstrap_controllers"]


@pytest.fixture
def run(capsys, monkeypatch):
    for name in [name for name in os.environ if name.startswith("QUORATE_")]:
        monkeypatch.delenv(name)

    def run_one(*words):
        code = main(words)
        return Ran(code, *capsys.readouterr())

    return run_one


@pytest.fixture
def ask(run, bootstrap):
    """Runs a command against the cluster; gives (exit code, its JSON document)."""

    def ask_one(line, *more):
        ran = run(*line.split(), *more, "--bootstrap", bootstrap, "--output", "json")
        assert "Traceback" not in ran.err
        return ran.code, json.loads(ran.out)

    return ask_one


@pytest.fixture
def settled(ask):
    """Asks until the document is as expected; gives it, and fails on what is last seen otherwise."""

    def ask_until(line, expected):
        for _ in range(_TRIES):
            code, document = ask(line)
            if code == 0 and expected(document):
                return document
        raise AssertionError(f"{line}: {code} {document}")

    return ask_until


@pytest.fixture
def topic(request):
    """A name that no other test uses."""
    return request.node.name.replace("[", "-").replace("]", "")


def test_the_ready_line_has_its_documented_shape(cluster):
    assert cluster.keys() == {"cluster_id", "bootstrap", "bootstrap_controllers", "controllers", "brokers"}
    assert [node["id"] for node in cluster["controllers"]] == [1, 2, 3]
    assert [node["id"] for node in cluster["brokers"]] == [101, 102]
    for node in (*cluster["controllers"], *cluster["brokers"]):
        assert node.keys() == {"id", "address", "pid", "config"}
        assert os.path.exists(node["config"])
    assert cluster["bootstrap"] == ",".join(node["address"] for node in cluster["brokers"])
