"""`storage format`: what it leaves for the cluster's first moment."""

import hmac

import pytest

from quorate.metadata.image.security import SCRAM_SHA_256, SCRAM_SHA_512
from quorate.metadata.log.directory import open_directory
from quorate.metadata.log.segments import LogConfig
from quorate.metadata.records import UserScramCredentialRecord
from quorate.metadata.security.mechanisms import scram_credential

_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "controller.toml"
    file.write_text(
        f"""
        "node.id" = "1"
        "process.roles" = "controller"
        "controller.listener.names" = "CONTROLLER"
        "listeners" = "CONTROLLER://127.0.0.1:9093"
        "controller.quorum.bootstrap.servers" = "127.0.0.1:9093"
        "metadata.log.dir" = "{tmp_path / "data"}"
        """
    )
    return file


def _records(path):
    found = open_directory(path, node_id=1, is_controller=True, log_config=LogConfig())
    found.close()
    return found.bootstrap


def test_the_first_users(run, config, tmp_path):
    first = "SCRAM-SHA-256=[name=alice,password=a,b]"
    second = "SCRAM-SHA-512=[name=alice,iterations=8192,salt=c29tZSBzYWx0IG9mIG1pbmU=,password=c]"
    words = ["storage", "format", str(config), "--cluster-id", _CLUSTER, "--standalone"]
    ran = run(*words, "--add-scram", first, "-S", second)
    assert ran.code == 0, ran.err

    features, *users = _records(tmp_path / "data")
    assert features.name == "metadata.version"
    assert [(one.name, one.mechanism, one.iterations) for one in users] == [
        ("alice", SCRAM_SHA_256, 4096),
        ("alice", SCRAM_SHA_512, 8192),
    ]
    for one, password in zip(users, ("a,b", "c"), strict=True):
        assert isinstance(one, UserScramCredentialRecord)
        kept = scram_credential(one.mechanism, password, one.salt, one.iterations)
        assert hmac.compare_digest(kept.stored_key, one.stored_key)
        assert hmac.compare_digest(kept.server_key, one.server_key)
    assert users[1].salt == b"some salt of mine"
    assert len(users[0].salt) >= 16


@pytest.mark.parametrize(
    "texts",
    [
        ["SCRAM-SHA-256=[password=hidden]"],
        ["SCRAM-SHA-256=[name=,password=hidden]"],
        ["SCRAM-SHA-256=[name=alice,password=hidden]"] * 2,
    ],
)
def test_what_is_no_user_formats_nothing(run, config, tmp_path, texts):
    options = [word for text in texts for word in ("--add-scram", text)]
    ran = run("storage", "format", str(config), "--cluster-id", _CLUSTER, "--standalone", *options)

    assert ran.code == 2
    assert "hidden" not in ran.err
    assert not (tmp_path / "data").exists()
