"""Which chapters are told in which cell."""

import pytest

from tests.e2e.java.differences import ELSEWHERE


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is compared in another cell; a parameter list that did so would start a cluster for each test."""
    left_out = [item for item in items if isinstance(item, pytest.Function) and _is_elsewhere(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_elsewhere(item: pytest.Function) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    chapter, cell = params.get("chapter"), params.get("cell", ())
    return any((getattr(chapter, "name", None), part) in ELSEWHERE for part in cell)
