"""Tables and documents."""

import io
import json
import sys

from quorate.admin.output import Form, Printer, Table, plural


def test_columns_are_as_wide_as_their_widest_cell_and_nothing_is_cut():
    table = Table(("NAME", "N"), [("a" * 120, 1), ("b", None)])

    assert list(table.lines()) == [
        "NAME" + " " * 118 + "N",
        "a" * 120 + "  1",
        "b" + " " * 121 + "-",
    ]


def test_json_is_the_document_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    printer = Printer(Form.JSON)

    printer.show({"topics": [{"name": "größe"}]}, "for people", Table(("A",), [("b",)]))

    assert json.loads(out.getvalue()) == {"topics": [{"name": "größe"}]}
    assert printer.printed


def test_people_get_the_parts_and_no_document(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())

    Printer(Form.TABLE).show({"n": 1}, "first", Table(("A",), []), Table(("B",), [("[x]",)]))

    assert out.getvalue() == "first\nB\n[x]\n"


def test_lines_are_one_document_each(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    printer = Printer(Form.JSON)

    printer.line({"n": 1}, "one")
    printer.line({"n": 2}, "two")

    assert [json.loads(line) for line in out.getvalue().splitlines()] == [{"n": 1}, {"n": 2}]


def test_progress_is_silent_in_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stderr", err := io.StringIO())

    with Printer(Form.TABLE).progress("Reading", 10) as told:
        told(5)

    assert err.getvalue() == ""


def test_counts_are_written_as_people_do():
    assert [plural(n, "topic") for n in (0, 1, 2000)] == ["0 topics", "1 topic", "2,000 topics"]
    assert plural(2, "entry", "entries") == "2 entries"
