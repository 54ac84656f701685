"""The file of a broker in ZooKeeper mode under configs/: it loads, and tells the truth about defaults."""

import pathlib
import re

import attrs

from quorate.admin.zookeeper_mode import load_zookeeper_node
from quorate.metadata.settings import read
from quorate.metadata.zookeeper.settings import is_zookeeper_mode, split_connect

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FILE = CONFIGS / "zookeeper" / "broker-1.toml"
COMMENTED_KEY = re.compile(r"^#(?=[a-z][a-z.]* = )", re.MULTILINE)
EXAMPLES = {
    "rack",
    "zookeeper",
    "bootstrap_servers",
    "bootstrap_endpoints",
    "controller_listener_names",
    "metadata_log_dir",
    "password_encoder_secret",
    "static",
}
"""Fields whose commented line is an example, there being no default."""


def test_it_loads_without_a_warning() -> None:
    node, warnings = load_zookeeper_node(FILE, {})

    assert warnings == ()
    assert is_zookeeper_mode(read(FILE))
    assert not is_zookeeper_mode(read(CONFIGS / "broker-1.toml"))
    assert (node.broker.node_id, node.controller.node_id) == (1, 1)
    assert node.broker.zookeeper.hosts == "127.0.0.1:2181/kafka"
    assert node.broker.zookeeper.session_timeout_ms == 18_000
    assert node.broker.inter_broker_listener == "PLAINTEXT"


def test_a_commented_key_shows_its_default_or_an_example(tmp_path: pathlib.Path) -> None:
    text = COMMENTED_KEY.sub("", FILE.read_text())
    without_quorum = re.sub(r"^controller\..*\n", "", text, flags=re.MULTILINE)
    spelled_out = tmp_path / "all.toml"
    spelled_out.write_text(without_quorum)
    given, _ = load_zookeeper_node(FILE, {})
    said, warnings = load_zookeeper_node(spelled_out, {})

    assert warnings == ()
    for one, other in ((given.broker, said.broker), (given.controller, said.controller)):
        different = {
            field.name
            for field in attrs.fields(type(one))
            if getattr(one, field.name) != getattr(other, field.name)
        }
        assert different <= EXAMPLES


def test_with_its_migration_keys_it_registers_with_a_quorum(tmp_path: pathlib.Path) -> None:
    text = COMMENTED_KEY.sub("", FILE.read_text()).replace("enable = false", "enable = true", 2)
    migrating = tmp_path / "migrating.toml"
    migrating.write_text(
        text.replace("zookeeper.ssl.client.enable = true", "zookeeper.ssl.client.enable = false")
    )
    node, _ = load_zookeeper_node(migrating, {})

    assert node.broker.migrates
    assert node.broker.metadata_version == 21
    assert str(node.broker.bootstrap_servers[0]) == "127.0.0.1:9093"


def test_hosts_and_chroot_are_told_apart() -> None:
    assert split_connect("a:2181,b:2181/kafka/one/") == ("a:2181,b:2181", "/kafka/one")
    assert split_connect("a:2181") == ("a:2181", "")
