"""What a tool prints, without what differs between clusters: addresses, ids, times, offsets, widths of columns."""

import re
from collections.abc import Mapping
from typing import Final

_SHAPES: Final = (
    (re.compile(r"(?<![\w./-])\w[\w-]{21}(?![\w-])(?!\(\d+\): )"), "<uuid>"),
    (re.compile(r"(?<![\w/+])[\w/+]{86}=="), "<hmac>"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d\b"), "<minute>"),
    (re.compile(r"(?m)^ \t\("), "\t("),
    (re.compile(r"clientId=adminclient-\d+"), "clientId=adminclient-<n>"),
    (re.compile(r",?\"log_dirs\":\[[^]]*\]"), ""),
    (re.compile(r"from the set of voters \[.*?\](?=,|$)", re.MULTILINE), "from the set of voters [...]"),
    (
        re.compile(r"controller \d+ only supports versions \d+-\d+"),
        "controller <id> only supports versions <range>",
    ),
    (re.compile(r"controller \d+ does not support"), "controller <id> does not support"),
    (re.compile(r"\b1[78]\d{11}\b"), "<ms>"),
    (re.compile(r"-?\b\d+ ms ago"), "<ms>"),
    (re.compile(r"((?:Leader(?:Id|Epoch)|HighWatermark|MaxFollowerLag(?:TimeMs)?): +)-?\d+"), r"\1<n>"),
    (re.compile(r"\bEpoch: \d+"), "Epoch: <n>"),
    (re.compile(r"(?m)^\d+( +\t<uuid>)\t\d+( +)\t\d+( +)(?=\t<ms>)"), r"<id>\1\t<n>\2\t<n>\3"),
)
_ADDRESS: Final = re.compile(r"127\.0\.0\.1[: ]+\d+")
_ANY_ORDER: Final = re.compile(
    r"(?<=^CurrentObservers: )\[(?P<objects>.*)\]$|"
    r"(?<= for partitions )(?P<partitions>[^ \n]+(?:, [^ \n]+)+)$|"
    r"(?<=' are )(?P<mechanisms>SCRAM-SHA-\d+=iterations=\d+(?:, SCRAM[^ \n]+)+)$",
    re.MULTILINE,
)
_PADDING: Final = re.compile(r"(?<=\S) +(?=\t|$)|(?<=\S) {2,}(?=\S)")
_WORDING: Final = (
    re.compile(r"(?m)(org\.apache\.kafka\.common\.errors\.\w+):(?: .*)?$"),
    re.compile(r"(?m)( request for broker ID \d+ failed: ).*"),
    re.compile(r"(?m)^(Error while executing [\w ]+ : ).*"),
    re.compile(r"(?m)^(Could not \w+ [\w.]+(?: to \d+)?\. ).*"),
)
_PLANS: Final = re.compile(r"^\$ kafka-reassign-partitions --generate .*\n(?:(?!\$ ).*\n)*", re.MULTILINE)
_REPLICAS: Final = re.compile(r'"replicas":\[([\d,]*)\]')
_TRACE: Final = re.compile(r"\s+at |\s*\.\.\. \d+ more$|Caused by: ")
_LOGGER: Final = re.compile(r"^ERROR ")


def shape(text: str, addresses: Mapping[str, str]) -> str:
    """The text with names instead of addresses (HOST:PORT to name) and of all else that no two clusters share."""

    def name(found: re.Match[str]) -> str:
        return f"<{addresses.get(':'.join(found[0].replace(':', ' ').split()), 'unknown')}>"

    text = _ADDRESS.sub(name, text)
    for pattern, shown in _SHAPES:
        text = pattern.sub(shown, text)
    text = "".join(
        f"{_padding_off(line)}\n" for line in text.splitlines() if line.strip() and not _TRACE.match(line)
    )
    return _ANY_ORDER.sub(_in_order, text)


def wording_off(text: str) -> str:
    """Without the words of errors; which error it is stays. Ours say more, and say it in our words."""
    for pattern in _WORDING:
        text = pattern.sub(r"\1...", text)
    return text


def chance_off(text: str) -> str:
    """Without what a tool draws: `--generate` begins its plan at any of the brokers."""
    return _PLANS.sub(lambda plans: _REPLICAS.sub(_sorted_replicas, plans[0]), text)


def _sorted_replicas(found: re.Match[str]) -> str:
    return '"replicas":[' + ",".join(sorted(found[1].split(","))) + "]"


def complaint(err: str) -> str:
    """What a tool wrote to stderr, without how loud it says it."""
    return "".join(f"{_LOGGER.sub('', line)}\n" for line in err.splitlines() if line.strip())


def _padding_off(line: str) -> str:
    return _PADDING.sub(
        lambda found: " " if found.end() < len(line) and line[found.end()] != "\t" else "", line
    )


def _in_order(found: re.Match[str]) -> str:
    """What comes out of a hash table."""
    if found["objects"] is not None:
        return "[" + "}, ".join(sorted(one.rstrip("}") for one in found["objects"].split("}, "))) + "}]"
    return ", ".join(sorted(found[0].split(", ")))
