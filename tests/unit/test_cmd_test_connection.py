"""What testing connections comes to: CloudQuery's codes, a line each, and our exit code."""

from __future__ import annotations

import pytest

from contracts.cursors import Failure
from contracts.errors import (
    Denied,
    Exit,
    InputError,
    MissingExtra,
    NotFound,
    Permanent,
    SharderError,
    StoreUnfit,
    Transient,
    Unreachable,
)
from sharder import tested
from sharder.tested import Answer

CODES: dict[type[SharderError], str] = {
    InputError: "INVALID_SPEC",
    MissingExtra: "INVALID_SPEC",
    Denied: "UNAUTHORIZED",
    Unreachable: "CONNECTION_FAILED",
    Transient: "CONNECTION_FAILED",
    NotFound: "CONNECTION_FAILED",
    StoreUnfit: "OTHER",
    Permanent: "OTHER",
}


@pytest.mark.parametrize("kind", CODES)
def test_an_error_has_the_same_code_here_and_through_the_loader(kind: type[SharderError]) -> None:
    error = kind("x")
    failure = Failure(message="x", exit_code=int(error.exit_code), kind=kind.__name__)
    assert tested.code_of(error) == CODES[kind]
    assert tested.code_of_failure(failure) == CODES[kind]


def test_what_a_loader_of_an_older_release_says_has_no_code() -> None:
    assert tested.code_of_failure(Failure(message="x")) == "UNKNOWN"


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        (["", ""], Exit.OK),
        (["INVALID_SPEC", ""], Exit.INPUT),
        (["INVALID_SPEC", "OTHER"], Exit.OUTSIDE),
        (["UNAUTHORIZED"], Exit.OUTSIDE),
    ],
)
def test_the_exit_code_says_whether_only_the_spec_is_wrong(codes: list[str], code: Exit) -> None:
    assert tested.exit_code([Answer("source", "s", "p", c) for c in codes]) == code


def test_a_long_reason_goes_on_below_its_line() -> None:
    rows = [
        Answer("source", "hn", "cloudquery/hackernews", "", "newest item 10"),
        Answer("destination", "pg", "cloudquery/postgresql", "UNAUTHORIZED", "refused\n  check it"),
    ]
    assert tested.shown(rows).lines == [
        "kind         name  plugin                 result                  reason",
        "source       hn    cloudquery/hackernews  Success                 newest item 10",
        "destination  pg    cloudquery/postgresql  Failure (UNAUTHORIZED)  refused",
        "    check it",
        "1 of 2 connections failed",
    ]
