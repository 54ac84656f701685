"""Every exception ends as an exit code and a text for people."""

import errno

import pytest

from quorate.admin import errors
from quorate.admin.explain import translate
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RemoteProtocolError, RequestRejected
from quorate.metadata.client import ConnectFailed, FailureKind, NoAnswer
from quorate.metadata.log.refusals import NotFormatted
from quorate.metadata.settings import InvalidSettings, Problem

_SILENT = NoAnswer(
    "Metadata: no answer within 5 ms", {Address("a", 1): "refused", Address("b", 2): "refused"}
)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.WrongUsage("No."), 2, "No."),
        (errors.Unhealthy("Bad."), 10, "Bad."),
        (_SILENT, 3, "where: a:1, b:2\n  why: refused"),
        (ConnectFailed(FailureKind.REFUSED, "nothing listens there"), 3, "nothing listens there"),
        (ConnectFailed(FailureKind.NOT_KAFKA, "an HTTP server"), 1, "an HTTP server"),
        (RequestRejected(ErrorCode.invalid_config, "no such key"), 1, "INVALID_CONFIG: no such key"),
        (RemoteProtocolError("garbage"), 1, "why: garbage"),
        (NotFormatted("Empty.", where="/d", why="nothing", remedy="format it"), 1, "what to do: format it"),
        (InvalidSettings([Problem(origin="f", key="node.id", why="It is missing.")]), 1, "f: node.id"),
        (OSError(errno.ENOSPC, "No space left on device", "/d/x"), 1, "what to do: make room on that disk"),
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("x"), 1, "fault in quorate itself"),
    ],
)
def test_each_kind_has_its_exit_code_and_says_what_matters(error, code, words):
    ending = translate(error)

    assert ending.exit_code == code
    assert words in ending.text()
    assert "Traceback" not in ending.text()


def test_a_group_says_what_its_cause_says():
    group = BaseExceptionGroup("g", [ExceptionGroup("h", [errors.NoAnswer("Silence.")]), ValueError("x")])

    assert translate(group).what == "Silence."


def test_ctrl_c_outranks_what_it_broke():
    group = BaseExceptionGroup("g", [ValueError("x"), BaseExceptionGroup("h", [KeyboardInterrupt()])])

    assert translate(group).exit_code == errors.INTERRUPTED


def test_a_part_with_several_lines_stays_inside_its_part():
    text = errors.Refused("What.", where="here", why="one\ntwo").text()

    assert text == "What.\n  where: here\n  why: one\n    two"


def test_programs_get_the_parts_apart():
    assert errors.Refused("What.", where="here", why="why", remedy="do").document() == {
        "kind": "refused",
        "what": "What.",
        "where": "here",
        "why": "why",
        "what_to_do": "do",
    }
