"""kafka-python 3."""

import json
import sys

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import UnknownTopicOrPartitionError

from tests.e2e.clients import eventually, given, in_python


def walk(bootstrap: str, topic: str) -> dict[str, object]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), **in_python(given()))
    found: dict[str, object] = {}
    new = NewTopic(name=topic, num_partitions=2, replication_factor=1, topic_configs={"retention.ms": "1000"})
    admin.create_topics([new])
    found["listed"] = eventually(lambda: topic in admin.list_topics(), True)
    described = admin.describe_topics([topic])[0]
    found["leaders"] = [partition["leader_id"] for partition in described["partitions"]]
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "compact"})
    admin.alter_configs([resource])
    wanted = {"retention.ms": "1000", "cleanup.policy": "compact"}
    found["configs"] = eventually(lambda: configs(admin, topic, list(wanted)), wanted)
    admin.create_partitions({topic: NewPartitions(4)})
    found["partitions"] = eventually(lambda: len(admin.describe_topics([topic])[0]["partitions"]), 4)
    admin.delete_topics([topic])
    found["gone"] = eventually(lambda: topic not in admin.list_topics(), True)
    try:
        admin.delete_topics([topic])
    except UnknownTopicOrPartitionError:
        found["deleted_again"] = "UNKNOWN_TOPIC_OR_PART"
    admin.close()
    return found


def configs(admin: KafkaAdminClient, topic: str, keys: list[str]) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    values = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    return {key: values[key]["value"] for key in keys}


if __name__ == "__main__":
    print(json.dumps(walk(sys.argv[1], sys.argv[2])))
