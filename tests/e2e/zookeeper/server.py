"""`python -m tests.e2e.zookeeper.server DIRECTORY PORT`: a ZooKeeper server of ours, until its standard input ends."""

import pathlib
import sys

import trio

from quorate.metadata.zookeeper.server import running_server


async def main(directory: str, port: str) -> None:
    async with running_server(pathlib.Path(directory), port=int(port), tick_ms=500):
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        async with trio.lowlevel.FdStream(0) as stdin:
            while await stdin.receive_some():
                pass


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
