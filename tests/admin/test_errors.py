"""Bad input, as a new user would bring it: each ends with its exit code and its reviewed text, without a stack trace.

Nodes are started as processes of their own, as are some other commands, one for each exit code at least; the rest
calls `entry.main` here, which is all that such a process does. Golden files hold the command line, the exit code and
what was said; what differs from run to run (directories, ports, process ids) is replaced.
"""

import contextlib
import io
import os
import random
import socket
import subprocess
import sys
import threading

import pytest

from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.entry import main
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import DirectoryLock
from tests.admin.command import Ran, check_golden, quorate

_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
_SILENT_PORT = 1
"""Nobody listens there: it is a privileged port that no service uses."""


def _controller(path, **changed):
    """A controller's configuration file."""
    values = {
        "node.id": "1",
        "process.roles": "controller",
        "controller.listener.names": "CONTROLLER",
        "listeners": "CONTROLLER://127.0.0.1:0",
        "advertised.listeners": "CONTROLLER://127.0.0.1:9093",
        "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
        "metadata.log.dir": str(path / "data"),
    } | {key.replace("_", "."): value for key, value in changed.items()}
    file = path / "controller.toml"
    file.write_text("".join(f'"{key}" = "{value}"\n' for key, value in values.items() if value is not None))
    return str(file)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line: `controller start` and `broker start` in a process, anything else in this one."""
    for name in [name for name in os.environ if name.startswith("QUORATE_")]:
        monkeypatch.delenv(name)

    def run_one(*words):
        if words[1:2] == ("start",):
            return quorate(*words)
        code = main(words)
        return Ran(code, *capsys.readouterr())

    return run_one


@pytest.fixture
def check(run):
    """Runs it, compares it with its golden file, and demands what holds for every error."""

    def check_one(name, *words, replaced=None, shown=None):
        ran = run(*words)
        text = f"$ quorate {' '.join(shown or words)}\nexit code {ran.code}\n{ran.err}"
        if ran.out:
            text += f"on stdout:\n{ran.out}"
        check_golden(f"error-{name}", text, replaced)
        assert ran.code in (1, 2, 3, 10)
        assert "Traceback" not in ran.err + ran.out
        return ran

    return check_one


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("misspelt-group", "topic list"),
        ("misspelt-command", "topics creat"),
        ("misspelt-option", "topics create --topics orders"),
        ("missing-option", "storage format controller.toml"),
        ("missing-argument", "controller start"),
        ("no-cluster", "topics list"),
        ("bootstrap-without-port", "topics list --bootstrap localhost"),
        ("timeout", "topics list --bootstrap localhost:9092 --timeout 0"),
        ("no-topic", "topics create --bootstrap localhost:9092"),
        ("bad-assignment", "topics create --topic a --replica-assignment 1:x --bootstrap localhost:9092"),
        (
            "assignment-and-partitions",
            "topics create --topic a --partitions 3 --replica-assignment 1:2 --bootstrap localhost:9092",
        ),
        ("bad-topic-config", "topics create --topic a --config retention.ms --bootstrap localhost:9092"),
        ("nothing-to-alter", "topics alter --topic a --bootstrap localhost:9092"),
        ("no-entity", "configs describe --bootstrap localhost:9092"),
        ("unknown-entity-type", "configs describe --entity-type topic --bootstrap localhost:9092"),
        ("no-change", "configs alter --topic a --bootstrap localhost:9092"),
        (
            "change-twice",
            "configs alter --topic a --add-config x=1 --delete-config x --bootstrap localhost:9092",
        ),
        ("acl-nobody", "acls add --topic a --bootstrap localhost:9092"),
        ("acl-nothing", "acls add --allow-principal User:a --bootstrap localhost:9092"),
        ("acl-no-principal", "acls add --topic a --allow-principal alice --bootstrap localhost:9092"),
        (
            "acl-no-operation",
            "acls add --topic a --allow-principal User:a --operation Reed --bootstrap localhost:9092",
        ),
        (
            "acl-pattern",
            "acls add --topic a --allow-principal User:a --resource-pattern-type match --bootstrap localhost:9092",
        ),
        ("acl-bad-pattern", "acls list --topic a --resource-pattern-type regex --bootstrap localhost:9092"),
        ("acl-host-alone", "acls add --topic a --deny-host 10.0.0.1 --bootstrap localhost:9092"),
        (
            "acl-consumer-without-group",
            "acls add --consumer --topic a --allow-principal User:a --bootstrap localhost:9092",
        ),
        (
            "acl-producer-of-a-group",
            "acls add --producer --topic a --group g --allow-principal User:a --bootstrap localhost:9092",
        ),
        ("acl-remove-unasked", "acls remove --topic a --bootstrap localhost:9092"),
        ("acl-remove-operation", "acls remove --topic a --operation Read --yes --bootstrap localhost:9092"),
        ("quota-nothing", "quotas alter --add-config producer_byte_rate=1 --bootstrap localhost:9092"),
        (
            "quota-no-number",
            "quotas alter --user a --add-config producer_byte_rate=many --bootstrap localhost:9092",
        ),
        ("quota-ip-and-user", "quotas describe --user a --ip 10.0.0.1 --bootstrap localhost:9092"),
        ("user-no-change", "users alter --user a --bootstrap localhost:9092"),
        ("user-no-password", "users alter --user a --add-config SCRAM-SHA-256=[] --bootstrap localhost:9092"),
        ("user-no-mechanism", "users alter --user a --delete-config SCRAM-SHA-1 --bootstrap localhost:9092"),
        (
            "user-iterations",
            "users alter --user a --add-config SCRAM-SHA-512=[iterations=9,password=b] --bootstrap localhost:9092",
        ),
        ("token-principal", "tokens create --owner-principal alice --bootstrap localhost:9092"),
        ("token-hmac", "tokens renew --hmac abc --bootstrap localhost:9092"),
        ("bad-topic-id", "topics describe --topic-id orders --bootstrap localhost:9092"),
        ("unreachable", "topics list --bootstrap 127.0.0.1:1 --timeout 0.3"),
        ("unreachable-json", "topics list --bootstrap 127.0.0.1:1 --timeout 0.3 --output json"),
        ("status-unreachable", "quorum status --bootstrap 127.0.0.1:1 --timeout 0.3"),
        ("status-unreachable-json", "quorum status --bootstrap 127.0.0.1:1 --timeout 0.3 --output json"),
        ("features-nothing", "features upgrade --bootstrap localhost:9092"),
        (
            "features-twice",
            "features upgrade --feature metadata.version=22 --metadata 4.0 --bootstrap localhost:9092",
        ),
        ("features-no-level", "features upgrade --feature group.version=new --bootstrap localhost:9092"),
        ("features-no-release", "features downgrade --metadata 9.9 --bootstrap localhost:9092"),
        ("features-disable-nothing", "features disable --bootstrap localhost:9092"),
        ("unknown-record-type", "log dump . --type topics_record"),
    ],
)
def test_wrong_words(check, name, line):
    check(name, *line.split())


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--partitions", "topics create --topic orders --partitions many"),
        ("--partitions", "topics create --topic orders --partitions 0"),
        ("--output", "topics list --bootstrap localhost:9092 --output xml"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_its_option(run, option, line):
    """The words are the parser's own."""
    ran = run(*line.split())

    assert ran.code == 2
    assert f"Invalid value for '{option}'" in ran.err


def test_the_command_without_words_is_its_help():
    ran = quorate()

    assert ran.code == 2
    assert "Commands:" in ran.err


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("format-no-voters", f"--cluster-id {_CLUSTER}"),
        ("format-bad-cluster-id", "--cluster-id my-cluster --standalone"),
        ("format-two-ways", f"--cluster-id {_CLUSTER} --standalone --no-initial-controllers"),
        ("format-bad-voters", f"--cluster-id {_CLUSTER} --initial-controllers 1@localhost:9093"),
        (
            "format-not-among-voters",
            f"--cluster-id {_CLUSTER} --initial-controllers 2@localhost:9093:MkU3OEVBNTcwNTJENDM2Qg",
        ),
        ("format-unknown-release", f"--cluster-id {_CLUSTER} --standalone --release-version 9.9"),
        ("format-not-offered", f"--cluster-id {_CLUSTER} --standalone --release-version 3.8"),
        ("format-unknown-feature", f"--cluster-id {_CLUSTER} --standalone --feature something.version=1"),
        (
            "format-feature-too-new",
            f"--cluster-id {_CLUSTER} --standalone --feature eligible.leader.replicas.version=1",
        ),
        ("format-kraft-version-0", f"--cluster-id {_CLUSTER} --standalone --feature kraft.version=0"),
    ],
)
def test_formatting_that_is_refused_changes_nothing(check, name, options, tmp_path):
    config = _controller(tmp_path)

    check(name, "storage", "format", config, *options.split(), replaced={str(tmp_path): "DIR"})

    assert not (tmp_path / "data").exists()


def test_formatting_again(check, run, tmp_path):
    config = _controller(tmp_path)
    words = ["storage", "format", config, "--cluster-id", _CLUSTER, "--standalone"]
    assert run(*words).code == 0
    meta = (tmp_path / "data" / "meta.properties").read_bytes()

    check("format-again", *words, replaced={str(tmp_path): "DIR"})

    assert run(*words, "--ignore-formatted").code == 0
    assert (tmp_path / "data" / "meta.properties").read_bytes() == meta


def _formatted(tmp_path, **changed):
    config = _controller(tmp_path, **changed)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["storage", "format", config, "--cluster-id", _CLUSTER, "--standalone"]) == 0
    return config


def test_starting_without_a_file(check, tmp_path):
    check("start-no-file", "controller", "start", str(tmp_path / "no.toml"), replaced={str(tmp_path): "DIR"})


def test_starting_with_misspelt_keys(check, tmp_path):
    config = _controller(tmp_path, **{"node_id": None, "nod.id": "1", "metadata_log_dri": "x"})

    check("start-misspelt-keys", "controller", "start", config, replaced={str(tmp_path): "DIR"})


def test_starting_with_the_other_roles_file(check, tmp_path):
    check("start-other-role", "broker", "start", _controller(tmp_path), replaced={str(tmp_path): "DIR"})


def test_starting_unformatted(check, tmp_path):
    check("start-unformatted", "controller", "start", _controller(tmp_path), replaced={str(tmp_path): "DIR"})


def test_starting_half_formatted(check, tmp_path):
    config = _formatted(tmp_path)
    (tmp_path / "data" / "meta.properties").unlink()

    check("start-half-formatted", "controller", "start", config, replaced={str(tmp_path): "DIR"})


def test_starting_on_another_nodes_directory(check, tmp_path):
    _formatted(tmp_path)
    config = _controller(tmp_path, node_id="2")

    check("start-other-node", "controller", "start", config, replaced={str(tmp_path): "DIR"})


def test_starting_on_kafkas_directory(check, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=abc\nnode.id=1\n")

    check("start-kafka", "controller", "start", _controller(tmp_path), replaced={str(tmp_path): "DIR"})


def test_starting_twice_on_one_directory(check, tmp_path):
    config = _formatted(tmp_path)
    lock = DirectoryLock.take(RealFiles(), tmp_path / "data")
    try:
        pid = str(os.getpid())
        check(
            "start-locked",
            "controller",
            "start",
            config,
            replaced={str(tmp_path): "DIR", f"process {pid}": "process PID"},
        )
    finally:
        lock.release()


def test_starting_on_an_occupied_port(check, tmp_path):
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        config = _formatted(tmp_path, listeners=f"CONTROLLER://127.0.0.1:{port}")

        check(
            "start-occupied-port",
            "controller",
            "start",
            config,
            replaced={str(tmp_path): "DIR", f":{port}": ":PORT"},
        )


def test_starting_with_an_occupied_port_for_metrics(check, tmp_path):
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        config = _formatted(tmp_path, **{"quorate.metrics.listener": f"{LOOPBACK}:{port}"})

        check(
            "start-occupied-metrics-port",
            "controller",
            "start",
            config,
            replaced={str(tmp_path): "DIR", f":{port}": ":PORT"},
        )


def test_starting_with_a_damaged_vote(check, tmp_path):
    config = _formatted(tmp_path)
    state = tmp_path / "data" / "quorum-state"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 0xFF
    state.write_bytes(content)

    check("start-damaged-vote", "controller", "start", config, replaced={str(tmp_path): "DIR"})


def test_starting_with_a_damaged_snapshot(tmp_path):
    config = _formatted(tmp_path)
    snapshot = tmp_path / "data" / "00000000000000000000-0000000000.checkpoint"
    content = bytearray(snapshot.read_bytes())
    content[-3] ^= 0x01
    snapshot.write_bytes(content)

    ran = quorate("controller", "start", config)
    verified = quorate("log", "verify", str(tmp_path / "data"))

    assert (ran.code, verified.code) == (1, 1)
    for said in (ran.err, verified.err):
        assert "Snapshot 0@0 is damaged" in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dump-nothing", ["log", "dump", "DIR/nowhere"]),
        ("dump-no-log", ["log", "dump", "DIR/other"]),
        ("verify-no-log", ["log", "verify", "DIR/other"]),
        ("image-no-log", ["image", "ls", "--directory", "DIR/other/notes.txt"]),
        ("image-no-place", ["image", "ls", "/topics/byNme", "--directory", "DIR/data"]),
        ("image-no-offset", ["image", "ls", "--offset", "7", "--directory", "DIR/data"]),
    ],
)
def test_looking_at_what_is_not_there(check, name, words, tmp_path):
    _formatted(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()

    check(
        name,
        *(word.replace("DIR", str(tmp_path)) for word in words),
        replaced={str(tmp_path): "DIR"},
        shown=words,
    )


def test_a_command_config_that_cannot_be_used(check, tmp_path):
    file = tmp_path / "client.properties"
    file.write_text("bootstrap.server=a:1\nsasl.mechanism=PLAIN\ndefault.api.timeout.ms=soon\n")

    check("command-config", "topics", "list", "--command-config", str(file), replaced={str(tmp_path): "DIR"})


@contextlib.contextmanager
def _server(answer):
    """Something that is no Kafka node: answers every connection with these bytes, or with silence."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve():
            held = []
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    for one in held:
                        one.close()
                    return
                held.append(peer)
                if answer:
                    peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("name", "answer"),
    [("not-kafka", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("silent-server", b"")],
)
def test_something_else_listens_there(check, name, answer):
    with _server(answer) as port:
        check(
            name,
            "topics",
            "list",
            "--bootstrap",
            f"{LOOPBACK}:{port}",
            "--timeout",
            "0.5",
            replaced={f":{port}": ":PORT"},
        )


@pytest.fixture
def cluster_directory(tmp_path):
    """A cluster that was made, and does not run."""
    directory = tmp_path / "dev"
    with HeldPorts() as ports:
        return lay_out(directory, ports, random.Random(7), Wanted(controllers=1, brokers=1))


def test_dev_in_a_directory_that_is_in_use(check, tmp_path):
    (tmp_path / "thesis.tex").touch()

    check("dev-in-use", "dev", "--dir", str(tmp_path), replaced={str(tmp_path): "DIR"})


def test_dev_with_another_number_of_controllers(check, cluster_directory):
    directory = str(cluster_directory.directory)

    check("dev-controllers", "dev", "--dir", directory, "--controllers", "3", replaced={directory: "DIR"})


def test_dev_beside_a_running_one(check, cluster_directory):
    directory = str(cluster_directory.directory)
    port = cluster_directory.controllers[0].port
    with socket.create_server((LOOPBACK, port)):
        check("dev-running", "dev", "--dir", directory, replaced={directory: "DIR", f":{port}": ":PORT"})


def test_debug_shows_the_stack_wherever_it_stands():
    for words in (["--debug", "topics", "list"], ["topics", "list", "--debug"]):
        ran = quorate(*words)
        assert ran.code == 2
        assert "Traceback" in ran.err


def test_output_that_nobody_reads_any_more_is_no_error_text(tmp_path):
    _formatted(tmp_path)
    snapshot = tmp_path / "data" / "00000000000000000000-0000000000.checkpoint"
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "quorate.admin", "log", "dump", str(snapshot)],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)

    assert ran.stderr == b""
    assert ran.returncode == 1


def test_a_process_ends_with_the_code_that_main_gives():
    assert quorate("storage", "random-uuid").code == 0
    assert quorate("log", "dump", "/nowhere").code == 1
    assert quorate("topics", "list").code == 2
    assert quorate("topics", "list", "--bootstrap", f"{LOOPBACK}:1", "--timeout", "0.2").code == 3
