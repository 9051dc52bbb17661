"""All checks in the order in which they build on each other, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from contracts.errors import Exit, SharderError
from contracts.spec import Fleet
from contracts.specfile import LoadedSpec, load
from sharder import connections, place, text
from sharder.doctor import broker, here, stage, warehouse
from sharder.doctor.finding import Finding, failure, guarded, ok
from sharder.preview import Shown
from sharder.tested import Answer
from sharder.wishes import Wishes, now

Say = Callable[[str], None]


def examine(
    paths: Sequence[str],
    wishes: Wishes,
    environment: Mapping[str, str],
    say: Say,
    *,
    patience_s: float,
) -> Iterator[Finding]:
    """Every finding as it is made; `paths` may be empty. Raises InputError for variables that cannot be meant."""
    loaded, unread = _loaded(paths, environment)
    found = place.settle(wishes.over(environment), loaded.spec.fleet if loaded else Fleet())
    yield from guarded("python", here.python)
    yield from guarded("libraries", lambda: here.libraries(here.extras(found, loaded)))
    yield from guarded("disk", lambda: here.disk(found))
    yield from stage.stage(found, environment)
    if found.broker:
        yield from guarded("broker", lambda: broker.broker(found.broker))
    else:
        yield ok("broker", "none: runs are embedded, on this machine alone")
    if unread:
        yield unread
    elif loaded:
        yield from guarded(
            "spec", lambda: _connections(paths, wishes, environment, say, patience_s)
        )


def _loaded(
    paths: Sequence[str], environment: Mapping[str, str]
) -> tuple[LoadedSpec | None, Finding | None]:
    if not paths:
        return None, None
    try:
        return load(paths, environment, now(), relaxed=True), None
    except SharderError as error:
        return None, failure("spec", error)


def _connections(
    paths: Sequence[str],
    wishes: Wishes,
    environment: Mapping[str, str],
    say: Say,
    patience_s: float,
) -> Iterator[Finding]:
    """As `test-connection` finds them; stage and broker have been looked at more closely."""
    for answer in connections.test(paths, wishes, environment, say, patience_s=patience_s):
        if answer.kind not in {"stage", "broker"}:
            yield _of(answer)
        if answer.server:
            yield from warehouse.warehouse(answer.name, answer.server)


def _of(answer: Answer) -> Finding:
    check = f"{answer.kind} {answer.name}"
    first, *rest = answer.reason.splitlines() or [""]
    if not answer.code:
        return ok(check, first)
    code = Exit.INPUT if answer.code == "INVALID_SPEC" else Exit.OUTSIDE
    mend = " ".join(line.strip() for line in rest)
    return Finding(check, "failure", f"{answer.code}: {first}", mend, code)


def exit_code(found: Sequence[Finding]) -> Exit:
    """0 without a failure; 2 if what is wrong is the input or the installation alone; else 4."""
    codes = {f.code for f in found if f.level == "failure"}
    if not codes:
        return Exit.OK
    return Exit.INPUT if codes == {Exit.INPUT} else Exit.OUTSIDE


def shown(found: Sequence[Finding]) -> Shown:
    lines: list[str] = []
    widest = max(len(f.check) for f in found)
    for f in found:
        lines.append(f"{f.level.ljust(7)}  {f.check.ljust(widest)}  {f.says}")
        lines += [f"{' ' * (widest + 11)}{line.strip()}" for line in f.mend.splitlines()]
    counts = {level: sum(f.level == level for f in found) for level in ("failure", "warning")}
    wrong = [text.count(n, level) for level, n in counts.items() if n]
    documents = [
        {"check": f.check, "level": f.level, "says": f.says, "mend": f.mend} for f in found
    ]
    return Shown([*lines, ", ".join(wrong) or "all is well"], documents)
