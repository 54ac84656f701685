"""The story of `quorate migrate demo` as text and as one self-contained HTML page (pure)."""

import html
import re
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
        ends = [scenes[0].at_s if scenes else took_s for _, scenes in self.chapters[1:]]
        chapters = "".join(
            _chapter(number, title, scenes, end)
            for number, ((title, scenes), end) in enumerate(
                zip(self.chapters, [*ends, took_s], strict=True), start=1
            )
        )
        return _PAGE.replace("%TOOK%", f"{took_s:.0f}").replace("%CHAPTERS%", chapters)


def _chapter(number: int, title: str, scenes: Sequence[_Scene], end_s: float) -> str:
    told = "".join(_scene(f"s{number}-{index}", scene) for index, scene in enumerate(scenes))
    return f"<section><h2>{html.escape(title)}</h2>{_times(number, scenes, end_s)}<ol>{told}</ol></section>"


def _times(number: int, scenes: Sequence[_Scene], end_s: float) -> str:
    """How long each scene took, as a bar that leads to it."""
    ends = [*(scene.at_s for scene in scenes[1:]), end_s]
    parts = "".join(
        f'<a href="#s{number}-{index}" style="flex-grow:{max(end - scene.at_s, 0.1):.1f}" '
        f'title="{html.escape(scene.title)}: {end - scene.at_s:.1f} s"><span>{html.escape(scene.title)}</span></a>'
        for index, (scene, end) in enumerate(zip(scenes, ends, strict=True))
    )
    return f"<nav>{parts}</nav>"


def _scene(name: str, scene: _Scene) -> str:
    words = "".join(f"<p>{_marked(line.strip())}</p>" for line in scene.words)
    return (
        f'<li id="{name}"><div class="when">{scene.at_s:.1f} s</div><div class="what">'
        f"<h3>{html.escape(scene.title)}</h3>{words}{_sides(scene.sides)}</div></li>"
    )


def _marked(words: str) -> str:
    """Commands, states, keys and znodes in the letters of a terminal."""
    return _CODE.sub(lambda found: f"<code>{found[0].strip('`')}</code>", html.escape(words))


def _sides(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><th>{html.escape(row.kind)}</th><td>{html.escape(row.zookeeper)}</td>"
        f'<td class="sign">{"=" if row.verdict.startswith("equal") else ""}</td><td>{html.escape(row.log)}</td>'
        f'<td class="verdict">{html.escape(row.verdict)}</td></tr>'
        for row in rows
    )
    return (
        "<table><thead><tr><th></th><th>ZooKeeper</th><th></th><th>quorum</th><th></th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


_CODE: Final = re.compile(r"`[^`]+`|\b[A-Z]{2,}(?:_[A-Z]+)+\b|\bzookeeper\.[a-z.]+\b|(?<!\S)/controller\b")

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A cluster moves from ZooKeeper to a quorum</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --mark: #1b8a5f; --card: #fff; --back: #f4f5f6; }
@media (prefers-color-scheme: dark) { :root { --mark: #4cc38a; --card: #1d2023; --back: #131517; } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 58rem; margin: 0 auto; padding: 2rem 1rem 4rem;
  background: var(--back); }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; }
h3 { margin: 0; font-size: 1.05rem; }
p { margin: .35rem 0; }
code { font: .88em ui-monospace, monospace; background: var(--soft); border-radius: 4px; padding: .08em .35em; }
nav { display: flex; gap: 2px; border-radius: 8px; overflow: hidden; margin-bottom: 1rem; }
nav a { flex: 0 1 0; min-width: .7rem; padding: .3rem .4rem; background: var(--mark); opacity: .75; color: #fff;
  font-size: .78rem; text-decoration: none; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
nav a:nth-child(even) { opacity: .55; }
nav a:hover { opacity: 1; }
ol { list-style: none; margin: 0; padding: 0; }
li { display: flex; gap: 1rem; margin: .7rem 0; scroll-margin-top: 1rem; }
li:target .what { border-color: var(--mark); }
.when { flex: 0 0 4.2rem; text-align: right; padding-top: .85rem; opacity: .65; font-variant-numeric: tabular-nums; }
.what { flex: 1; min-width: 0; background: var(--card); border: 1px solid var(--soft);
  border-left: 4px solid var(--mark); border-radius: 8px; padding: .8rem 1.1rem; }
table { border-collapse: collapse; margin: .7rem 0 .2rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid var(--soft); }
thead th { font-size: .85rem; font-weight: 600; opacity: .75; border-color: var(--line); }
tbody th { text-align: left; font-weight: 500; padding-left: 0; }
.sign { padding: 0; color: var(--mark); font-weight: 700; }
.verdict { text-align: left; color: var(--mark); font: .85em ui-monospace, monospace; }
@media (max-width: 40rem) { li { display: block; } .when { text-align: left; } nav span { display: none; } }
</style></head><body>
<h1>A cluster moves from ZooKeeper to a quorum, and another one goes back</h1>
<p>Told by <code>quorate migrate demo</code> in %TOOK% s: a ZooKeeper server, three brokers, three controllers, all of
them processes, and a client that never stopped changing a config and reading the topics. The bars show how long each
scene took; the tables show both sides next to each other, with the digest of what they say.</p>
%CHAPTERS%
</body></html>
"""
