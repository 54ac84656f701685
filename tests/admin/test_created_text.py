"""What is said of a topic that was created."""

from quorate.admin.topics import created_text
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.topics import CreatableTopicResult


def test_as_it_was_created() -> None:
    result = CreatableTopicResult(name="t", num_partitions=1, replication_factor=3)

    assert created_text(result, "Created") == "Created topic t: 1 partition, 3 replicas each."


def test_to_who_may_not_know() -> None:
    result = CreatableTopicResult(
        name="t",
        num_partitions=-1,
        replication_factor=-1,
        topic_config_error_code=ErrorCode.topic_authorization_failed,
    )

    assert created_text(result, "Could create") == (
        "Could create topic t; how is not shown, for want of DESCRIBE_CONFIGS on it."
    )
