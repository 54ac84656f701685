"""aiokafka, which knows older versions only: AlterConfigs, Metadata up to 5."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.e2e.clients import WITHIN_S, given, in_python


async def walk(bootstrap: str, topic: str) -> dict[str, object]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **in_python(given()))
    await admin.start()
    found: dict[str, object] = {}
    new = NewTopic(topic, 2, 1, topic_configs={"retention.ms": "5"})
    created = await admin.create_topics([new])
    assert created.topic_errors[0][1] == 0, created
    found["listed"] = await eventually(lambda: listed(admin, topic), True)
    described = (await admin.describe_topics([topic]))[0]
    found["leaders"] = [partition["leader"] for partition in described["partitions"]]
    wanted = {"retention.ms": "1000", "cleanup.policy": "compact"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    values = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
    found["configs"] = {key: values[key] for key in ("retention.ms", "cleanup.policy")}
    await admin.create_partitions({topic: NewPartitions(4)})
    found["partitions"] = await eventually(lambda: partitions(admin, topic), 4)
    await admin.delete_topics([topic])
    found["gone"] = not await eventually(lambda: listed(admin, topic), False)
    again = await admin.delete_topics([topic])
    found["deleted_again"] = "UNKNOWN_TOPIC_OR_PART" if again.topic_error_codes[0][1] == 3 else again
    await admin.close()
    return found


async def listed(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic in await admin.list_topics()


async def partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    return len((await admin.describe_topics([topic]))[0]["partitions"])


async def eventually(look: Callable[[], Awaitable[object]], wanted: object) -> object:
    end = time.monotonic() + WITHIN_S
    while (seen := await look()) != wanted and time.monotonic() < end:
        pass
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(walk(sys.argv[1], sys.argv[2]))))
