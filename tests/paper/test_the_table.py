"""The page that says which rule is held by which test cannot rot."""

import ast
import pathlib
import re

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
_NOT_OURS = "does not apply: "


def rows() -> list[tuple[str, str]]:
    """(rule, what holds it)."""
    found = []
    for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells not in (["rule", "held by"], ["---", "---"]):
            rule, held_by = cells
            found.append((rule, held_by))
    return found


def names_in(path: pathlib.Path) -> set[str]:
    """The tests that pytest would find there."""
    found = ast.parse(path.read_text(encoding="utf-8")).body
    return {
        one.name
        for one in found
        if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name.lower().startswith("test")
    } | {
        target.id
        for one in found
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name) and target.id.startswith("Test")
    }


def ours() -> set[str]:
    paths = [path for path in HERE.glob("test_*.py") if path != pathlib.Path(__file__)]
    return {name for path in paths for name in names_in(path)}


def test_every_rule_has_a_test_or_a_reason() -> None:
    assert len(rows()) > 80
    bare = [rule for rule, held_by in rows() if "`" not in held_by and not held_by.startswith(_NOT_OURS)]
    assert bare == []


def test_every_test_that_the_page_names_exists() -> None:
    lost = []
    for _, held_by in rows():
        for scenario, name in re.findall(r"(scenario )?`([^`]+)`", held_by):
            path, _, test = name.rpartition("::")
            if scenario:
                known = (ROOT / "tests" / "scenarios" / f"{name}.txt").exists()
            elif test != name:
                known = (ROOT / path).exists() and test in names_in(ROOT / path)
            else:
                known = name in ours() or (ROOT / name).exists()
            if not known:
                lost.append(name)
    assert lost == []


def test_every_test_of_this_folder_is_on_the_page() -> None:
    named = {name for _, held_by in rows() for name in re.findall(r"`(test_[^`]+)`", held_by)}
    assert sorted(ours() - named) == []


def test_names_are_not_used_twice() -> None:
    """Else a row could mean either."""
    paths = list(HERE.glob("test_*.py"))
    assert sum(len(names_in(path)) for path in paths) == len(set().union(*map(names_in, paths)))
