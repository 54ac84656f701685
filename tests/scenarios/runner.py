"""Transcripts: a script, and below `----` everything that was said while it ran.

    python -m tests.scenarios.runner --rewrite      runs all scripts and writes what they say now; review the diff

Lines that begin with # say why the scenario exists. A script has one verb a line:

    nodes VOTERS [OBSERVERS]        formats them; `start N…` starts some, `start all` everybody
    run MS                          lets time pass; `run MS quietly` without its transcript
    propose N [COUNT]               a client writes through node N, which must lead
    kill N · restart N              kill -9, and the same disk again · wipe N: another disk
    pause N · resume N              SIGSTOP and SIGCONT · stop N: an orderly end
    cut A B · cut A to B · heal     messages lost both ways, one way, no more
    lose KIND A to B                requests of a kind (vote, begin, end, fetch, part) are lost, until `heal`
    late KIND MS · twice            they take so much longer; every request arrives a second time, 5 ms later
    parts BYTES                     snapshots are fetched in such parts
    luck N SEED                     what it draws from now on; two with the same seed draw the same
    stranger KIND N EPOCH O@E       99, which nobody knows, asks for a vote, pre-vote or fetch; its log ends at O@E
    reset A B                       the connections from A to B break; B lives
    snapshot N · low N · room N     a snapshot of what is committed; the disk is almost full, or has room again
    slow N MS                       its flushes take so long
    old N                           it does not speak Vote version 2
    spare N                         formats a controller that is no voter
    add N by L · remove N by L      an operator asks node L to add or remove a voter
    newdisk N                       formatted again as a spare, with another directory id · move N: has one more address
    recover N                       a quorum of one is made from the log of N, which is down
    autojoin N · elsewhere N        it makes itself a voter · is reached at another address, each from its next start on
    status                          role, epoch, leader, log end and high watermark of all
    read N                          a read arrives there, which must not be answered with anything stale
    voters N                        who votes, as N's log says
"""

import pathlib
import sys
from collections.abc import Iterator

from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from tests.scenarios.driver import Replica, World

HERE = pathlib.Path(__file__).parent
_RULE = "----"


def scenarios() -> list[pathlib.Path]:
    return sorted(HERE.glob("*.txt"))


def split(text: str) -> tuple[str, str]:
    """(script with its head, expected transcript)."""
    script, _, expected = text.partition(f"\n{_RULE}\n")
    return script, expected


def play(script: str) -> str:
    """The whole transcript."""
    world = World()
    said: list[str] = []
    for line in script.splitlines():
        verb = line.split("#", 1)[0].strip()
        if not verb:
            continue
        said.append(f"> {verb}")
        start = len(world.lines)
        answers = list(_do(world, verb.split()))
        if not verb.endswith("quietly"):
            said += world.lines[start:]
        said += answers
    return "\n".join(said) + "\n"


def _do(world: World, words: list[str]) -> Iterator[str]:
    verb, *rest = words

    def node(index: int = 0) -> Replica:
        return world.replicas[NodeId(int(rest[index]))]

    match verb:
        case "nodes":
            world.nodes(*(int(word) for word in rest))
        case "start":
            for one in world.replicas.values() if rest == ["all"] else map(node, range(len(rest))):
                one.start()
        case "run":
            world.run(int(rest[0]))
        case "propose":
            world.propose(node(), int(rest[1]) if len(rest) > 1 else 1)
        case "kill":
            node().die()
        case "restart":
            node().start()
        case "wipe":
            world.wipe(node())
        case "pause":
            world.pause(node())
        case "resume":
            world.resume(node())
        case "stop":
            world.shut_down(node())
        case "cut":
            one, other = NodeId(int(rest[0])), NodeId(int(rest[-1]))
            world.cut(one, other)
            if "to" not in rest:
                world.cut(other, one)
        case "heal":
            world.heal()
        case "lose" | "late" | "twice" | "parts" | "luck" | "stranger":
            _arrange(world, verb, rest)
        case "reset":
            world.connections_break(node(1), node(0))
        case "snapshot":
            world.snapshot(node())
        case "low" | "room":
            world.low_disk(node(), verb == "low")
        case "slow":
            node().flush_ms = int(rest[1])
        case "old":
            node().knows_pre_votes = False
        case "spare":
            world.spare(NodeId(int(rest[0])))
        case "add" | "remove" | "newdisk" | "move" | "autojoin" | "elsewhere" | "recover":
            _change_members(world, verb, node(), node(2) if "by" in rest else None)
        case "read":
            world.read(node())
        case "voters":
            yield _voters(node())
        case "status":
            yield from (_status(one) for one in world.replicas.values())
        case _:
            raise ValueError(f"no such verb: {verb}")


def _arrange(world: World, verb: str, rest: list[str]) -> None:
    """What happens to messages, and what nobody of this world would do by itself."""
    match verb:
        case "lose":
            world.lose(rest[0], NodeId(int(rest[1])), NodeId(int(rest[3])))
        case "late":
            world.late(rest[0], int(rest[1]))
        case "twice":
            world.twice()
        case "parts":
            world.parts(int(rest[0]))
        case "luck":
            world.luck(world.replicas[NodeId(int(rest[0]))], int(rest[1]))
        case _:
            kind, node, epoch, end = rest
            offset, last_epoch = end.split("@")
            last = OffsetAndEpoch(Offset(int(offset)), Epoch(int(last_epoch)))
            world.stranger(world.replicas[NodeId(int(node))], kind, Epoch(int(epoch)), last)


def _change_members(world: World, verb: str, node: Replica, leader: Replica | None) -> None:
    match verb, leader:
        case "add", Replica():
            world.add_voter(leader, node)
        case "remove", Replica():
            world.remove_voter(leader, leader.core.voters.keys.get(node.id) or node.config.replica)
        case "newdisk", None:
            world.new_disk(node)
        case "move", None:
            world.move(node)
        case "autojoin", None:
            world.auto_join(node)
        case "elsewhere", None:
            world.elsewhere(node)
        case "recover", None:
            world.recover(node)
        case _:
            raise ValueError(f"{verb}: by whom?")


def _voters(node: Replica) -> str:
    voters = node.core.voters.voters.values()
    places = (f"{one.voter_id} at {', '.join(map(str, one.endpoints))}" for one in voters)
    return f"        {node.name}: " + "; ".join(places)


def _status(node: Replica) -> str:
    if not node.up:
        return f"        {node.name}: down"
    core = node.core
    return (
        f"        {node.name}: {core.role.name.value}, {core.leader_and_epoch}, "
        f"log {core.log.start} to {core.log.end}, "
        f"high watermark {'unknown' if core.high_watermark is None else core.high_watermark}"
    )


def main() -> None:
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    for path in scenarios():
        script, _ = split(path.read_text())
        path.write_text(f"{script}\n{_RULE}\n{play(script)}")


if __name__ == "__main__":
    main()
