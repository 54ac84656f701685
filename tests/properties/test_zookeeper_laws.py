"""Laws of the ZooKeeper tree: whatever is asked of it, in whatever order."""

import contextlib
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.zookeeper.acls import OPEN, READ_ONLY, Acl
from quorate.metadata.zookeeper.draft import SetAcl, Write
from quorate.metadata.zookeeper.journal_format import END, ROWS, SESSIONS, group, scan, snapshot_frames
from quorate.metadata.zookeeper.jute import Reader, Writer
from quorate.metadata.zookeeper.paths import child_of, parent_of
from quorate.metadata.zookeeper.records import read_nodes, read_sessions, write_transaction
from quorate.metadata.zookeeper.snapshot import SnapshotDrawing
from quorate.metadata.zookeeper.state import Committed, ServerState
from quorate.metadata.zookeeper.transactions import Transaction
from quorate.metadata.zookeeper.tree import copy_of
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    MultiFailed,
    SetData,
    ZooKeeperError,
)

SESSIONS_HERE: Final = (1, 2)
State = ServerState[Any]

paths = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
data = st.sampled_from([None, b"", b"x", b"yy"])
versions = st.sampled_from([-1, -1, -1, 0, 1])
ops: st.SearchStrategy[Any] = st.one_of(
    st.builds(Create, paths, data, st.booleans(), st.booleans()),
    st.builds(Create, paths, data),
    st.builds(SetData, paths, data, versions),
    st.builds(Delete, paths, versions),
    st.builds(Check, paths, versions),
)
set_acls = st.builds(SetAcl, paths, st.sampled_from([OPEN, READ_ONLY, (Acl(30, "world", "anyone"),)]))
writes = st.tuples(
    st.sampled_from(SESSIONS_HERE),
    st.one_of(st.one_of(ops, set_acls).map(lambda op: [op]), st.lists(ops, max_size=4)),
)
scripts = st.lists(st.one_of(writes, st.just("end")), max_size=40)


def begun() -> State:
    state: State = ServerState()
    for session in SESSIONS_HERE:
        state.open_session(session, 4000, b"p", now_ms=0, time_ms=1)
    return state


def play(state: State, script: Sequence[Any]) -> list[Transaction]:
    """What was committed. `end`: the second session ends and begins again."""
    done: list[Transaction] = []
    for step in script:
        if step == "end":
            done.append(state.close_session(2, time_ms=7).transaction)
            done.append(state.open_session(2, 4000, b"q", now_ms=0, time_ms=8).transaction)
            continue
        session, asked = step
        with contextlib.suppress(ZooKeeperError):
            done.append(write(state, session, asked).transaction)
    return done


def write(state: State, session: int, asked: Sequence[Write]) -> Committed[Any]:
    time_ms = 100 + state.last_zxid
    if len(asked) == 1:
        return state.write(session, asked[0], time_ms=time_ms)
    return state.multi(session, asked, time_ms=time_ms)


def picture(state: State) -> object:
    nodes = {
        path: (node.data, node.stat(), node.creates, node.stored_acl)
        for path, node in state.tree.nodes.items()
    }
    sessions = {one.id: (one.timeout_ms, one.password) for one in state.sessions.sessions.values()}
    return nodes, sessions, {owner: set(mine) for owner, mine in state.tree.owned.items()}, state.last_zxid


def twin(state: State) -> State:
    other: State = ServerState(copy_of(state.tree), last_zxid=state.last_zxid)
    for one in state.sessions.sessions.values():
        other.sessions.add(one.id, one.timeout_ms, one.password, 0)
    return other


@given(scripts)
def test_replaying_the_journal_gives_the_tree(script: Sequence[Any]) -> None:
    """Through its bytes."""
    state = begun()
    done = play(state, script)
    journal = b""
    for transaction in done:
        writer = Writer()
        write_transaction(writer, transaction)
        journal += group(transaction.zxid - 1, writer.done())
    found = scan(journal)
    assert (found.transactions, found.end, found.torn) == (done, len(journal), None)

    again = begun()
    for transaction in found.transactions:
        again.replay(transaction)
    assert picture(again) == picture(state)


@given(scripts)
def test_the_tree_is_a_tree(script: Sequence[Any]) -> None:
    state = begun()
    play(state, script)

    nodes = state.tree.nodes
    for path, node in nodes.items():
        children = state.tree.children(path)
        assert node.stat().num_children == len(children)
        assert len(children) <= node.creates or path in (
            "/",
            "/zookeeper",
        )  # these have some that nobody made
        assert all(child_of(path, name) in nodes for name in children)
        assert path == "/" or path.rpartition("/")[2] in state.tree.children(parent_of(path))
        assert not (node.owner and children)
        assert (path in state.tree.owned.get(node.owner, ())) is bool(node.owner)
        assert node.czxid <= min(node.mzxid, node.pzxid)
        assert max(node.mzxid, node.pzxid) <= state.last_zxid
        assert (node.version == 0) is (node.mzxid == node.czxid) or node.version > 0


@given(scripts, st.sampled_from(SESSIONS_HERE), st.lists(ops, min_size=1, max_size=5))
def test_a_multi_is_its_ops_one_after_the_other_or_nothing(
    script: Sequence[Any], session: int, asked: Sequence[Any]
) -> None:
    state = begun()
    play(state, script)
    one_by_one = twin(state)
    failure = None
    for index, op in enumerate(asked):
        try:
            one_by_one.write(session, op, time_ms=5)
        except ZooKeeperError as e:
            failure = (index, e.code, e.path)
            break
    before = picture(state)
    if failure is not None:
        with pytest.raises(MultiFailed) as failed:
            state.multi(session, asked, time_ms=5)
        assert (failed.value.index, failed.value.code, failed.value.path) == failure
        assert picture(state) == before
    else:
        state.multi(session, asked, time_ms=5)
        assert state.last_zxid == one_by_one.last_zxid - len(asked) + 1
        assert _without_zxids(state) == _without_zxids(one_by_one)


def _without_zxids(state: State) -> object:
    return {
        path: (
            node.data,
            node.version,
            node.creates,
            node.owner,
            node.ctime,
            node.mtime,
            set(node.children or ()),
        )
        for path, node in state.tree.nodes.items()
    }


@given(scripts)
def test_zxids_count_what_was_done_and_nothing_else(script: Sequence[Any]) -> None:
    state = begun()
    first = state.last_zxid
    done = play(state, script)

    assert [transaction.zxid for transaction in done] == list(range(first + 1, state.last_zxid + 1))


@given(scripts, scripts, st.integers(1, 5))
def test_a_snapshot_shows_the_moment_of_its_beginning(
    before: Sequence[Any], during: Sequence[Any], at_once: int
) -> None:
    state = begun()
    play(state, before)
    expected = picture(state)
    drawing = SnapshotDrawing(state)
    file = b""
    left = list(during)
    while (part := drawing.next_frame(at_once)) is not None:
        file += part
        play(state, left[:8])
        del left[:8]

    nodes: dict[str, Any] = {}
    sessions: dict[int, tuple[int, bytes]] = {}
    for kind, rows in snapshot_frames(file):
        if kind == ROWS:
            nodes.update(read_nodes(Reader(rows)))
        elif kind == SESSIONS:
            sessions.update(
                {one: (timeout, password) for one, timeout, password in read_sessions(Reader(rows))}
            )
        else:
            assert kind == END
    drawn: State = ServerState(type(state.tree)(nodes), last_zxid=drawing.zxid)
    for one, (timeout, password) in sessions.items():
        drawn.sessions.add(one, timeout, password, 0)
    assert picture(drawn) == expected


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_a_journal_cut_anywhere_loses_its_end_alone(payloads: list[bytes], drawn: st.DataObject) -> None:
    state = begun()
    groups = []
    for index, payload in enumerate(payloads):
        writer = Writer()
        write_transaction(writer, state.write(1, Create(f"/{index}", payload), time_ms=1).transaction)
        groups.append(group(state.last_zxid - 1, writer.done()))
    whole = b"".join(groups)
    cut = drawn.draw(st.integers(0, len(whole)))

    found = scan(whole[:cut] + bytes(drawn.draw(st.integers(0, 50))))
    kept = 0
    while kept < len(groups) and sum(map(len, groups[: kept + 1])) <= cut:
        kept += 1
    assert len(found.transactions) >= kept  # more if what was cut off were zeros, and are there again
    assert found.end == sum(map(len, groups[: len(found.transactions)]))
