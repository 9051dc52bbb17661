"""What a plugin says: understood, counted, told again without secrets, in bounded memory."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator

import pytest

from contracts.plugin.drain import MOST_BYTES, Drain, Lines
from contracts.plugin.said import Said, parse
from contracts.plugin.tally import MOST_TABLES, Tally


class TestParsing:
    def test_lines_of_go_plugins(self):
        line = '{"level":"error","client":"a:eu","module":"aws","table":"t","error":"denied","time":"x","message":"failed"}'
        assert parse(line) == Said("error", "failed: denied", "t", "a:eu", {"module": "aws"})

    def test_lines_of_zap(self):
        line = '{"level":"warn","ts":1.5,"caller":"x.go:1","msg":"slow","table":"t"}'
        assert parse(line) == Said("warning", "slow", "t")

    def test_lines_of_the_python_kit(self):
        line = '{"client_id": "a", "table": "t", "depth": 0, "exc_info": "ValueError(1)", "event": "failed to resolve resource", "level": "error", "timestamp": "x"}'
        found = parse(line)
        assert found == Said("error", "failed to resolve resource: ValueError(1)", "t", "a", {"depth": "0"})  # fmt: skip

    def test_lines_of_the_javascript_kit_name_the_table_in_the_sentence(self):
        line = '{"level":"error","message":"error resolving table t_1","cause":{"a":1},"timestamp":"x"}'
        assert parse(line) == Said("error", 'error resolving table t_1: {"a":1}', "t_1")

    @pytest.mark.parametrize(
        "line", ["hello", "{no json", "[1, 2]", "\x1b[31mhello\x1b[0m", '{"level": 5, "a": null}']
    )
    def test_anything_else_is_a_message(self, line):
        assert parse(line).level == "info"
        assert "\x1b" not in parse(line).message

    def test_an_object_that_was_cut_keeps_its_level_and_table(self):
        found = parse('{"level":"error","table":"t","message":"mmmm')
        assert (found.level, found.table) == ("error", "t")


class TestLines:
    def test_chunks_become_lines(self):
        lines = Lines()
        fed = [*lines.feed(b"a\nb"), *lines.feed(b"c\n\nd"), *lines.end()]
        assert [line for line, _ in fed] == [b"a", b"bc", b"d"]

    def test_a_long_line_is_cut_and_the_next_one_is_whole(self):
        lines = Lines(most=4)
        fed = [*lines.feed(b"abc"), *lines.feed(b"defg"), *lines.feed(b"hi\njk\n")]
        assert fed == [(b"abcd", 5), (b"jk", 0)]


def drained(
    said: bytes, masked=str, stream: str = "stdout"
) -> Iterator[tuple[Tally, list[dict[str, object]]]]:
    tally, facts = Tally(), []
    handler = logging.Handler()
    handler.emit = lambda record: facts.append({**record.facts, "number": record.levelno})  # type: ignore[method-assign]
    log = logging.getLogger("sharder")
    before = log.level, log.propagate
    log.propagate = False  # pytest would show megabytes
    log.addHandler(handler)
    log.setLevel("DEBUG")
    try:
        ear, mouth = os.pipe()
        drain = Drain("p", {stream: os.fdopen(ear, "rb")}, tally, masked)  # type: ignore[dict-item]
        with io.FileIO(mouth, "wb") as out:
            rest = memoryview(said)
            while rest:
                rest = rest[out.write(rest) :]
            drain.catch_up(10)
            yield tally, facts
        drain.join(10)
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


def line(**facts: object) -> bytes:
    return json.dumps(facts).encode() + b"\n"


class TestDrain:
    def test_lines_are_told_again_as_facts_at_their_own_level(self):
        for _, facts in drained(line(level="warn", message="slow", table="t", client="a")):
            assert facts == [
                {"event": "plugin_said", "plugin": "p", "stream": "stdout", "message": "slow", "table": "t", "client": "a", "number": logging.WARNING}
            ]  # fmt: skip

    def test_errors_are_counted_by_table(self):
        said = line(level="error", message="one", table="t", client="a") * 3 + line(level="error", message="x")  # fmt: skip
        for tally, _ in drained(said + b"plain\n" + line(level="warn", message="w")):
            assert (tally.errors, tally.warnings, tally.lines) == (4, 1, 6)
            failed = tally.failed()
            assert (failed["t"].message, failed["t"].count, failed["t"].client) == ("one", 3, "a")
            assert failed[""].count == 1

    def test_secrets_are_masked_in_every_field(self):
        def masked(text: str) -> str:
            return text.replace("s3cret", "***")

        said = line(level="error", message="with s3cret", table="s3cret", key="s3cret", n=5)
        for tally, facts in drained(said + b"plain s3cret\n", masked, "stderr"):
            assert "s3cret" not in str(facts)
            assert "s3cret" not in str(tally.failed()) + tally.last_lines()

    def test_a_secret_at_the_cut_does_not_show_its_first_half(self):
        secret = "abcdefghijkl"
        end = MOST_BYTES + 4096
        for at in (MOST_BYTES - 6, MOST_BYTES + 100, *range(end - 12, end + 1, 3)):
            said = b"x" * at + secret.encode() + b"y" * 5000 + b"\n"
            for _, facts in drained(said, lambda t: t.replace(secret, "***")):
                assert not str(facts[0]["message"]).count("abc")

    def test_a_line_of_a_mebibyte_is_whole_and_a_longer_one_is_cut_with_a_note(self):
        whole = line(level="error", table="t", message="m" * (MOST_BYTES - 100))
        for tally, facts in drained(whole):
            assert len(str(facts[0]["message"])) == MOST_BYTES - 100
            assert tally.failed()["t"].count == 1
        for tally, facts in drained(line(level="error", table="t", message="m" * (3 << 20))):
            told = str(facts[0]["message"])
            assert len(told) < MOST_BYTES + 100
            assert told[-60:].endswith("… (cut: the line has 3,145,775 bytes)")
            assert tally.failed()["t"].count == 1

    def test_a_field_of_a_plugin_does_not_pass_for_one_of_ours(self):
        for _, facts in drained(line(message="m", run="theirs", plugin="theirs", **{"a b": 1})):
            assert facts[0]["plugin"] == "p"
            assert (facts[0]["run_"], facts[0]["plugin_"], facts[0]["a_b"]) == ("theirs", "theirs", "1")  # fmt: skip

    def test_bytes_that_are_no_text_are_told_as_well_as_can_be(self):
        for _, facts in drained(b"\xff\xfe\n\r\n  \n"):
            assert [f["message"] for f in facts] == ["\ufffd\ufffd"]


def test_the_tally_of_a_program_that_names_anything_stays_small():
    tally = Tally()
    for n in range(MOST_TABLES + 50):
        tally.add(Said("error", "m" * 10_000, f"t{n}"))
    failed = tally.failed()
    assert len(failed) == MOST_TABLES + 1
    assert failed[""].count == 50
    assert max(len(f.message) for f in failed.values()) == 2000
