"""confluent-kafka, that is librdkafka."""

import json
import sys

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tests.e2e.clients import eventually, given, librdkafka


def walk(bootstrap: str, topic: str) -> dict[str, object]:
    admin = AdminClient({"bootstrap.servers": bootstrap, **librdkafka(given())})
    found: dict[str, object] = {}
    new = NewTopic(topic, 2, 1, config={"retention.ms": "1000"})
    admin.create_topics([new], operation_timeout=30)[topic].result()
    found["listed"] = eventually(lambda: topic in admin.list_topics(timeout=30).topics, True)
    found["leaders"] = [
        partition.leader
        for partition in admin.list_topics(topic, timeout=30).topics[topic].partitions.values()
    ]
    entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([change]).values():
        future.result()
    wanted = {"retention.ms": "1000", "cleanup.policy": "compact"}
    found["configs"] = eventually(lambda: configs(admin, topic, list(wanted)), wanted)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result()
    found["partitions"] = eventually(
        lambda: len(admin.list_topics(topic, timeout=30).topics[topic].partitions), 4
    )
    admin.delete_topics([topic], operation_timeout=30)[topic].result()
    found["gone"] = eventually(lambda: topic not in admin.list_topics(timeout=30).topics, True)
    try:
        admin.delete_topics([topic], operation_timeout=30)[topic].result()
    except Exception as error:
        found["deleted_again"] = error.args[0].name()
    found["credentials"] = credentials(admin, f"user-of-{topic}")
    return found


def credentials(admin: AdminClient, user: str) -> list[list[object]]:
    """What the user has: after one is set, after it is deleted."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192)
    changes = (
        UserScramCredentialUpsertion(user, info, b"a password"),
        UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256),
    )
    found = []
    for change, count in zip(changes, (1, 0), strict=True):
        admin.alter_user_scram_credentials([change])[user].result()
        eventually(lambda: len(described(admin, user)), count)
        found.append(described(admin, user))
    return found


def described(admin: AdminClient, user: str) -> list[object]:
    try:
        answer = admin.describe_user_scram_credentials([user])[user].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:
            raise
        return []
    return [[one.mechanism.name, one.iterations] for one in answer.scram_credential_infos]


def configs(admin: AdminClient, topic: str, keys: list[str]) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    described = admin.describe_configs([resource])[resource].result()
    return {key: described[key].value for key in keys}


if __name__ == "__main__":
    print(json.dumps(walk(sys.argv[1], sys.argv[2])))
