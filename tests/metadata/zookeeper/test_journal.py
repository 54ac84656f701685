"""Journal and snapshots on disk: what a crash leaves, what is mended and what is refused."""

import random
from pathlib import Path
from typing import Any, Final

import pytest

from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import DirectoryLocked
from quorate.metadata.zookeeper.journal import Journal, JournalRefused, open_journal
from quorate.metadata.zookeeper.journal_format import frame, frame_at, scan
from quorate.metadata.zookeeper.snapshot import SnapshotDrawing
from quorate.metadata.zookeeper.state import ServerState
from quorate.metadata.zookeeper.znodes import Create, Delete, Op, SetData

SESSION: Final = 5


class Bench:
    """A journal that is kept as a server keeps it, without the server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.open()
        self.write_session()

    def open(self) -> None:
        self.journal: Journal
        self.state: ServerState[Any]
        self.journal, self.state, self.found = open_journal(self.directory)

    def write_session(self) -> None:
        done = self.state.open_session(SESSION, 4000, b"password", now_ms=0, time_ms=1)
        self.journal.append(done.transaction)

    def do(self, *ops: Op, flush: bool = True) -> None:
        for op in ops:
            self.journal.append(self.state.write(SESSION, op, time_ms=2).transaction)
        if flush:
            self.flush()

    def flush(self) -> None:
        self.journal.seal()
        self.journal.flush()

    def reopen(self) -> None:
        self.journal.close()
        self.open()

    def snapshot(self) -> None:
        self.journal.roll()
        drawing = SnapshotDrawing(self.state)
        file = self.journal.open_snapshot()
        write_parts(drawing, file)
        self.journal.finish_snapshot(file, drawing.zxid)

    def picture(self) -> object:
        return picture(self.state)

    @property
    def newest(self) -> Path:
        return max(self.directory.glob("journal.*"))


def write_parts(drawing: SnapshotDrawing, file: Any) -> None:
    position = 0
    while (part := drawing.next_frame(3)) is not None:
        file.pwritev([part], position)
        position += len(part)


def picture(state: ServerState[Any]) -> object:
    nodes = {
        path: (node.data, node.stat(), node.creates, node.stored_acl)
        for path, node in state.tree.nodes.items()
    }
    sessions = {one.id: (one.timeout_ms, one.password) for one in state.sessions.sessions.values()}
    return nodes, sessions, state.tree.owned, state.last_zxid


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "zk")


def test_what_was_flushed_comes_back(bench: Bench) -> None:
    bench.do(Create("/a", None), Create("/a/b", b""), Create("/a/e", b"x", ephemeral=True))
    bench.do(SetData("/a", b"y"), Create("/a/n", sequential=True), Delete("/a/b"))
    before = bench.picture()
    bench.reopen()

    assert bench.picture() == before
    assert (bench.found.snapshot_zxid, bench.found.transactions, bench.found.notes) == (0, 7, ())
    bench.do(Create("/more"))
    bench.reopen()
    assert "/more" in bench.state.tree.nodes


def test_what_was_not_flushed_is_gone(bench: Bench) -> None:
    bench.do(Create("/a"))
    bench.do(Create("/b"), flush=False)
    bench.reopen()

    assert "/a" in bench.state.tree.nodes
    assert "/b" not in bench.state.tree.nodes


def test_a_directory_has_one_process(bench: Bench) -> None:
    with pytest.raises(DirectoryLocked):
        open_journal(bench.directory)


class TestTornTails:
    @pytest.mark.parametrize("cut", [1, 5, 11, 20])
    def test_a_half_written_group_is_cut_off_and_told(self, bench: Bench, cut: int) -> None:
        bench.do(Create("/a"))
        before, end = bench.picture(), self.end(bench)
        bench.do(Create("/b"), Create("/c"))
        with bench.newest.open("r+b") as file:
            file.truncate(end + cut)
        bench.reopen()

        assert bench.picture() == before
        assert len(bench.found.notes) == 1
        bench.do(Create("/d"))
        bench.reopen()
        assert bench.found.notes == ()
        assert "/d" in bench.state.tree.nodes

    def test_unflushed_groups_in_any_order(self, bench: Bench) -> None:
        """The kernel may write a later page first: a whole group behind a lost one, neither ever acknowledged."""
        bench.do(Create("/a"))
        before, end = bench.picture(), self.end(bench)
        bench.do(Create("/b"))
        middle = self.end(bench)
        bench.do(Create("/c"))
        data = bytearray(bench.newest.read_bytes())
        # as if /c had been written before anybody knew that /b was on disk
        payload = frame_at(bytes(data), middle)
        assert payload is not None
        ignorant = frame((bench.state.last_zxid - 2).to_bytes(8, "big") + payload[8:])
        data[middle : middle + len(ignorant)] = ignorant
        data[end:middle] = bytes(middle - end)
        bench.newest.write_bytes(data)
        bench.reopen()

        assert bench.picture() == before
        assert len(bench.found.notes) == 1

    @pytest.mark.parametrize("byte", [0, 4, 8, 12, 30])
    def test_damage_of_what_was_acknowledged_is_refused(self, bench: Bench, byte: int) -> None:
        start = self.end(bench)
        bench.do(Create("/a"))
        bench.do(Create("/b"))
        data = bytearray(bench.newest.read_bytes())
        data[start + byte] ^= 0xFF
        bench.newest.write_bytes(data)
        bench.journal.close()

        with pytest.raises(JournalRefused, match=f"(?s)acknowledged are lost.*byte {start}") as refused:
            open_journal(bench.directory)
        assert "quorate zookeeper dump" in str(refused.value)

    @staticmethod
    def end(bench: Bench) -> int:
        bench.flush()
        data = bench.newest.read_bytes()
        return scan(data).end


class TestSnapshots:
    def test_replace_the_journal_before_them(self, bench: Bench) -> None:
        bench.do(*(Create(f"/{index}") for index in range(20)), Create("/e", ephemeral=True))
        bench.snapshot()
        bench.do(Create("/after"))
        before = bench.picture()
        bench.reopen()

        assert bench.picture() == before
        assert (bench.found.snapshot_zxid, bench.found.transactions) == (22, 1)
        assert (
            len(list(bench.directory.glob("journal.*"))) == len(list(bench.directory.glob("snapshot.*"))) == 1
        )

    def test_show_one_moment_whatever_is_written_meanwhile(self, bench: Bench) -> None:
        """Everything that can change a znode, at a random moment of the drawing; the journal after it is lost."""
        rng = random.Random(3)
        bench.do(*(Create(f"/{index}", b"old") for index in range(40)))
        bench.do(Create("/0/child"), Create("/late"), Create("/late/child", b"old"))
        expected = bench.picture()
        bench.journal.roll()
        drawing = SnapshotDrawing(bench.state)
        file = bench.journal.open_snapshot()
        position, index = 0, 0
        while (part := drawing.next_frame(4)) is not None:
            file.pwritev([part], position)
            position += len(part)
            for _ in range(3):
                path = f"/{rng.randrange(1, 40)}"
                op = rng.choice(
                    [SetData(path, b"new"), Create(f"/new{index}"), Create("/0/n", sequential=True)]
                )
                index += 1
                bench.do(op)
            if index == 6:
                bench.do(Delete("/0/child"), Delete("/late/child"), Delete("/late"))
        bench.journal.finish_snapshot(file, drawing.zxid)
        newest = bench.newest
        after = bench.picture()
        bench.reopen()
        assert bench.picture() == after
        bench.journal.close()
        newest.unlink()
        bench.open()

        assert bench.picture() == expected

    def test_one_that_was_not_finished_is_nothing(self, bench: Bench) -> None:
        bench.do(Create("/a"))
        before = bench.picture()
        bench.journal.roll()
        drawing = SnapshotDrawing(bench.state)
        file = bench.journal.open_snapshot()
        first = drawing.next_frame(2)
        assert first is not None
        file.pwritev([first], 0)
        file.close()
        bench.reopen()

        assert bench.picture() == before

    def test_a_damaged_one_is_refused(self, bench: Bench) -> None:
        bench.do(Create("/a"))
        bench.snapshot()
        bench.journal.close()
        (path,) = bench.directory.glob("snapshot.*")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

        with pytest.raises(JournalRefused, match="newest snapshot is damaged"):
            open_journal(bench.directory)

    def test_a_missing_journal_is_a_hole(self, bench: Bench) -> None:
        bench.do(Create("/a"))
        first = bench.newest
        bench.journal.roll()
        bench.do(Create("/b"))
        bench.journal.close()
        first.unlink()

        with pytest.raises(JournalRefused, match="hole between zxid 0x0 and 0x3"):
            open_journal(bench.directory)


def test_the_files_bytes_are_for_ever(bench: Bench) -> None:
    """A journal that was written once must be readable always."""
    bench.do(Create("/a", b"x", ephemeral=True))
    data = bench.newest.read_bytes()[: scan(bench.newest.read_bytes()).end]

    assert RealFiles().names(bench.directory)[-1] == "journal.0000000000000000"
    assert data[:4] == b"QZK1"
    assert int.from_bytes(data[4:8], "big") == len(data) - 12
    assert data[12:].hex() == (
        "0000000000000000"  # nothing was on disk before
        "0000000000000001000000000000000100000000000000050000000106"
        "000000000000000500000fa00000000870617373776f7264"
        "0000000000000002000000000000000200000000000000050000000101"
        "000000022f61000000017800000001"
        "0000001f00000005776f726c6400000006616e796f6e65"
        "0000000000000005"
    )
