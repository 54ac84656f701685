"""What holds for every file of this repository, whatever stands in it. The reasons are in CONTRIBUTING.md."""

import ast
import pathlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import pytest

ROOT: Final = pathlib.Path(__file__).parent.parent
PACKAGES: Final = ("metadata", "controller", "broker", "admin")

LINES_OF_A_FUNCTION: Final = 60
LINES_OF_A_FILE: Final = 660
LONGER: Final = {"admin/topics.py create_topics": 61}
"""Functions that were longer when the rule came, or are mostly the options of a command. This list only shrinks."""

_MACHINE: Final = (
    re.compile(r"(?<![\w.{}])/(?:work|opt/venv|home/\w+|root|Users)/"),
    re.compile(
        r"https?://[^\s/\"')]*(?:pypi|pythonhosted|npmjs|crates\.io|proxy\.golang|registry)\.?[\w.:-]*", re.I
    ),
    re.compile(r"--?(?:extra-)?index-url"),
)
_BINARY: Final = frozenset({".bin", ".log", ".checkpoint", ".gz", ".png", ".pcap"})


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _modules(*tops: str) -> list[pathlib.Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def _name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _tracked() -> list[pathlib.Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone, so nobody knows which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


OURS: Final = _modules(*PACKAGES)
ALL: Final = [
    *OURS,
    *_modules("benchmarks"),
    *(path for path in _modules("tests") if "artefacts" not in path.parts),
]


def test_the_package_list_is_the_tree() -> None:
    """A package that is missing there is missing from every installation, and no test would notice."""
    setuptools = _project()["tool"]["setuptools"]
    found = {path.parent.relative_to(ROOT).as_posix() for path in OURS}

    assert {"quorate." + folder.replace("/", ".") for folder in found} == set(setuptools["packages"])
    assert {f"quorate.{folder.replace('/', '.')}": folder for folder in found} == setuptools["package-dir"]
    assert [folder for folder in found if not (ROOT / folder / "__init__.py").exists()] == []


def test_package_data_is_all_that_is_no_code() -> None:
    declared = _project()["tool"]["setuptools"]["package-data"]
    globs = {package.removeprefix("quorate.").replace(".", "/"): names for package, names in declared.items()}
    data = [
        path
        for top in PACKAGES
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]

    assert data
    undeclared = [
        _name(path)
        for path in data
        if not any(path.match(name) for name in globs.get(path.parent.relative_to(ROOT).as_posix(), ()))
    ]
    assert undeclared == []


def test_every_module_says_what_lives_in_it() -> None:
    assert [_name(path) for path in OURS if not (ast.get_docstring(_tree(path)) or "").strip()] == []


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{_name(path)} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in ALL
        for function in _functions(_tree(path))
    }

    long = {name: length for name, length in lengths.items() if length > LINES_OF_A_FUNCTION}
    assert {name: length for name, length in long.items() if length > LONGER.get(name, 0)} == {}
    assert LONGER.keys() <= long.keys(), "one of them is short now: take it off the list"


def test_files_answer_one_question() -> None:
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}

    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FILE} == {}


def _pure() -> list[pathlib.Path]:
    """The files of the modules that pyproject.toml calls pure."""
    contracts = _project()["tool"]["importlinter"]["contracts"]
    (pure,) = [contract for contract in contracts if contract["name"].startswith("Pure code")]
    found = []
    for module in pure["source_modules"]:
        path = ROOT / module.removeprefix("quorate.").replace(".", "/")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return found


def test_pure_code_never_waits() -> None:
    pure = _pure()

    assert len(pure) > len(OURS) // 3
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [_name(path) for path in pure if any(isinstance(n, waiting) for n in ast.walk(_tree(path)))] == []


def _identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case (
                ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(asname=str(name))
            ):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)):
                yield name
            case _:
                pass


def test_words_are_krafts() -> None:
    """GLOSSARY.md: it is the epoch and the high watermark here, except where the Raft paper speaks."""
    foreign = re.compile(r"(?:^|_)(?:terms?|commit_index)(?:_|$)")

    modules = [path for path in ALL if "paper" not in path.parts]
    assert [
        f"{_name(path)} {name}"
        for path in modules
        for name in _identifiers(_tree(path))
        if foreign.search(name)
    ] == []


def test_nothing_depends_on_one_machine() -> None:
    """No path of somebody's disk, no host that packages come from."""
    here = pathlib.Path(__file__)
    found = []
    for path in _tracked():
        if path == here or path.suffix in _BINARY or "artefacts" in path.parts:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{_name(path)}: {hit.group()}" for pattern in _MACHINE for hit in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("see /" + "work/notes.md", True),
        ("see docs/work/notes.md", False),
        ('index = "https://' + "pypi" + '.org/simple"', True),
        ("https://kafka.apache.org/protocol", False),
        ("pip install --index-url x", True),
    ],
)
def test_what_depends_on_one_machine_is_recognised(line: str, is_found: bool) -> None:
    assert any(pattern.search(line) for pattern in _MACHINE) is is_found


def test_the_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    modules = [
        path
        for top in ("metadata", "controller", "broker")
        for path in (ROOT / top).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    names = {_name(path): path.name if path.suffix == ".py" else f"{path.name}/" for path in modules}

    assert len(names) > 50
    missing = [
        where
        for where, name in names.items()
        if not name.startswith("__") and not re.search(rf"(?<!\w){re.escape(name)}", text)
    ]
    assert missing == []
