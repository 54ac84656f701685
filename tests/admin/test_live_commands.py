"""The commands that ask a cluster, against a real one: what people and programs are told, and the exit codes.

One cluster for all tests of this file (`quorate dev --in-process`, in a process of its own); each test uses topics of
its own. The commands themselves run in this process. A node that is asked may not have heard of a change that
another one has just acknowledged, so what is read after a change is read until it is there.
"""

import json

import pytest

pytestmark = pytest.mark.e2e

_TRIES = 200


def _names(document):
    return [one["name"] for one in document["topics"]]


def test_a_topic_from_beginning_to_end(ask, settled, topic):
    code, made = ask(
        f"topics create --topic {topic} --partitions 3 --replication-factor 2 --config retention.ms=1234"
    )
    (created,) = made["topics"]
    assert code == 0
    assert created == {
        "name": topic,
        "id": created["id"],
        "partitions": 3,
        "replication_factor": 2,
        "existed": False,
        "error": None,
    }

    code, grown = ask(f"topics alter --topic {topic} --partitions 5")
    assert (code, grown["topics"]) == (0, [{"name": topic, "partitions": 5, "existed": True, "error": None}])

    described = settled(
        f"topics describe --topic {topic}", lambda document: len(document["topics"][0]["partitions"]) == 5
    )
    (found,) = described["topics"]
    assert (found["name"], found["id"], found["internal"]) == (topic, created["id"], False)
    assert found["configs"] == {"retention.ms": "1234"}
    assert [one["partition"] for one in found["partitions"]] == [0, 1, 2, 3, 4]
    for one in found["partitions"]:
        assert sorted(one["replicas"]) == [101, 102]
        assert one["leader"] in one["isr"]
        assert one["offline"] == []

    code, gone = ask(f"topics delete --topic {topic}")
    assert (code, gone["topics"]) == (0, [{"name": topic, "existed": True, "error": None}])
    settled("topics list", lambda document: topic not in _names(document))


def test_a_topic_by_its_id_and_in_the_list(ask, settled, topic):
    _, made = ask(f"topics create --topic {topic}")
    id = made["topics"][0]["id"]
    entry = {"name": topic, "id": id, "partitions": 1, "internal": False}

    settled("topics list", lambda document: entry in document["topics"])
    settled(f"topics describe --topic-id {id}", lambda document: _names(document) == [topic])
    assert ask("topics describe --topic-id MkU3OEVBNTcwNTJENDM2Qg")[0] == 1


def test_several_topics_and_one_that_is_refused(ask, topic):
    assert ask(f"topics create --topic {topic}")[0] == 0

    code, again = ask(f"topics create --topic {topic},{topic}-2")

    errors = {one["name"]: one["error"] and one["error"]["code"] for one in again["topics"]}
    assert code == 1
    assert errors == {topic: "TOPIC_ALREADY_EXISTS", f"{topic}-2": None}


def test_existing_and_absent_topics_can_be_no_errors(ask, settled, topic):
    assert ask(f"topics create --topic {topic}")[0] == 0

    code, again = ask(f"topics create --topic {topic} --if-not-exists")
    assert (code, again["topics"][0]["existed"], again["topics"][0]["error"]) == (0, True, None)
    assert ask(f"topics delete --topic {topic}")[0] == 0
    for line in (
        "topics delete --topic {} --if-exists",
        "topics alter --topic {} --partitions 2 --if-exists",
    ):
        code, absent = ask(line.format(topic))
        assert (code, absent["topics"][0]["existed"]) == (0, False)
    settled(f"topics describe --topic {topic} --if-exists", lambda document: document == {"topics": []})
    assert ask(f"topics describe --topic {topic}")[0] == 1


def test_validating_only_changes_nothing(ask, topic):
    code, made = ask(f"topics create --topic {topic} --partitions 2 --validate-only")
    assert (code, made["validate_only"]) == (0, True)

    assert ask(f"topics create --topic {topic} --partitions 2 --validate-only")[0] == 0


def test_replicas_where_one_wants_them(ask, settled, topic):
    assert ask(f"topics create --topic {topic} --replica-assignment 102:101,101")[0] == 1
    assert ask(f"topics create --topic {topic} --replica-assignment 102:101,101:102")[0] == 0

    described = settled(f"topics describe --topic {topic}", lambda document: document["topics"])
    assert [one["replicas"] for one in described["topics"][0]["partitions"]] == [[102, 101], [101, 102]]


def test_filters_keep_what_fits(ask, settled, topic):
    assert ask(f"topics create --topic {topic} --replication-factor 1 --config min.insync.replicas=1")[0] == 0

    def shown(option, expected):
        settled(f"topics describe --topic {topic} {option}", lambda document: _names(document) == expected)

    shown("--topics-with-overrides", [topic])
    shown("--at-min-isr-partitions", [topic])
    for option in ("--under-replicated", "--unavailable-partitions", "--under-min-isr-partitions"):
        shown(option, [])


def test_configs_of_a_topic(ask, settled, topic):
    assert ask(f"topics create --topic {topic}")[0] == 0

    code, altered = ask(
        f"configs alter --topic {topic} --add-config cleanup.policy=[compact,delete],retention.ms=99"
    )
    assert (code, altered["resources"]) == (0, [{"type": "topic", "name": topic, "error": None}])
    assert ask(f"configs alter --topic {topic} --delete-config retention.ms")[0] == 0
    described = settled(
        f"configs describe --topic {topic}", lambda document: len(document["resources"][0]["configs"]) == 1
    )

    (resource,) = described["resources"]
    (config,) = resource["configs"]
    assert (resource["type"], resource["name"], resource["error"]) == ("topic", topic, None)
    assert config["name"] == "cleanup.policy"
    assert config["value"] == "compact,delete"
    assert config["source"] == "DYNAMIC_TOPIC_CONFIG"
    assert config["type"] == "LIST"
    assert config["synonyms"][0]["source"] == "DYNAMIC_TOPIC_CONFIG"


def test_all_configs_and_what_they_mean(ask, settled, topic):
    assert ask(f"topics create --topic {topic}")[0] == 0

    described = settled(f"configs describe --topic {topic} --all --documentation", lambda document: document)

    configs = {config["name"]: config for config in described["resources"][0]["configs"]}
    assert configs["retention.ms"]["source"] == "DEFAULT_CONFIG"
    assert configs["retention.ms"]["documentation"]


def test_a_misspelt_config_key_is_refused_with_a_suggestion(run, bootstrap, topic):
    assert run("topics", "create", "--topic", topic, "--bootstrap", bootstrap).code == 0

    ran = run("configs", "alter", "--topic", topic, "--add-config", "retenton.ms=1", "--bootstrap", bootstrap)

    assert ran.code == 1
    assert ran.out == ""
    assert "INVALID_CONFIG" in ran.err
    assert "retention.ms" in ran.err


def test_the_defaults_of_all_brokers(ask, settled):
    key = "log.cleaner.threads"

    def shows(line, *expected):
        def found(document):
            configs = document["resources"][0]["configs"]
            return [(one["value"], one["source"]) for one in configs] == list(expected)

        settled(line, found)

    assert ask(f"configs alter --broker-defaults --add-config {key}=2")[0] == 0
    shows("configs describe --entity-type brokers --entity-default", ("2", "DYNAMIC_DEFAULT_BROKER_CONFIG"))
    shows("configs describe --broker 101", ("2", "DYNAMIC_DEFAULT_BROKER_CONFIG"))
    assert ask(f"configs alter --broker-defaults --delete-config {key}")[0] == 0
    shows("configs describe --broker-defaults")


def test_brokers(ask, cluster):
    _, listed = ask("brokers list")
    code, described = ask("brokers describe --id 102,7")

    addresses = {f"{one['host']}:{one['port']}" for one in listed["brokers"]}
    assert addresses == {node["address"] for node in cluster["brokers"]}
    assert all(not one["fenced"] for one in listed["brokers"])
    assert code == 1
    assert described["brokers"][0]["id"] == 102
    assert described["brokers"][0]["holds"] >= described["brokers"][0]["leads"] >= 0
    assert described["brokers"][1]["error"]["code"] == "BROKER_ID_NOT_REGISTERED"
    code, unknown = ask("brokers unregister --id 7")
    assert (code, unknown["brokers"][0]["error"]["code"]) == (1, "BROKER_ID_NOT_REGISTERED")


def test_features(ask):
    code, described = ask("features describe")

    features = {one["name"]: one for one in described["features"]}
    assert code == 0
    assert features["metadata.version"]["finalized_name"] == "3.9-IV0"
    assert (
        features["metadata.version"]["supported"]["min"]
        <= 21
        <= features["metadata.version"]["supported"]["max"]
    )
    assert features["kraft.version"]["finalized_level"] == 1


def test_the_quorum(ask, cluster):
    code, status = ask("quorum status")
    _, described = ask("quorum describe")

    voters = [one for one in status["nodes"] if one["role"] == "voter"]
    assert code == 0
    assert (status["healthy"], status["problems"]) == (True, [])
    assert status["cluster_id"] == described["cluster_id"] == cluster["cluster_id"]
    assert {one["address"] for one in voters} == {node["address"] for node in cluster["controllers"]}
    assert [one["id"] for one in voters if one["leader"]] == [status["leader_id"]]
    assert all(one["error"] is None for one in status["nodes"])
    assert {one["id"] for one in status["nodes"] if one["role"] == "observer"} == {101, 102}
    assert described["leader_id"] == status["leader_id"]
    assert described["replicas"][0]["endpoints"][0].startswith("CONTROLLER://")


def test_watching_the_quorum(run, bootstrap):
    words = ["quorum", "watch", "--interval", "0.01", "--bootstrap", bootstrap]
    ran = run(*words, "--count", "3", "--output", "json")
    looks = [json.loads(line) for line in ran.out.splitlines()]

    assert ran.code == 0
    assert [look["healthy"] for look in looks] == [True] * 3
    assert looks[0]["high_watermark"] <= looks[2]["high_watermark"]
    healthy = run(*words, "--until-healthy")
    assert healthy.code == 0
    assert healthy.out.rstrip().endswith("healthy")


def test_the_live_log_and_the_image_made_of_it(run, bootstrap, topic):
    def documents(line):
        ran = run(*line.split(), "--bootstrap", bootstrap, "--output", "json")
        assert ran.code == 0, ran.err
        return [json.loads(one) for one in ran.out.splitlines()]

    def image(line):
        ran = run(*line.split(), "--bootstrap", bootstrap, "--output", "json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    assert run("topics", "create", "--topic", topic, "--partitions", "2", "--bootstrap", bootstrap).code == 0

    topics = documents("log tail --from 0 --type topic_record")
    made = next(record for record in topics if record["data"]["name"] == topic)
    assert (made["type"], made["control"]) == ("TOPIC_RECORD", False)
    found = image(f"image cat /topics/byName/{topic}/1")
    assert found["entries"][0]["path"] == f"/topics/byName/{topic}/1"
    assert found["entries"][0]["value"]["leader"] in (101, 102)
    assert found["offset"] > made["offset"]
    before = image(f"image ls /topics/byName --offset {made['base_offset'] - 1}")
    assert f"{topic}/" not in before["entries"][0]["names"]
    after = image("image ls /topics/byName")
    assert f"{topic}/" in after["entries"][0]["names"]
    assert len(documents("log tail -n 3")) == 3


def test_tables_are_for_people(run, bootstrap, topic):
    create = run("topics", "create", "--topic", topic, "--partitions", "1", "--bootstrap", bootstrap)
    for _ in range(_TRIES):
        describe = run("topics", "describe", "--topic", topic, "--bootstrap", bootstrap)
        if describe.code == 0:
            break
    status = run("quorum", "status", "--bootstrap", bootstrap)

    assert create.out == f"Created topic {topic}: 1 partition, 1 replica each.\n"
    assert describe.out.splitlines()[1].split() == [
        "PARTITION",
        "LEADER",
        "REPLICAS",
        "ISR",
        "ELR",
        "OFFLINE",
    ]
    assert status.out.splitlines()[1].split()[:3] == ["NODE", "ROLE", "STATE"]
    assert (create.err, describe.err, status.err) == ("", "", "")


def _file(tmp_path, document):
    path = tmp_path / "partitions.json"
    path.write_text(json.dumps(document))
    return path


def test_partitions_move_where_a_file_says_and_the_answer_leads_back(ask, settled, topic, tmp_path):
    ask(f"topics create --topic {topic} --replica-assignment 101:102")
    there = {"topic": topic, "partition": 0, "replicas": [102], "log_dirs": ["any"]}
    back = {**there, "replicas": [101, 102], "log_dirs": ["any", "any"]}
    plan = _file(tmp_path, {"version": 1, "partitions": [there]})
    file = f"--reassignment-json-file {plan}"

    code, begun = ask(f"partitions reassign execute {file}")
    assert (code, begun["previous"]) == (0, {"version": 1, "partitions": [back]})
    assert begun["partitions"] == [{"topic": topic, "partition": 0, "error": None}]
    done = {"topic": topic, "partition": 0, "state": "complete", "replicas": [102]}
    assert settled(f"partitions reassign verify {file}", lambda _: True)["partitions"] == [done]
    assert ask("partitions reassign list") == (0, {"partitions": []})
    assert ask(f"partitions reassign cancel {file}") == (0, {"partitions": []})

    plan.write_text(json.dumps(begun["previous"]))
    code, refused = ask(f"partitions reassign execute --disallow-replication-factor-change {file}")
    assert (code, refused["partitions"][0]["error"]["code"]) == (1, "INVALID_REPLICATION_FACTOR")
    assert ask(f"partitions reassign verify {file}")[0] == 10
    assert ask(f"partitions reassign execute {file}")[0] == 0
    code, elected = ask(f"partitions elect-leaders --election-type preferred --topic {topic} --partition 0")
    assert (code, elected["partitions"][0]["error"]) == (0, None)


def test_an_assignment_is_proposed(ask, topic, tmp_path):
    ask(f"topics create --topic {topic} --partitions 2 --replication-factor 1")
    file = _file(tmp_path, {"version": 1, "topics": [{"topic": topic}]})

    line = f"partitions reassign generate --topics-to-move-json-file {file} --broker-list"
    code, proposed = ask(f"{line} 102")
    assert code == 0
    assert [one["replicas"] for one in proposed["proposed"]["partitions"]] == [[102], [102]]
    assert [one["partition"] for one in proposed["current"]["partitions"]] == [0, 1]
    assert ask(f"{line} 77")[0] == 1


# --- acls


def _acls(document):
    return sorted(
        (one["principal"], one["operation"], one["resource_type"], one["resource_name"], one["permission"])
        for one in document["acls"]
    )


def test_acls_from_beginning_to_end(ask, settled, topic):
    line = (
        f"acls add --topic {topic} --allow-principal User:alice --operation Read --operation describe-configs"
    )
    code, added = ask(line)
    made = [
        ("User:alice", "DESCRIBE_CONFIGS", "TOPIC", topic, "ALLOW"),
        ("User:alice", "READ", "TOPIC", topic, "ALLOW"),
    ]
    assert (code, _acls(added)) == (0, made)
    assert {one["error"] for one in added["acls"]} == {None}
    assert ask(line)[0] == 0  # one that exists is no error

    settled(f"acls list --topic {topic}", lambda document: _acls(document) == made)
    assert ask(f"acls list --topic {topic} --principal User:bob")[1] == {"acls": []}

    code, gone = ask(f"acls remove --topic {topic} --allow-principal User:alice --operation READ --yes")
    assert (code, _acls(gone)) == (0, made[1:])
    settled(f"acls list --topic {topic}", lambda document: _acls(document) == made[:1])
    assert _acls(ask(f"acls remove --topic {topic} --yes")[1]) == made[:1]
    settled(f"acls list --topic {topic}", lambda document: document == {"acls": []})


def test_what_producers_and_consumers_need(ask, topic):
    code, producer = ask(
        f"acls add --producer --idempotent --topic {topic} --transactional-id {topic} --allow-principal User:p"
    )
    assert code == 0
    assert [(kind, operation) for _, operation, kind, _, _ in _acls(producer)] == [
        ("TOPIC", "CREATE"),
        ("TOPIC", "DESCRIBE"),
        ("TRANSACTIONAL_ID", "DESCRIBE"),
        ("CLUSTER", "IDEMPOTENT_WRITE"),
        ("TOPIC", "WRITE"),
        ("TRANSACTIONAL_ID", "WRITE"),
    ]
    code, consumer = ask(f"acls add --consumer --topic {topic} --group {topic} --allow-principal User:c")
    assert code == 0
    assert [(kind, operation) for _, operation, kind, _, _ in _acls(consumer)] == [
        ("TOPIC", "DESCRIBE"),
        ("GROUP", "READ"),
        ("TOPIC", "READ"),
    ]


def test_names_as_prefixes_and_what_applies_to_a_name(ask, settled, topic):
    there = f"--topic {topic} --resource-pattern-type prefixed --deny-principal User:eve --deny-host 10.0.0.1"
    code, added = ask(f"acls add {there}")
    assert code == 0
    (acl,) = added["acls"]
    assert (acl["pattern_type"], acl["host"], acl["operation"]) == ("PREFIXED", "10.0.0.1", "ALL")

    def is_there(document):
        return [one["host"] for one in document["acls"]] == ["10.0.0.1"]

    settled(f"acls list --topic {topic}-and-more --resource-pattern-type match", is_there)
    assert ask(f"acls list --topic {topic}-and-more")[1] == {"acls": []}
    settled(f"acls remove {there} --dry-run", is_there)
    assert is_there(ask(f"acls remove {there} --yes")[1])


def test_the_cluster_has_acls_of_its_own(ask):
    code, added = ask("acls add --cluster --allow-principal User:ops --operation Alter")
    assert (code, added["acls"][0]["resource_name"]) == (0, "kafka-cluster")
    assert ask("acls remove --cluster --allow-principal User:ops --yes")[1] == {
        "acls": []
    }  # ALL was not given
    assert (
        len(ask("acls remove --cluster --allow-principal User:ops --operation Alter --yes")[1]["acls"]) == 1
    )


@pytest.mark.parametrize(
    ("type", "config"),
    [("groups", "consumer.session.timeout.ms=50000"), ("client-metrics", "interval.ms=2000")],
)
def test_what_has_configs_is_found_without_a_name(ask, settled, type, config):
    name = f"found-{type}"
    assert ask(f"configs alter --entity-type {type} --entity-name {name} --add-config {config}")[0] == 0

    def found(document):
        return {one["name"]: [c["name"] for c in one["configs"]] for one in document["resources"]}

    settled(
        f"configs describe --entity-type {type}",
        lambda document: found(document).get(name) == [config.partition("=")[0]],
    )


# --- quotas


def test_quotas_from_beginning_to_end(ask, settled, topic):
    user, pair = ["--user", topic], ["--user", topic, "--client", "a,b"]
    assert ask("quotas alter --add-config producer_byte_rate=1024,request_percentage=12.5", *user)[0] == 0
    assert ask("quotas alter --add-config consumer_byte_rate=7", *pair)[0] == 0
    of_user = {
        "entity": [{"type": "user", "name": topic}],
        "quotas": {"producer_byte_rate": 1024.0, "request_percentage": 12.5},
    }
    of_pair = {
        "entity": [{"type": "user", "name": topic}, {"type": "client-id", "name": "a,b"}],
        "quotas": {"consumer_byte_rate": 7.0},
    }
    found = settled(
        "quotas describe", lambda document: of_user in document["quotas"] and of_pair in document["quotas"]
    )
    assert found["quotas"]
    assert ask("quotas describe", *user)[1] == {"quotas": [of_user]}
    assert ask("quotas describe", *pair)[1] == {"quotas": [of_pair]}

    assert (
        ask("quotas alter --delete-config producer_byte_rate,request_percentage --validate-only", *user)[0]
        == 0
    )
    assert ask("quotas alter --delete-config producer_byte_rate,request_percentage", *user)[0] == 0
    settled(f"quotas describe --user {topic}", lambda document: document == {"quotas": []})


def test_quotas_of_addresses_and_defaults(ask, settled):
    code, altered = ask("quotas alter --ip 10.1.2.3 --ip-defaults --add-config connection_creation_rate=5")
    assert (code, [one["entity"][0]["name"] for one in altered["quotas"]]) == (0, ["10.1.2.3", None])
    settled(
        "quotas describe --ip-defaults",
        lambda document: (
            document["quotas"]
            == [{"entity": [{"type": "ip", "name": None}], "quotas": {"connection_creation_rate": 5.0}}]
        ),
    )

    code, refused = ask("quotas alter --ip 10.1.2.3 --add-config producer_byte_rate=5")
    assert (code, refused["quotas"][0]["error"]["code"]) == (1, "INVALID_REQUEST")


# --- users


def test_users_from_beginning_to_end(ask, settled, topic, tmp_path):
    file = tmp_path / "passwords"
    file.write_text("# for a test\nSCRAM-SHA-512=[password=b,c]\n")
    sha_256 = "SCRAM-SHA-256=[iterations=8192,password=a]"
    altered = ask("users alter", "--user", topic, "--add-config", sha_256, "--add-config-file", str(file))
    assert altered == (0, {"users": [{"name": topic, "error": None}]})
    both = [
        {"mechanism": "SCRAM-SHA-256", "iterations": 8192},
        {"mechanism": "SCRAM-SHA-512", "iterations": 4096},
    ]
    settled(f"users describe --user {topic}", lambda document: document["users"][0]["credentials"] == both)
    described = ask("users describe")[1]["users"]
    assert {"name": topic, "credentials": both, "error": None} in described

    assert ask(f"users alter --user {topic} --delete-config SCRAM-SHA-256")[0] == 0
    settled(
        f"users describe --user {topic}", lambda document: document["users"][0]["credentials"] == both[1:]
    )
    code, refused = ask(f"users alter --user {topic} --delete-config SCRAM-SHA-256")
    assert (code, refused["users"][0]["error"]["code"]) == (1, "RESOURCE_NOT_FOUND")


# --- feature levels


def test_feature_levels_go_up_and_down(ask, settled):
    def level(document):
        return {one["name"]: one["finalized_level"] for one in document["features"]}["metadata.version"]

    code, tried = ask("features upgrade --feature metadata.version=22 --dry-run")
    changed = {"name": "metadata.version", "level": 22, "level_name": "4.0-IV0", "error": None}
    assert (code, tried) == (0, {"features": [changed], "dry_run": True})
    assert level(ask("features describe")[1]) == 21
    assert ask("features upgrade --metadata 4.0-IV0")[0] == 0
    settled("features describe", lambda document: level(document) == 22)
    assert ask("features downgrade --metadata 3.9")[0] == 0
    settled("features describe", lambda document: level(document) == 21)


def test_feature_levels_that_are_refused(ask):
    for line in (
        "features upgrade --feature nonsense.version=1",
        "features downgrade --metadata 3.8",
        "features downgrade --metadata 22",
        "features disable --feature metadata.version --unsafe",
    ):
        code, refused = ask(line)
        assert (code, refused["features"][0]["error"]["code"]) == (1, "INVALID_UPDATE_VERSION"), line
