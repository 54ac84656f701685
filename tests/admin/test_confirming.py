"""A question on a terminal: what is about to happen is shown first, and anything but yes leaves all as it is."""

import os
import pty
import subprocess
import sys

import pytest

from tests.admin.command import environment
from tests.admin.disks import Disk

_CLOSED_PORT = 9  # discard: nobody listens on it here


@pytest.mark.parametrize(("answer", "code", "asides"), [("n", 1, 0), ("y", 0, 1)])
def test_a_recovery_asks_on_a_terminal(tmp_path, answer, code, asides):
    Disk(tmp_path / "one", port=_CLOSED_PORT)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, "-P", "-m", "quorate.admin", "storage", "recover", str(tmp_path / "one")],
            stdin=theirs,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.returncode == code, done.stderr
    assert "Lives on: " in done.stderr
    assert len([path for path in tmp_path.iterdir() if "before" in path.name]) == asides
    assert ("Made a quorum of one" in done.stdout) is bool(asides)
