"""What is left of a quorum: which log is the longest, what a choice loses, and the directory that is made of it."""

import json
import random
import re
import shutil

import attrs
import pytest

from quorate.admin import recovering, restoring
from quorate.admin.comparing_logs import compare
from quorate.admin.entry import main
from quorate.admin.errors import Refused, WrongUsage
from quorate.admin.exporting import exported
from quorate.admin.offline_log import LogFiles
from quorate.admin.verifying import verify_directory
from quorate.metadata.addresses import Address
from quorate.metadata.connection import Failure, FailureKind
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch, uuid_to_text
from quorate.metadata.image.writer import digest
from quorate.metadata.log.directory import (
    FormatPlan,
    InitialVoter,
    Quorum,
    describe_directory,
    discard_copy,
    format_directory,
    open_directory,
)
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import DirectoryLock
from quorate.metadata.log.layout import BOOTSTRAP
from quorate.metadata.log.new_quorum import OFFSETS_SKIPPED
from quorate.metadata.log.refusals import AlreadyFormatted
from quorate.metadata.quorum.recoveries import EPOCHS_SKIPPED
from quorate.metadata.records import BeginTransactionRecord, NoOpRecord
from tests.admin.command import check_golden, quorate
from tests.admin.disks import CLUSTER, Disk, topic

_CLOSED_PORT = 9  # discard: nobody listens on it here


@pytest.fixture
def disks(tmp_path):
    """One log, and another that agrees with it up to offset 6 and goes on otherwise, longer, in a lower epoch."""
    one = Disk(tmp_path / "one", port=_CLOSED_PORT)
    other = Disk.twin(one, tmp_path / "other")
    one.lead(3)
    one.write([topic("kept")])
    other.lead(2)
    other.write([topic("gone"), topic("gone too")])
    other.write([NoOpRecord()])
    return one, other


def _broker(disk, path):
    """The same log as a broker would hold it."""
    made = Disk.twin(disk, path)
    (path / BOOTSTRAP).unlink()
    return made


def test_logs_part_where_their_batches_differ(disks):
    one, other = disks
    found = compare(one.path, other.path)

    assert found.at == OffsetAndEpoch(Offset(6), Epoch(1))
    assert (found.compared_from, found.diverge, found.same) == (0, True, False)
    assert (found.left.first, found.left.end, found.left.epochs) == (6, 8, (3,))
    assert found.left.types == {"LEADER_CHANGE_RECORD": 1, "TOPIC_RECORD": 1}
    assert found.right.types == {"LEADER_CHANGE_RECORD": 1, "TOPIC_RECORD": 2, "NO_OP_RECORD": 1}
    assert found.right.data_count == 2


def test_a_log_that_merely_ends_earlier_does_not_diverge(disks, tmp_path):
    one, _ = disks
    more = Disk.twin(one, tmp_path / "more")
    more.write([topic("new")])
    found = compare(one.path, more.path)

    assert (found.at.offset, found.left.count, found.right.count, found.diverge) == (8, 0, 1, False)
    assert compare(one.path, one.path).same


def test_a_log_that_begins_behind_the_others_end_cannot_be_compared(disks, tmp_path):
    one, _ = disks
    short = Disk(tmp_path / "short", batches=(), port=_CLOSED_PORT)
    saved = restoring.write_backup(tmp_path / "backup", CLUSTER, LogFiles.at(one.path).image(), None)
    restored = _restore(saved, tmp_path / "restored")
    found = compare(restored.directory, short.path)

    assert found.compared_from is None
    assert (found.at.offset, found.same, found.right.count) == (1, False, 0)
    assert (found.left.first, found.left.end) == (restored.snapshot_id.offset, restored.snapshot_id.offset)


def test_the_last_epoch_counts_more_than_the_length(disks):
    one, other = disks
    shown = recovering.look_at([other.path, one.path])

    assert other.path != one.path
    assert recovering.longest(shown).directory == one.path


def test_what_a_choice_loses(disks, tmp_path):
    one, other = disks
    broker = _broker(other, tmp_path / "broker")
    shown = recovering.look_at([one.path, other.path, broker.path])
    choice = recovering.choose(shown, None, epoch_above=0)

    assert [each.acknowledged for each in choice.against] == [False, True]
    assert set(choice.stray.values()) == {"gone", "gone too"}
    assert choice.epoch == 3 + EPOCHS_SKIPPED
    assert recovering.choose(shown, None, epoch_above=70).epoch == 70 + EPOCHS_SKIPPED
    the_other = recovering.choose(shown, other.path, epoch_above=0)
    assert set(the_other.stray.values()) == {"kept"}
    assert the_other.epoch == 3 + EPOCHS_SKIPPED, "no epoch that any log knows is used again"


def test_a_brokers_log_is_evidence_and_no_choice(disks, tmp_path):
    one, other = disks
    broker = _broker(other, tmp_path / "broker")
    with pytest.raises(Refused, match="cannot be chosen"):
        recovering.choose(recovering.look_at([one.path, broker.path]), broker.path, 0)
    with pytest.raises(Refused, match="no controller's log"):
        recovering.look_at([broker.path])
    with pytest.raises(WrongUsage, match="not shown"):
        recovering.choose(recovering.look_at([one.path]), other.path, 0)


def test_a_damaged_directory_is_told_and_not_chosen(disks):
    one, other = disks
    (one.path / "quorum-state").write_text("{}")
    content = bytearray(one.segment.read_bytes())
    content[60] ^= 0x40
    one.segment.write_bytes(content)
    shown = recovering.look_at([one.path, other.path])

    assert [each.problem is None for each in shown] == [False, True]
    assert recovering.longest(shown).directory == other.path


def test_a_running_controller_is_a_refusal(disks):
    one, other = disks
    lock = DirectoryLock.take(RealFiles(), other.path)
    try:
        with pytest.raises(Refused, match="A controller runs"):
            recovering.check_nobody_runs(recovering.look_at([one.path, other.path]))
    finally:
        lock.release()
    recovering.check_nobody_runs(recovering.look_at([one.path, other.path]))


def _recover(disk, *others, into=None):
    shown = recovering.look_at([disk.path, *(other.path for other in others)])
    choice = recovering.choose(shown, disk.path, 0)
    return choice, recovering.recover(choice, into, random.Random(2))


def test_the_recovered_directory_is_a_quorum_of_one(disks):
    one, other = disks
    before = {path.name: path.read_bytes() for path in one.path.iterdir() if path.name != ".lock"}
    image = LogFiles.at(one.path).image()
    choice, done = _recover(one, other)

    kept = {path.name: path.read_bytes() for path in done.aside.iterdir() if path.name != ".lock"}
    assert kept == before, "the old directory is as it was, under another name"
    verify_directory(done.directory)
    info = describe_directory(done.directory)
    voters = info.voters
    assert voters.ids == (1,)
    assert voters.key(NodeId(1)).directory_id == info.meta.directory_id
    assert info.meta.directory_id != choice.info.meta.directory_id, (
        "nobody takes an old copy for the new voter"
    )
    assert info.meta.recovery_id == done.record.recovery_id
    assert (info.election.epoch, info.election.leader_id) == (choice.epoch, 1)
    assert info.log.end == OffsetAndEpoch(Offset(12), choice.epoch)
    after = LogFiles.at(done.directory).image()
    assert after.recoveries == (done.record,)
    assert attrs.evolve(after, recoveries=()).same_metadata(image)
    assert done.record.digest == digest(image)
    assert len(done.record.shown) == 2


def test_into_leaves_the_chosen_directory_where_it_is(disks, tmp_path):
    one, _ = disks
    _, done = _recover(one, into=tmp_path / "new")

    assert done.aside is None
    assert describe_directory(one.path).meta.recovery_id is None
    with pytest.raises(AlreadyFormatted, match="lies in the directory already"):
        _recover(one, into=tmp_path / "new")


def test_a_transaction_that_nobody_will_end_does_not_hide_the_audit_record(disks):
    one, _ = disks
    one.write([BeginTransactionRecord(name="half")])
    one.write([topic("never")])
    _, done = _recover(one)
    image = LogFiles.at(done.directory).image()

    assert image.recoveries == (done.record,)
    assert "never" not in set(image.topics.names())


def test_a_second_recovery_names_the_first(disks):
    one, _ = disks
    _, first = _recover(one)
    again = recovering.choose(recovering.look_at([one.path]), None, 0)
    second = recovering.recover(again, None, random.Random(3))

    assert second.record.previous_recovery_id == first.record.recovery_id
    assert second.record.epoch == first.record.epoch + EPOCHS_SKIPPED


def test_an_observer_throws_its_copy_away(disks):
    one, _ = disks
    with one.opened() as log:
        one.snapshot(log, 6, [topic("a")])
    recovery_id = describe_directory(one.path).meta.directory_id
    discard_copy(one.path, recovery_id)
    opened = open_directory(one.path, node_id=NodeId(1), is_controller=True)
    summary = opened.log.summary()
    opened.close()

    assert opened.meta.recovery_id == recovery_id
    assert (summary.end.offset, summary.snapshots, summary.control) == (0, (), ())
    assert opened.election.epoch == 3, "what it has voted is not forgotten"


def test_an_export_is_whole(disks):
    one, _ = disks
    lines = list(exported(one.path, describe_directory(one.path)))

    assert [lines[0]["kind"], lines[-1]["kind"]] == ["directory", "end"]
    assert [line["offset"] for line in lines[1:-1]] == list(range(8))
    assert lines[-1]["records"] == 8
    assert lines[-1]["image_digest"] == digest(LogFiles.at(one.path).image()).hex()


def test_an_export_begins_with_the_newest_snapshot(disks):
    one, _ = disks
    records = [record for batch in LogFiles.at(one.path).batches() for record in batch.records()]
    with one.opened() as log:
        one.snapshot(log, 6, [record for record in records[1:6] if not isinstance(record, NoOpRecord)])
    lines = list(exported(one.path, describe_directory(one.path)))

    assert [line["kind"] for line in lines[1:-1]] == ["snapshot"] * 6 + ["record"] * 2
    assert lines[-1]["image_digest"] == digest(LogFiles.at(one.path).image()).hex()


# --- backups


@pytest.fixture
def backup(disks, tmp_path):
    one, _ = disks
    path = tmp_path / "backup"
    return path, restoring.write_backup(path, CLUSTER, LogFiles.at(one.path).image(), None)


def _restore(found, directory, node_id=1, **wanted):
    given = {
        "endpoint": Endpoint("CONTROLLER", "localhost", 9090 + node_id),
        "initial": (),
        "cluster_id": None,
        "epoch_above": 0,
        "rng": random.Random(node_id),
    }
    return restoring.restore(found, directory=directory, node_id=NodeId(node_id), **(given | wanted))


def test_a_backup_holds_what_the_cluster_held(backup, disks):
    path, saved = backup

    assert restoring.read_backup(path) == saved
    assert saved.image.same_metadata(LogFiles.at(disks[0].path).image())
    with pytest.raises(Refused, match="exists already"):
        restoring.write_backup(path, "x", saved.image, None)


@pytest.mark.parametrize("place", [-1, -200, 30, 300])
def test_a_changed_byte_in_a_backup_is_found(backup, place):
    path, _ = backup
    content = bytearray(path.read_bytes())
    content[place] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(Refused, match="no backup that could be restored"):
        restoring.read_backup(path)


def test_a_backup_that_was_cut_off_is_found(backup):
    path, _ = backup
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Refused, match="SHA-256"):
        restoring.read_backup(path)


def test_a_restored_directory_starts_far_behind_the_backup(backup, tmp_path):
    _, saved = backup
    done = _restore(saved, tmp_path / "restored", epoch_above=40)
    verify_directory(done.directory)
    info = describe_directory(done.directory)

    assert done.snapshot_id.offset == saved.snapshot_id.offset + OFFSETS_SKIPPED
    assert done.snapshot_id.epoch == 40 + EPOCHS_SKIPPED
    assert info.log.end == done.snapshot_id
    assert info.voters.ids == (1,)
    image = LogFiles.at(done.directory).image()
    assert image.recoveries == (done.record,)
    assert attrs.evolve(image, recoveries=()).same_metadata(saved.image)


def test_several_restored_voters_hold_the_same_bytes(backup, tmp_path):
    _, saved = backup
    ids = [uuid_to_text(describe_directory(path).meta.directory_id) for path in _formatted(tmp_path, 2)]
    initial = [InitialVoter.parse(f"{n + 1}@localhost:{9091 + n}:{text}") for n, text in enumerate(ids)]
    made = [_restore(saved, tmp_path / f"restored-{n}", n, initial=initial) for n in (1, 2)]

    assert made[0].record == made[1].record
    name = f"{made[0].snapshot_id.offset:020}-{made[0].snapshot_id.epoch:010}.checkpoint"
    first, second = ((tmp_path / f"restored-{n}" / name).read_bytes() for n in (1, 2))
    assert first == second
    assert describe_directory(made[1].directory).voters.ids == (1, 2)


def _formatted(tmp_path, count):
    for n in range(count):
        path = tmp_path / f"ids-{n}"
        plan = FormatPlan(
            directory=path,
            cluster_id=CLUSTER,
            node_id=NodeId(n),
            listener="CONTROLLER",
            is_controller=True,
            quorum=Quorum.NONE,
        )
        format_directory(plan, random.Random(n))
        yield path


# --- what the commands say


@pytest.fixture
def said(tmp_path, monkeypatch):
    def run(*words):
        ran = quorate(*words, cwd=tmp_path)
        text = f"exit code {ran.code}\n{ran.out}{ran.err}".replace(str(tmp_path), "DIR")
        text = re.sub(r"[0-9a-f]{66}", "DIGEST", text)
        return re.sub(r"(recovered-|before-|[Rr]ecovery id )[\w-]{22}", r"\1ID", text)

    return run


def test_the_report_of_a_recovery(disks, said, tmp_path):
    _broker(disks[1], tmp_path / "broker")
    check_golden("recover-report", said("storage", "recover", "one", "other", "broker", "--dry-run"))


def test_a_recovery_and_what_comes_next(disks, said):
    check_golden("recover-done", said("storage", "recover", "one", "--yes"))


def test_a_recovery_is_not_made_unasked(disks, said, tmp_path):
    check_golden("error-recover-unasked", said("storage", "recover", "one"))
    assert [path.name for path in tmp_path.iterdir() if "before" in path.name] == []


def test_a_recovery_of_what_is_none(said, tmp_path, disks):
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    check_golden("error-recover-nothing", said("storage", "recover", "empty"))
    check_golden("error-recover-not-shown", said("storage", "recover", "one", "--from", "empty", "--yes"))


def test_two_logs_that_diverge(disks, said):
    check_golden("log-diff", said("log", "diff", "one", "other"))
    check_golden("log-diff-same", said("log", "diff", "one", "one"))


def test_several_directories_are_verified(disks, said, tmp_path):
    (tmp_path / "other" / "quorum-state").unlink()
    text = said("log", "verify", "other", "one")
    assert text.startswith("exit code 1\nother: NOT GOOD\n")
    assert "\none: node 1 of cluster" in text
    assert "1 of 2 directories cannot be trusted." in text


def test_documents_of_a_recovery(disks, capsys):
    one, other = disks
    assert main(["storage", "recover", str(one.path), str(other.path), "--dry-run", "--output", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["comparisons"][0]["part_at"] == {"offset": 6, "epoch": 1}
    assert report["recovery_id"] is None
    assert main(["log", "diff", str(one.path), str(other.path), "--output", "json"]) == 10
    assert json.loads(capsys.readouterr().out)["parting"]["diverge"] is True


@pytest.mark.parametrize("kind", [FailureKind.RESET, FailureKind.NOT_KAFKA, FailureKind.NOT_LET_IN])
def test_who_takes_the_connection_and_cannot_be_asked_is_not_taken_for_dead(kind: FailureKind) -> None:
    """A controller that wants TLS or a login may be alive, and lead."""
    answers = {NodeId(1): Failure(kind=kind, written=False, text="it wants TLS")}

    with pytest.raises(Refused, match="cannot be asked") as refusal:
        recovering.check_who_cannot_be_asked(answers, {NodeId(1): Address("h", 1)})
    assert "it wants TLS" in str(refusal.value)
    assert "--command-config" in str(refusal.value)


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.UNREACHABLE, FailureKind.TIMED_OUT])
def test_who_does_not_take_it_does_not_stop_a_recovery(kind: FailureKind) -> None:
    answers = {NodeId(1): Failure(kind=kind, written=False, text="nothing listens")}

    recovering.check_who_cannot_be_asked(answers, {NodeId(1): Address("h", 1)})
