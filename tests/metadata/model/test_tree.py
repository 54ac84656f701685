"""The image as a tree: the paths of kafka-metadata-shell, plain JSON, no secrets."""

import json
import uuid

import pytest

from quorate.metadata.ids import uuid_to_text
from quorate.metadata.image import MetadataImage
from quorate.metadata.image.tree import Directory, Leaf, NoSuchPath, browse, cat, find, ls, matching, tree
from quorate.metadata.records import ClientQuotaRecord, ConfigRecord, QuotaEntity, UserScramCredentialRecord
from tests.metadata.model.building import A, broker, config, image_of, partition, topic
from tests.metadata.model.test_writer import everything

A_TEXT = uuid_to_text(A)


def root(image: MetadataImage | None = None) -> Directory:
    return browse(image or image_of(everything()), lambda kind, key: key == "x")


def test_the_root_lists_the_parts() -> None:
    assert ls(root()) == [
        "provenance",
        "features/",
        "cluster/",
        "topics/",
        "configs/",
        "clientQuotas/",
        "producerIds/",
        "acls/",
        "scram/",
        "delegationToken/",
        "migration",
        "migrationOrder",
        "recoveries/",
    ]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/features", ["metadataVersion", "finalized_a.feature", "finalized_group.version"]),
        ("/cluster", ["brokers/", "controllers/"]),
        ("/cluster/brokers/", ["2", "300"]),
        ("cluster/controllers", ["3000"]),
        ("/topics", ["byName/", "byId/"]),
        ("/topics/byName", ["a/", "b/"]),
        ("/topics/byName/b", ["id", "name", "0", "1"]),
        (f"/topics/byId/{A_TEXT}", ["id", "name"]),
        ("/configs", ["TOPIC:a/", "BROKER:/"]),
        ("/configs/TOPIC:a", ["x", "y"]),
        ("/clientQuotas", ["user()/", "user(a)/", "user(z)/"]),
        ("/acls/byId", ["AAAAAAAAAAAAAAAAAAAABQ", "AAAAAAAAAAAAAAAAAAAACQ"]),
        ("/scram", ["SCRAM-SHA-256/", "SCRAM-SHA-512/"]),
        ("/scram/SCRAM-SHA-256", ["u"]),
        ("/scram/SCRAM-SHA-512", []),
        ("/delegationToken", ["t"]),
        ("/migration", []),
        ("/topics/byName/b/0", []),
    ],
)
def test_what_is_where(path: str, names: list[str]) -> None:
    assert ls(find(root(), path)) == names


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/provenance", {"offset": 10, "epoch": 2, "appendTimeMs": 1_700_000_000_000}),
        ("/features/metadataVersion", "25 (4.0-IV3)"),
        ("/features/finalized_group.version", 1),
        ("/topics/byName/b/name", "b"),
        (f"/topics/byId/{A_TEXT}/id", A_TEXT),
        ("/configs/TOPIC:a/x", "[redacted]"),
        ("/configs/TOPIC:a", {"x": "[redacted]", "y": "2"}),
        ("/configs/BROKER:/y", "1"),
        ("/clientQuotas/user(z)/k", 1.0),
        ("/producerIds/nextProducerId", 1000),
        ("/migration", "POST_MIGRATION"),
    ],
)
def test_what_a_value_is(path: str, value: object) -> None:
    assert cat(find(root(), path)) == value


def test_a_partition_and_a_broker_as_json() -> None:
    image = image_of([broker(cordoned_log_dirs=()), topic(), partition(leader_recovery_state=1)])
    assert cat(find(root(image), "/topics/byName/a/0")) == {
        "replicas": [1, 2, 3],
        "directories": [uuid_to_text(uuid.UUID(int=0xD001 + i)) for i in range(3)],
        "isr": [1, 2, 3],
        "removingReplicas": [],
        "addingReplicas": [],
        "elr": [],
        "lastKnownElr": [],
        "leader": 1,
        "leaderRecoveryState": "RECOVERING",
        "leaderEpoch": 0,
        "partitionEpoch": 0,
    }
    assert cat(find(root(image), "/cluster/brokers/1")) == {
        "id": 1,
        "epoch": 5,
        "incarnationId": uuid_to_text(uuid.UUID(int=1)),
        "listeners": [{"name": "PLAINTEXT", "host": "h", "port": 9092, "securityProtocol": 0}],
        "supportedFeatures": {},
        "rack": None,
        "fenced": True,
        "inControlledShutdown": False,
        "isMigratingZkBroker": False,
        "directories": [uuid_to_text(uuid.UUID(int=0xD001))],
        "cordonedDirectories": [],
    }


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/nowhere", r"/nowhere: there is no 'nowhere' in /, only provenance, features, .*, …"),
        ("/topics/byName/c", r"there is no 'c' in /topics/byName, only a, b"),
        ("/topics/byName/b/7", r"there is no '7' in /topics/byName/b, only id, name, 0, 1"),
        ("/topics/byName/b/00", "there is no '00'"),
        ("/topics/byName/b/-1", "there is no '-1'"),
        ("/topics/byId/notanid", "there is no 'notanid'"),
        ("/acls/byId/notanid", "there is no 'notanid'"),
        ("/cluster/brokers/x", "there is no 'x'"),
        ("/cluster/brokers/7", "there is no '7' in /cluster/brokers, only 2, 300"),
        ("/cluster/controllers/7", "there is no '7' in /cluster/controllers, only 3000"),
        ("/migration/x", "/migration is a value, there is nothing below it"),
        ("/scram/SCRAM-SHA-512/x", "in /scram/SCRAM-SHA-512, which is empty"),
        ("/configs/TOPIC:b", "there is no 'TOPIC:b' in /configs, only TOPIC:a, BROKER:"),
    ],
)
def test_a_path_that_leads_nowhere_says_how_far_it_goes(path: str, why: str) -> None:
    with pytest.raises(NoSuchPath, match=why):
        find(root(), path)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("/", ["/"]),
        ("/topics/byName/*", ["/topics/byName/a", "/topics/byName/b"]),
        ("/topics/byName/*/[0-9]", ["/topics/byName/b/0", "/topics/byName/b/1"]),
        ("/*/b*", ["/cluster/brokers", "/topics/byName", "/topics/byId", "/acls/byId"]),
        ("/migration", ["/migration"]),
        ("/migration/*", []),
        ("/nowhere", []),
    ],
)
def test_patterns_find_what_fits(pattern: str, paths: list[str]) -> None:
    assert [path for path, _ in matching(root(), pattern)] == paths


def test_the_whole_tree_is_json_and_every_line_of_it_can_be_found() -> None:
    whole = json.loads(json.dumps(cat(root())))
    path: list[str] = []
    for depth, name, value in tree(root()):
        path[depth:] = [name.rstrip("/")]
        inside = whole
        for part in path:
            inside = inside[part]
        found = find(root(), "/".join(path))
        if isinstance(found, Directory):
            assert (value, name[-1]) == (None, "/")
        else:
            assert inside == value
    assert len(list(tree(root(), 1))) == len(whole)
    assert [line for line in tree(root()) if line[0] < 2] == list(tree(root(), 2))


def test_secrets_never_appear() -> None:
    secret = b"very-secret"
    image = image_of(
        [
            UserScramCredentialRecord(
                name="u", mechanism=2, salt=secret, stored_key=secret, server_key=secret, iterations=4096
            ),
            config("x", "very-secret"),
        ]
    )
    shown = json.dumps(cat(root(image)))
    assert "secret" not in shown
    assert secret.hex() not in shown
    assert '"iterations": 4096' in shown


def test_names_that_users_chose_never_break_a_path() -> None:
    user = "CN=a/b (c) 100%"
    image = image_of(
        [
            UserScramCredentialRecord(
                name=user, mechanism=1, salt=b"", stored_key=b"", server_key=b"", iterations=1
            ),
            ConfigRecord(resource_type=32, resource_name="g/1", name="k", value="v"),
            ConfigRecord(resource_type=99, resource_name="?", name="k", value="v"),
            ClientQuotaRecord(
                entity=(
                    QuotaEntity(entity_type="user", entity_name=user),
                    QuotaEntity(entity_type="client-id", entity_name=None),
                ),
                key="k",
                value=2.0,
                remove=False,
            ),
        ]
    )
    assert ls(find(root(image), "/scram/SCRAM-SHA-256")) == ["CN=a%2Fb (c) 100%25"]
    assert ls(find(root(image), "/configs")) == ["GROUP:g%2F1/", "99:?/"]
    assert ls(find(root(image), "/clientQuotas")) == [r"clientId()_user(CN=a%2Fb \(c\) 100%25)/"]
    for path in ("/scram/SCRAM-SHA-256", "/configs", "/clientQuotas"):
        for name in ls(find(root(image), path)):
            assert isinstance(find(root(image), f"{path}/{name}"), Directory | Leaf)
