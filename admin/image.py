"""`quorate image`: the metadata as a tree to browse, on a disk or live, now or at an earlier offset."""

import json
from typing import Annotated, Any

import typer

from quorate.admin.errors import Refused
from quorate.admin.log_source import LogSource, reads_log
from quorate.admin.options import command_group
from quorate.admin.output import plural
from quorate.metadata.config_keys import is_sensitive
from quorate.metadata.ids import Offset
from quorate.metadata.image import tree
from quorate.metadata.image.image import MetadataImage

app = command_group("Browse the metadata as a tree.")

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH", help="Such as /topics/byName/orders; *, ? and [a-z] match names."),
]
OffsetOption = Annotated[
    int | None,
    typer.Option(
        "--offset", metavar="OFFSET", min=-1, help="The state behind this record, instead of the newest."
    ),
]


@app.command("ls")
@reads_log
async def ls(source: LogSource, path: PathsArgument = None, offset: OffsetOption = None) -> None:
    """Lists names; directories end in a slash."""
    image, found = await _find(source, path, offset)
    lines: list[str] = []
    for where, node in found:
        if len(found) > 1:
            lines.append(f"{where}:")
        lines += tree.ls(node) if isinstance(node, tree.Directory) else [where.rpartition("/")[2]]
    entries = [{"path": where, "names": tree.ls(node)} for where, node in found]
    source.printer.show({"offset": image.offset, "entries": entries}, *lines)


@app.command("cat")
@reads_log
async def cat(source: LogSource, path: PathsArgument = None, offset: OffsetOption = None) -> None:
    """Prints values; of a directory everything below, as one JSON object."""
    image, found = await _find(source, path, offset)
    entries = [{"path": where, "value": tree.cat(node)} for where, node in found]
    lines = [_value_text(entry["value"]) for entry in entries]
    source.printer.show({"offset": image.offset, "entries": entries}, *lines)


@app.command("tree")
@reads_log
async def show_tree(
    source: LogSource,
    path: PathsArgument = None,
    offset: OffsetOption = None,
    depth: Annotated[int | None, typer.Option(metavar="N", min=1, help="How many levels to show.")] = None,
) -> None:
    """Shows everything below a place, indented."""
    image, found = await _find(source, path, offset)
    lines: list[str] = []
    entries: list[dict[str, Any]] = []
    for where, node in found:
        lines.append(where if where == "/" or isinstance(node, tree.Leaf) else f"{where}/")
        nodes = list(tree.tree(node, depth))
        lines += [_tree_line(level + 1, name, value) for level, name, value in nodes]
        entries.append(
            {
                "path": where,
                "nodes": [{"level": level, "name": name, "value": value} for level, name, value in nodes],
            }
        )
    shown = sum(len(entry["nodes"]) for entry in entries)
    lines.append(f"{plural(shown, 'name')}, state behind offset {image.offset}")
    source.printer.show({"offset": image.offset, "entries": entries}, *lines)


async def _find(
    source: LogSource, paths: list[str] | None, offset: int | None
) -> tuple[MetadataImage, list[tuple[str, tree.Node]]]:
    with source.printer.progress("Reading the log"):
        image = await source.image(None if offset is None else Offset(offset))
    root = tree.browse(image, is_sensitive)
    found: list[tuple[str, tree.Node]] = []
    for path in paths or ["/"]:
        matched = list(tree.matching(root, path))
        if not matched:
            _refuse_path(root, path)
        found += matched
    return image, found


def _refuse_path(root: tree.Directory, path: str) -> None:
    try:
        tree.find(root, path)
    except tree.NoSuchPath as error:
        raise Refused(
            "There is no such place in the metadata.",
            why=str(error),
            remedy="`quorate image ls` shows what is there",
        ) from error


def _value_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _tree_line(level: int, name: str, value: Any) -> str:
    shown = "" if name.endswith("/") else f": {json.dumps(value, ensure_ascii=False)}"
    return f"{'  ' * level}{name}{shown}"
