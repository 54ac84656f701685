"""What Kafka's tools print on Kafka's servers: `python -m tests.e2e.java.record [VERSION ...] [--only CHAPTER ...]`.

Rewrites the golden files of these versions; the difference is what gets reviewed.
"""

import argparse
import pathlib
import tempfile
from typing import Final

from tests.e2e.java import kafka
from tests.e2e.java.artifacts import VERSIONS
from tests.e2e.java.chapters import CHAPTERS
from tests.e2e.java.jvm import Jvm
from tests.e2e.java.walk import golden_path, tell

_PAUSE_S: Final = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    parser.add_argument("--only", nargs="+", default=[chapter.name for chapter in CHAPTERS])
    asked = parser.parse_args()
    for version in asked.versions:
        with (
            tempfile.TemporaryDirectory() as directory,
            Jvm(version, ["-Xmx2g"]) as jvm,
        ):
            place = kafka.start(jvm, version, pathlib.Path(directory))
            for chapter in CHAPTERS:
                for where in chapter.where if chapter.name in asked.only else ():
                    golden = golden_path(version, where, chapter)
                    golden.parent.mkdir(parents=True, exist_ok=True)
                    golden.write_text(
                        tell(jvm, version, chapter, where, place, pathlib.Path(directory), _PAUSE_S)
                    )


if __name__ == "__main__":
    main()
