"""Tab: what a shell is offered, asked in the way in which bash asks."""

import pytest

from tests.admin.command import quorate


def _offered(line):
    words = line.split(" ")
    env = {"_QUORATE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ran = quorate(env=env)
    assert ran.code == 0, ran.err
    return ran.out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("quorate top", ["topics"]),
        ("quorate quorum des", ["describe"]),
        ("quorate topics create --part", ["--partitions"]),
        ("quorate topics create --config retention", ["retention.bytes=", "retention.ms="]),
        ("quorate configs describe --entity-type b", ["brokers"]),
        ("quorate log dump --type topic", ["topic_record"]),
        ("quorate log dump --type TOPIC", ["TOPIC_RECORD"]),
    ],
)
def test_what_is_offered(line, offered):
    assert _offered(line) == offered
