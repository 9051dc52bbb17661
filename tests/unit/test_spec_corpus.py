"""Every rule of a spec as a file: `specs/corpus/NNN-rule.yml`, and beside it what has to come of it.

An `.expected` file says how the spec is read, then `ok` with facts and all warnings, or `error` with the
whole message:

    env NAME "value"      a variable of the environment, as JSON
    args A B              what is named on the command line; else the case itself
    whole                 for a run: sources and destinations must be complete; else one document is enough
    check                 the plugins' own options too
    run                   the plugins must be ones that can be run
    select                the tables too
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import InputError
from contracts.specfile import load
from sharder import check
from sharder.select import select, surprises
from worker.sources.base import Context
from worker.sources.registry import open_source

CORPUS = Path(__file__).parent / "specs" / "corpus"
NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)  # a Monday
CASES = sorted(p.stem for p in CORPUS.glob("*.expected"))


@dataclass
class Case:
    """One `.expected` file."""

    args: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    ok: bool = False
    expected: str = ""


def read_case(name: str) -> Case:
    given, _, expected = (CORPUS / f"{name}.expected").read_text().partition("\n---\n")
    (own,) = (p.name for p in CORPUS.iterdir() if p.name != f"{name}.expected" and p.stem == name)
    case = Case([own])
    *lines, result = given.split("\n")
    assert result in {"ok", "error"}, name
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "env":
            key, _, value = rest.partition(" ")
            case.environment[key] = json.loads(value)
        elif word == "args":
            case.args = shlex.split(rest)
        else:
            assert word in {"whole", "check", "select"}, line
            case.flags.add(word)
    case.ok, case.expected = result == "ok", expected.rstrip("\n")
    return case


def outcome(case: Case) -> tuple[dict, list[str]]:
    """(values of the spec, warnings). Raises InputError."""
    loaded = load(case.args, case.environment, NOW, relaxed="whole" not in case.flags)
    warnings = list(loaded.warnings)
    values = loaded.spec.model_dump(mode="json", exclude={"warnings"})
    values["documents"] = [f"{d.kind} {d.name} {d.file}:{d.line}" for d in loaded.documents]
    if "check" in case.flags:
        warnings += check.check(loaded)
    if "select" in case.flags:
        for source in loaded.spec.sources:
            tables, document = tables_of(source), loaded.document("source", source.name)
            trees = select(source, tables, document)
            values["selected"] = [name for tree in trees for name in tree.selected]
            warnings += surprises(source, tables, document)
    return values, warnings


def tables_of(source):
    context = Context(
        name=source.name,
        now=lambda: NOW,
        sleep=lambda _s: None,
        cancelled=lambda: False,
        deterministic_cq_id=False,
    )
    opened = open_source(source.plugin, source.spec, context)
    try:
        return opened.tables()
    finally:
        opened.close()


def at(values, path):
    for step in path.split("."):
        values = values[int(step) if isinstance(values, list) else step]
    return values


@pytest.mark.parametrize("name", CASES)
def test_a_spec_of_the_corpus_has_exactly_the_outcome_that_the_rules_say(name, monkeypatch):
    monkeypatch.chdir(CORPUS)
    case = read_case(name)
    if not case.ok:
        with pytest.raises(InputError) as caught:
            outcome(case)
        assert str(caught.value) == case.expected
        return
    values, warnings = outcome(case)
    told = []
    for line in case.expected.split("\n"):
        word, _, rest = line.partition(" ")
        if word == "warning":
            told.append(rest)
        elif line:
            path, _, value = line.partition(" = ")
            assert at(values, path) == json.loads(value), path
    assert warnings == told


def test_every_file_of_the_corpus_belongs_to_a_case():
    files = {p.stem for p in CORPUS.iterdir() if p.name != "files"}
    assert files == set(CASES)
    assert len(CASES) >= 140
