"""What commands print: aligned columns for people, one JSON document (or one per line) for programs.

A command builds its document first and the text for people from the same values. With `--output json` the
document is the only thing on stdout, also when the command fails: then it has an "error" member. Everything
else, progress and errors, goes to stderr. The shapes are described in docs/command-line.md.
"""

import contextlib
import enum
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

Document = Mapping[str, Any]

_GAP: Final = "  "
_NOTHING: Final = "-"


class Form(enum.StrEnum):
    """The choices of --output."""

    TABLE = "table"
    JSON = "json"


@attrs.frozen
class Table:
    """Columns with a title each; a None is shown as a dash."""

    titles: tuple[str, ...]
    rows: Sequence[Sequence[object]]

    def cells(self) -> list[list[str]]:
        return [[_NOTHING if cell is None else str(cell) for cell in row] for row in self.rows]

    def lines(self) -> Iterator[str]:
        """Plain text, nothing cut off: for pipes, files and `grep`."""
        cells = [list(self.titles), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@attrs.define
class Printer:
    """Where one command's output goes. `printed` says whether the document is out already."""

    form: Form
    printed: bool = False

    @property
    def for_people(self) -> bool:
        return self.form is Form.TABLE

    def show(self, document: Document, *parts: str | Table) -> None:
        """The command's whole answer: the document to programs, the parts, top down, to people."""
        self.printed = True
        if self.form is Form.JSON:
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        else:
            _print_parts(parts)
        sys.stdout.flush()

    def line(self, document: Document, text: str) -> None:
        """One of many answers that follow each other: a JSON document in one line, or a line of text."""
        self.printed = True
        compact = json.dumps(document, ensure_ascii=False, separators=(", ", ": "))
        sys.stdout.write((compact if self.form is Form.JSON else text) + "\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def progress(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Gives a function that takes how much is done so far; silent unless a person watches stderr."""
        if self.form is Form.JSON or not sys.stderr.isatty():
            yield lambda done: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)


def _print_parts(parts: Sequence[str | Table]) -> None:
    for part in parts:
        match part:
            case str():
                sys.stdout.write(part + "\n")
            case Table():
                _print_table(part)


def _print_table(table: Table) -> None:
    if not table.rows:
        return
    if not sys.stdout.isatty():
        sys.stdout.writelines(line + "\n" for line in table.lines())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in table.titles:
        grid.add_column(title, overflow="fold")
    for row in table.cells():
        grid.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console(highlight=False).print(grid)


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 topic`, `2 topics`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
