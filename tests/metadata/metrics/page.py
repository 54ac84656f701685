"""docs/metrics.md, written from the declarations: `python -m tests.metadata.metrics.page --rewrite`."""

import pathlib
import sys
from typing import Final, Literal

from quorate.broker import metrics as broker
from quorate.controller import metrics as controller
from quorate.controller import partition_health
from quorate.metadata.metrics import image_metrics, node_metrics, process_metrics, quorum_metrics
from quorate.metadata.metrics.declared import Family, Kind

PAGE: Final = pathlib.Path(__file__).parents[3] / "docs" / "metrics.md"

_HEAD: Final = """# Metrics

With `quorate.metrics.listener = "127.0.0.1:9464"` in its configuration a node serves its metrics at
`http://127.0.0.1:9464/metrics`, in Prometheus' text format. There is no login: bind it where only those can reach it
who may see these numbers. Kafka's names stand in brackets.

```yaml
scrape_configs:
  - job_name: quorate
    static_configs:
      - targets: ["controller-1:9464", "controller-2:9464", "controller-3:9464", "broker-1:9464"]
```

What to be woken for:

| alert | because |
|---|---|
| `sum(quorate_controller_active) != 1` for a minute | nobody, or more than one, decides |
| `quorate_controller_offline_partitions > 0` | clients cannot use these partitions |
| `quorate_metadata_brokers{state="fenced"} > 0` | a broker is gone |
| `quorate_quorum_replica_lag_records{kind="voter"} > 1000` for a minute | one more failure may stop all writes |
| `increase(quorate_quorum_elections_started_total[10m]) > 3` | leadership does not settle |
| `quorate_controller_faults_total > 0` | a bug; the log has it |
| `quorate_disk_low == 1` | this node refuses writes |
| `rate(quorate_log_slow_flushes_total[5m]) > 1` | the disk holds every write up |

Written from the declarations in the code (`python -m tests.metadata.metrics.page --rewrite`); a test compares them.
"""

_SECTIONS: Final[tuple[tuple[str, str, tuple[Family, ...]], ...]] = (
    ("both", "Quorum and log", quorum_metrics.FAMILIES),
    ("both", "Disk, snapshots, listeners", node_metrics.FAMILIES),
    ("both", "Metadata", image_metrics.FAMILIES),
    ("controller", "Controllers only", controller.FAMILIES + partition_health.FAMILIES),
    ("broker", "Brokers only", broker.FAMILIES),
    ("both", "Process", process_metrics.FAMILIES + process_metrics.OF_THE_LIBRARY),
)


def families(role: Literal["controller", "broker"]) -> list[Family]:
    return [family for whose, _, some in _SECTIONS for family in some if whose in ("both", role)]


def declared_by(role: Literal["controller", "broker"]) -> set[str]:
    """The names that a parser gives to families: those of counters lose their suffix."""
    return {
        family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name
        for family in families(role)
    }


def page() -> str:
    return _HEAD + "".join(_section(title, some) for _, title, some in _SECTIONS)


def _section(title: str, some: tuple[Family, ...]) -> str:
    head = "| metric | kind | unit | meaning |\n|---|---|---|---|\n"
    return f"\n## {title}\n\n{head}{''.join(map(_row, some))}"


def _row(family: Family) -> str:
    labels = f"{{{', '.join(family.labels)}}}" if family.labels else ""
    meaning = family.meaning
    if family.states:
        meaning += f" States: {', '.join(family.states)}."
    if family.kafka:
        meaning += f" [{family.kafka}]"
    return f"| `{family.name}{labels}` | {family.kind.value} | {family.unit} | {meaning} |\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    PAGE.write_text(page())
