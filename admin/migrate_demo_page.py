"""The story of `quorate migrate demo` as text and as one self-contained HTML page (pure)."""

import html
from collections.abc import Iterator, Sequence
from typing import Final

import attrs


@attrs.frozen
class Row:
    """One kind of metadata on both sides."""

    kind: str
    zookeeper: str
    log: str
    verdict: str


_TITLES: Final = Row("", "ZOOKEEPER", "QUORUM", "")


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The two sides next to each other."""
    every = [_TITLES, *rows]
    widths = [max(len(value) for value in column) for column in zip(*map(_cells, every), strict=True)]
    for row in every:
        kind, zookeeper, log, verdict = _cells(row)
        line = f"{kind:<{widths[0]}}  {zookeeper:>{widths[1]}}  {log:>{widths[2]}}  {verdict}"
        yield line.rstrip()


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.kind, row.zookeeper, row.log, row.verdict


@attrs.define
class _Scene:
    title: str
    at_s: float
    words: list[str] = attrs.Factory(list)
    sides: list[Row] = attrs.Factory(list)


@attrs.define
class Story:
    """Chapters of scenes, as they happen."""

    chapters: list[tuple[str, list[_Scene]]] = attrs.Factory(list)

    def chapter(self, title: str) -> None:
        self.chapters.append((title, []))

    def scene(self, title: str, at_s: float) -> None:
        self.chapters[-1][1].append(_Scene(title, at_s))

    def say(self, words: str) -> None:
        self.chapters[-1][1][-1].words.append(words)

    def sides(self, rows: Sequence[Row]) -> None:
        self.chapters[-1][1][-1].sides = list(rows)

    def html(self, took_s: float) -> str:
        """The whole page."""
        chapters = "".join(_chapter(title, scenes) for title, scenes in self.chapters)
        return _PAGE.replace("%TOOK%", f"{took_s:.0f}").replace("%CHAPTERS%", chapters)


def _chapter(title: str, scenes: Sequence[_Scene]) -> str:
    return f"<section><h2>{html.escape(title)}</h2><ol>{''.join(map(_scene, scenes))}</ol></section>"


def _scene(scene: _Scene) -> str:
    words = "".join(f"<p>{html.escape(line.strip())}</p>" for line in scene.words)
    return (
        f"<li><div class=when>{scene.at_s:.1f} s</div><div class=what><h3>{html.escape(scene.title)}</h3>{words}"
        f"{_sides(scene.sides)}</div></li>"
    )


def _sides(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><th>{html.escape(row.kind)}</th><td>{html.escape(row.zookeeper)}</td><td>{html.escape(row.log)}</td>"
        f"<td class=verdict>{html.escape(row.verdict)}</td></tr>"
        for row in rows
    )
    return f"<table><tr><th></th><th>ZooKeeper</th><th>quorum</th><th></th></tr>{lines}</table>"


_PAGE: Final = """<!doctype html> <html lang="en"><head><meta charset="utf-8"><meta name="viewport"
content="width=device-width, initial-scale=1"> <title>A cluster moves from ZooKeeper to a quorum</title> <style> :root
{ color-scheme: light dark; --line: #8884; --soft: #8882; --mark: #2a7; } body { font: 16px/1.5 system-ui, sans-serif;
max-width: 60rem; margin: 2rem auto; padding: 0 1rem; } h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem;
border-bottom: 1px solid var(--line); padding-bottom: .3rem; } h3 { margin: 0; font-size: 1.05rem; } ol { list-style:
none; margin: 0; padding: 0; } li { display: flex; gap: 1rem; padding: .7rem 0; } .when { flex: 0 0 4.5rem;
text-align: right; opacity: .65; font-variant-numeric: tabular-nums; } .what { flex: 1; border-left: 3px solid
var(--mark); padding-left: 1rem; min-width: 0; } .what p { margin: .3rem 0; } table { border-collapse: collapse;
margin: .6rem 0; font-variant-numeric: tabular-nums; } th, td { padding: .15rem .8rem; text-align: right;
border-bottom: 1px solid var(--soft); } th:first-child { text-align: left; font-weight: 500; } .verdict { text-align:
left; color: var(--mark); font-family: ui-monospace, monospace; font-size: .9em; } </style></head><body> <h1>A cluster
moves from ZooKeeper to a quorum, and another one goes back</h1> <p>Told by <code>quorate migrate demo</code> in
%TOOK% s: a ZooKeeper server, three brokers, three controllers, all of them processes, and a client that never stopped
changing a config and reading the topics.</p> %CHAPTERS% </body></html>
"""
