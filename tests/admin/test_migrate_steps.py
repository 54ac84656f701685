"""`quorate migrate status|run|finalize|rollback|rehearse`: on a real controller beside a real tree of Kafka 3.9, both
in this process; texts, documents and exit codes."""

import contextlib
import json
import pathlib
import random
import re
import threading
import uuid
from functools import partial

import attrs
import pytest
import structlog
import trio

from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.entry import main
from quorate.admin.ports import HeldPorts
from quorate.controller.config import ControllerConfig
from quorate.controller.main import run_controller
from quorate.metadata.addresses import Address
from quorate.metadata.client import open_client
from quorate.metadata.security.authorizer import STANDARD_AUTHORIZER
from quorate.metadata.wire.brokers import BrokerHeartbeatRequest, BrokerRegistrationRequest, Feature
from quorate.metadata.zookeeper.dump import dump_lines
from quorate.metadata.zookeeper.embedded import EmbeddedServer
from tests.admin import command
from tests.admin.command import Ran, check_golden
from tests.admin.test_documented_shapes import EXAMPLES, members
from tests.metadata.kafka_znodes.trees import ARTEFACTS, SECRET, healthy_and, real

pytestmark = pytest.mark.e2e

_UP_WITHIN_S = 30
_TRIES = 600


@attrs.define
class Place:
    """A quorum of one, formatted for a tree's cluster, and that tree."""

    port: int
    server: EmbeddedServer
    token: trio.lowlevel.TrioToken

    def call(self, request):
        async def ask():
            async with open_client((Address("127.0.0.1", self.port),)) as client:
                return await client.call_controller(request, 10_000)

        return trio.run(ask)

    epochs: dict[int, int] = attrs.Factory(dict)

    def register(self, *broker_ids, migrating=True):
        """Brokers, one after the other, and none is fenced; each leaves in order if it was there before."""
        for broker_id in broker_ids:
            if broker_id in self.epochs:
                self._leave(broker_id)
            request = BrokerRegistrationRequest(
                broker_id=broker_id,
                cluster_id=_cluster_id(),
                incarnation_id=uuid.uuid4(),
                features=(
                    Feature(name="metadata.version", min_supported_version=1, max_supported_version=30),
                ),
                log_dirs=(uuid.uuid4(),),
                is_migrating_zk_broker=migrating,
            )
            registered = self.call(request)
            assert registered.error_code.value == 0, registered
            beat = BrokerHeartbeatRequest(
                broker_id=broker_id, broker_epoch=registered.broker_epoch, current_metadata_offset=2**62
            )
            assert self.call(beat).error_code.value == 0
            self.epochs[broker_id] = registered.broker_epoch

    def _leave(self, broker_id):
        beat = BrokerHeartbeatRequest(
            broker_id=broker_id,
            broker_epoch=self.epochs[broker_id],
            current_metadata_offset=2**62,
            want_shut_down=True,
        )
        assert any(self.call(beat).should_shut_down for _ in range(_TRIES))

    def write(self, path, data):
        """Creates a znode, or deletes one (None), as somebody else does."""
        done = threading.Event()

        async def write():
            session = self.server.connect()
            if data is None:
                await session.delete(path)
            else:
                await session.create(path, data)
            done.set()

        self.token.run_sync_soon(trio.lowlevel.spawn_system_task, write)
        assert done.wait(10)


def _cluster_id():
    return json.loads(real("small")["/cluster/id"].data)["id"]


@contextlib.asynccontextmanager
async def _session(server):
    session = server.connect()
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def place(tmp_path):
    settings = {
        "zookeeper.metadata.migration.enable": "true",
        "zookeeper.connect": "embedded",
        "broker.session.timeout.ms": "3600000",
        "password.encoder.secret": SECRET,
        "authorizer.class.name": STANDARD_AUTHORIZER,
        "super.users": "User:ANONYMOUS",
    }
    with HeldPorts() as ports:
        wanted = Wanted(controllers=1, brokers=0, controller_settings=settings, cluster_id=_cluster_id())
        files = lay_out(tmp_path / "cluster", ports, random.Random(), wanted)
    server = EmbeddedServer(real("small"))
    started, made, stops = threading.Event(), [], []

    async def serve():
        stop = trio.Event()
        config, _ = ControllerConfig.load(files.controllers[0].config, {})
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(run_controller, config, stop=stop, zookeeper=partial(_session, server))
            )
            token = trio.lowlevel.current_trio_token()
            made.append(Place(files.controllers[0].port, server, token))
            stops.append(stop)
            started.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    with structlog.testing.capture_logs():
        thread.start()
        assert started.wait(_UP_WITHIN_S)
        yield made[0]
        made[0].token.run_sync_soon(stops[0].set)
        thread.join(_UP_WITHIN_S)
    assert not thread.is_alive()


@pytest.fixture
def quorate(capsys, monkeypatch, place):
    """Runs a command against the place."""
    monkeypatch.setenv("QUORATE_BOOTSTRAP", f"127.0.0.1:{place.port}")
    monkeypatch.delenv("QUORATE_ZOOKEEPER", raising=False)
    return partial(_run, capsys)


def _alone(*words):
    """Runs a command in a process of its own."""
    return command.quorate("migrate", *words)


def _run(capsys, *words):
    capsys.readouterr()
    code = main(("migrate", *words))
    ran = Ran(code, *capsys.readouterr())
    assert "Traceback" not in ran.err
    return ran


def _until(quorate, *states):
    """The status once it is in one of these states."""
    for _ in range(_TRIES):
        ran = quorate("status", "-o", "json")
        if ran.code == 0 and json.loads(ran.out)["state"] in states:
            return json.loads(ran.out)
    raise AssertionError(f"not in {states}: {ran}")


def _check(name, ran):
    """Without log lines, times and offsets."""
    err = "\n".join(line for line in ran.err.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line))
    text = f"{ran.out}---- exit code {ran.code}\n{err}\n"
    for pattern, shown in (
        (r"\(for \d+ s\)", "(for N s)"),
        (r"in \d+ ms", "in N ms"),
        (r"since \d+ ms", "since N ms"),
        (r"offset \d+", "offset N"),
        (r"127.0.0.1:\d+", "HOST:PORT"),
        (r"[0-9]+\.[0-9]+( s\))", r"N\1"),
        (r"(?m)^(copy|both sides|give back|compare)( +)[0-9]\.[0-9]+ +", r"\1\2N  "),
    ):
        text = re.sub(pattern, shown, text)
    check_golden(f"migrate-{name}", text, {str(ARTEFACTS): "ARTEFACTS"})


# --- waiting


def test_the_status_says_whom_it_waits_for(quorate, place):
    place.register(1, 3)
    _until(quorate, "WAIT_FOR_BROKERS")

    ran = quorate("status")

    assert ran.code == 0
    _check("status-waiting", ran)


def test_the_status_as_json_is_as_documented(quorate, place):
    place.register(1, 2, 3)
    assert quorate("run").code == 0

    document = json.loads(quorate("status", "-o", "json").out)

    assert _fixed(members(json.loads(EXAMPLES["migrate status"]))) == _fixed(members(document))


def _fixed(found):
    """Categories and types of records come with what there is; an error and a verdict may be null."""
    free = (".progress.", ".copied.by_type.", ".last_error.", ".verified.", ".blockers[].")
    return {one for one in found if not any(part in f"{one}." for part in free)} | {
        ".last_error",
        ".verified",
    }


# --- there


def test_run_copies_stays_until_both_sides_are_written_and_can_be_given_again(quorate, place):
    place.register(1, 2, 3)

    ran = quorate("run")

    assert ran.code == 0
    _check("run", attrs.evolve(ran, err=""))
    before = _until(quorate, "DUAL_WRITE")["log"]
    again = quorate("run", "-o", "json")
    assert again.code == 0
    assert json.loads(again.out)["log"]["attempt"] == before["attempt"]


def test_run_without_waiting_returns_at_once_and_a_dry_run_orders_nothing(quorate, place):
    """Broker 2 never registers."""
    place.register(1, 3)
    _until(quorate, "WAIT_FOR_BROKERS")

    assert quorate("run", "--dry-run").code == 0
    assert _until(quorate, "WAIT_FOR_BROKERS")["log"]["order"] == "WAIT"
    assert quorate("run", "--no-wait").code == 0
    assert _until(quorate, "WAIT_FOR_BROKERS")["log"]["order"] == "RUN"
    assert quorate("rollback", "--withdraw").code == 0
    assert _until(quorate, "WAIT_FOR_BROKERS")["log"]["order"] == "WAIT"
    assert quorate("run", "--force").code == 0
    assert _until(quorate, "DUAL_WRITE")["copied"]["records"] == 29


def test_what_cannot_be_copied_ends_run_with_1_and_once_it_is_mended_run_goes_on(quorate, place):
    place.register(1, 2, 3)
    _until(quorate, "WAIT_FOR_ORDER")
    place.write("/config/users/dave", b'{"version":1,"config":{"producer_byte_rate":"fast"}}')

    ran = quorate("run")

    assert ran.code == 1
    assert "BLOCKED BY" in ran.out
    assert _until(quorate, "WAIT_FOR_ORDER")["copied"] is None
    _check(
        "run-blocked",
        attrs.evolve(quorate("status"), err=ran.err[ran.err.index("Nothing was copied.") :].rstrip()),
    )
    place.write("/config/users/dave", None)
    assert quorate("run").code == 0


# --- the end


def test_finalize_is_refused_while_brokers_are_in_zookeeper_mode(quorate, place):
    place.register(1, 2, 3)
    assert quorate("run").code == 0

    dry, wet = quorate("finalize", "--dry-run"), quorate("finalize", "--yes")

    assert (dry.code, wet.code) == (1, 1)
    assert dry.err == wet.err
    _check("finalize-too-early", wet)
    assert _until(quorate, "DUAL_WRITE")["log"]["migration_state"] == "MIGRATION"


def test_finalize_ends_it_and_there_is_no_way_back(quorate, place):
    place.register(1, 2, 3)
    assert quorate("run").code == 0
    for broker_id in (1, 2, 3):
        place.write(f"/brokers/ids/{broker_id}", None)
        place.register(broker_id, migrating=False)

    dry = quorate("finalize", "--dry-run")
    assert dry.code == 0
    assert "Nothing stands in the way" in dry.out
    ran = quorate("finalize", "--yes")
    assert ran.code == 0
    _check("finalize", ran)
    assert quorate("finalize").code == 0, "nobody is asked for what is done already"
    back = quorate("rollback", "--yes")
    assert back.code == 1
    _check("rollback-too-late", back)


def test_what_cannot_be_undone_is_asked_for(quorate, place):
    """Nothing can be asked here: that is wrong usage, and nothing is done."""
    place.register(1, 2, 3)
    assert quorate("run").code == 0

    assert quorate("finalize").code == 2
    assert quorate("rollback").code == 2
    assert _until(quorate, "DUAL_WRITE")["log"]["order"] == "RUN"


# --- back


def test_rollback_before_the_copy(quorate, place):
    place.register(1, 2, 3)
    _until(quorate, "WAIT_FOR_ORDER")
    before = place.server.state.tree

    ran = quorate("rollback", "--yes")

    assert ran.code == 0
    _check("rollback-uncopied", attrs.evolve(ran, err=""))
    assert place.server.state.tree is before, "nothing was written"
    again = quorate("run")
    assert again.code == 1
    _check("run-after-rollback", again)


def test_rollback_waits_for_brokers_of_the_quorum_is_withdrawn_and_forced(quorate, place):
    place.register(1, 2, 3)
    assert quorate("run").code == 0
    place.register(1, migrating=False)

    assert quorate("rollback", "--yes", "--no-wait").code == 0
    _until(quorate, "ROLLBACK_WAIT_FOR_BROKERS")
    _check("rollback-waiting", quorate("status"))
    assert quorate("rollback", "--withdraw").code == 0
    _until(quorate, "DUAL_WRITE")
    ran = quorate("rollback", "--yes", "--force")
    assert ran.code == 0
    _check("rollback-forced", attrs.evolve(ran, err=""))


def test_a_cluster_without_the_flag_cannot_be_steered(cluster):
    ran = _alone("run", "--bootstrap", cluster["bootstrap_controllers"])

    assert ran.code == 1
    _check("run-elsewhere", ran)


# --- rehearse


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "server.properties"
    file.write_text(f"broker.id=1\npassword.encoder.secret={SECRET}\n")
    return str(file)


SMALL = str(ARTEFACTS / "small.jsonl")


def test_a_rehearsal_that_goes_well(config):
    before = pathlib.Path(SMALL).read_bytes()
    ran = _alone("rehearse", "--dump", SMALL, "--zookeeper-config", config)

    assert ran.code == 0
    _check("rehearse", ran)
    assert pathlib.Path(SMALL).read_bytes() == before


def test_a_rehearsal_without_the_secret_is_blocked():
    ran = _alone("rehearse", "--dump", SMALL)

    assert ran.code == 10
    _check("rehearse-blocked", ran)


def test_a_rehearsal_names_what_is_not_as_it_was(tmp_path):
    """A topic that somebody wanted deleted is deleted: by whoever is the controller."""
    tree = healthy_and({"/admin/delete_topics/orders": None})
    file = tmp_path / "tree.jsonl"
    file.write_text("".join(f"{line}\n" for line in dump_lines(tree)))

    ran = _alone("rehearse", "--dump", str(file))

    assert ran.code == 10
    _check("rehearse-changed", ran)


def test_a_rehearsal_that_takes_too_long_is_given_up(config):
    large = str(ARTEFACTS / "large.jsonl.gz")

    ran = _alone("rehearse", "--dump", large, "--zookeeper-config", config, "--within", "1")

    assert ran.code == 1
    assert "took more than 1 s" in ran.err


def test_the_rehearsal_as_json_is_as_documented(config):
    ran = _alone("rehearse", "--dump", SMALL, "--zookeeper-config", config, "-o", "json")

    document = json.loads(ran.out)
    assert document["went_well"] is True
    assert _fixed(members(json.loads(EXAMPLES["migrate rehearse"]))) == _fixed(members(document))
    assert document["verified"]["equal"] is True
