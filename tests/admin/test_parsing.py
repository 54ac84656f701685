"""The small languages inside options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.admin import parsing
from quorate.admin.errors import WrongUsage


def test_the_value_is_all_behind_the_first_equals_sign():
    assert parsing.one_pair_each("--config", ["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_a_comma_in_a_single_pair_belongs_to_the_value():
    assert parsing.one_pair_each("--config", ["cleanup.policy=compact,delete"]) == {
        "cleanup.policy": "compact,delete"
    }


def test_commas_separate_pairs_except_between_brackets():
    found = parsing.many_pairs("--add-config", ["a=1,cleanup.policy=[compact,delete],b=2", "c=3"])

    assert found == {"a": "1", "cleanup.policy": "compact,delete", "b": "2", "c": "3"}


@pytest.mark.parametrize("text", ["nothing", "=1", ""])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(WrongUsage, match="key=value"):
        parsing.many_pairs("--add-config", [text])


def test_a_key_given_twice_is_refused():
    with pytest.raises(WrongUsage, match="a is given twice"):
        parsing.many_pairs("--add-config", ["a=1", "a=2"])


def test_names_come_with_commas_or_repeated_and_only_once():
    assert parsing.names(["b, a", "a", ",c,"]) == ["b", "a", "c"]


def test_an_assignment_lists_the_brokers_of_each_partition():
    assert parsing.replica_assignment("--replica-assignment", "1:2,2:3, 3:1") == [(1, 2), (2, 3), (3, 1)]
    assert parsing.replica_assignment("--replica-assignment", None) == []


@pytest.mark.parametrize("text", ["1:x", "1,,2", "", "-1", "1:1", "1:²"])
def test_an_impossible_assignment_is_refused(text):
    with pytest.raises(WrongUsage, match="--replica-assignment"):
        parsing.replica_assignment("--replica-assignment", text)


@given(st.lists(st.lists(st.integers(0, 9999), min_size=1, max_size=4, unique=True), min_size=1, max_size=5))
def test_every_assignment_can_be_written(partitions):
    text = ",".join(":".join(map(str, brokers)) for brokers in partitions)

    assert parsing.replica_assignment("--x", text) == [tuple(brokers) for brokers in partitions]
