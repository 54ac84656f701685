"""When a disk is called slow, and how often."""

import pytest

from quorate.metadata.disk_speed import LOOKS_AT, OBSERVED_FLUSH, DiskSpeed


def after(*spent_ms: float, slow_ms: int = 100) -> DiskSpeed:
    speed = DiskSpeed(slow_ms)
    for one in spent_ms:
        speed.add(one / 1000)
    return speed


@pytest.mark.parametrize(
    ("spent_ms", "slow"),
    [
        ([340] * 4, False),  # too few to say
        ([340] * 5, True),
        ([2] * 15 + [900] * 5, False),  # one that stalls now and then
        ([2] * 9 + [101] * 11, True),
        ([100] * 20, False),
        ([340] * 100 + [2] * 11, False),  # it has recovered
    ],
)
def test_the_median_of_the_last_flushes_decides(spent_ms: list[float], slow: bool) -> None:
    assert after(*spent_ms).slow is slow


def test_only_the_last_ones_count() -> None:
    assert after(*[900] * 1000, *[3] * LOOKS_AT).median_ms == 3


def test_it_is_told_at_once_then_once_a_minute_and_when_it_is_over() -> None:
    speed = after(*[340] * 5)
    text = "the disk is slow: it takes 340 ms for a flush (median of the last 20; more than 100)"
    assert speed.news(1_000) == text
    assert [speed.news(now) for now in (1_001, 60_999)] == [None, None]
    assert speed.news(61_000) == text
    for _ in range(LOOKS_AT):
        speed.add(0.002)
    assert speed.news(61_001) == "the disk is quick again: a flush takes 2 ms"
    assert speed.news(200_000) is None


def test_a_quick_disk_is_no_news() -> None:
    assert after(*[1] * 50).news(1_000_000) is None


def test_what_it_tells_those_who_ask() -> None:
    assert after(5).observed() == {}
    assert after(*[340] * 5).observed() == {OBSERVED_FLUSH: "340"}
