"""The page of `quorate migrate demo`: everything is told, nothing is fetched, and what is shown is escaped."""

import re

from quorate.admin.migrate_demo_page import Row, Story, table


def story():
    told = Story()
    told.chapter("There")
    told.scene("Begin & <wait>", 0.5)
    told.say("  The driver: WAIT_FOR_ORDER. Give `quorate migrate run`; /controller is free.")
    told.sides([Row("topics", "3", "3", "equal c459f3e0"), Row("acls", "1", "-", "")])
    told.scene("End", 2.5)
    told.chapter("Back")
    told.scene("Rollback", 6.5)
    return told


def test_both_sides_stand_next_to_each_other_on_the_terminal():
    assert list(table([Row("topics", "3", "3", "equal"), Row("acls", "1", "-", "")])) == [
        "        ZOOKEEPER  QUORUM",
        "topics          3       3  equal",
        "acls            1       -",
    ]


def test_the_page_tells_everything_in_order():
    page = story().html(10.4)

    assert re.findall(r"<h[123]>(.*?)</h", page)[1:] == [
        "There", "Begin &amp; &lt;wait&gt;", "End", "Back", "Rollback",
    ]  # fmt: skip
    assert "in 10 s" in page
    assert "%" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "<wait>" not in page
    assert '<td>3</td><td class="sign">=</td><td>3</td><td class="verdict">equal c459f3e0</td>' in page
    assert '<td>1</td><td class="sign"></td><td>-</td>' in page
    for marked in ("WAIT_FOR_ORDER", "quorate migrate run", "/controller"):
        assert f"<code>{marked}</code>" in page


def test_nothing_is_fetched_from_anywhere():
    assert not re.search(r"https?:|\bsrc=|<script|<link|@import|url\(", story().html(1))


def test_the_bar_of_a_chapter_shows_how_long_each_scene_took():
    page = story().html(10.5)
    assert re.findall(r'href="#(.*?)" style="flex-grow:(.*?)"', page) == [
        ("s1-0", "2.0"), ("s1-1", "4.0"), ("s2-0", "4.0"),
    ]  # fmt: skip
    assert re.findall(r'<li id="(.*?)"', page) == ["s1-0", "s1-1", "s2-0"]
