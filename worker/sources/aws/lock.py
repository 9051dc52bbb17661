"""`python -m worker.sources.aws.lock` writes the lock; `--check` only says what would change.

Run it after a change of `tables/*.yaml` or a new botocore, and review the diff: new columns are fine,
a change of type is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from worker.sources.aws import declaration, shapes
from worker.sources.aws.compiler import compiled
from worker.sources.aws.locked import Lock, Regions

FOLDER = Path(__file__).parent / "lock"


def locks() -> dict[str, bytes]:
    """File name → contents, as compiled now."""
    release = _release()
    found: dict[str, bytes] = {}
    services: set[str] = set()
    for stem, lines in declaration.everything():
        tables = tuple(compiled(name, line) for name, line in lines.items())
        services |= {t.service for t in tables}
        found[f"{stem}.json"] = _text(Lock(botocore=release, tables=tables))
    found["regions.json"] = _text(regions(services))
    return found


def regions(services: set[str]) -> Regions:
    """Regions by partition, and where a service that lists its regions is missing."""
    loader = shapes.session().get_component("data_loader")
    newest = loader.load_data("partitions")["partitions"]
    partitions = {
        p["id"]: tuple(sorted(r for r in p["regions"] if not r.endswith("-global"))) for p in newest
    }
    # Only regions that the older file knows can be missing from it.
    known = set(shapes.regions_of("ec2"))
    absent = {}
    for service in sorted(services):
        if listed := set(shapes.regions_of(service)):
            absent[service] = tuple(sorted(known - listed))
    return Regions(botocore=_release(), partitions=partitions, absent=absent)


def changes() -> list[str]:
    """The lock files that differ from what is compiled now."""
    now = locks()
    then = {f.name: f.read_bytes() for f in FOLDER.glob("*.json")}
    return sorted(n for n in {*now, *then} if now.get(n) != then.get(n))


def main(arguments: list[str]) -> int:
    stale = changes()
    if "--check" not in arguments:
        now = locks()
        for name in stale:
            if name in now:
                (FOLDER / name).write_bytes(now[name])
            else:
                (FOLDER / name).unlink()
    sys.stdout.write("".join(f"lock/{name}\n" for name in stale))
    return 1 if stale and "--check" in arguments else 0


def _release() -> str:
    import botocore

    return str(botocore.__version__)


def _text(lock: Lock | Regions) -> bytes:
    """One line per column, so that a diff shows columns."""
    document = lock.model_dump(mode="json", exclude_defaults=True)
    tables = document.pop("tables", None)
    if tables is None:
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return b"".join(
        (
            b'{"version":%d,"botocore":"%s","tables":[\n'
            % (lock.version, document["botocore"].encode()),
            b",\n".join(_table_text(t) for t in tables),
            b"\n]}\n",
        )
    )


def _table_text(table: dict[str, object]) -> bytes:
    columns = table.pop("columns")
    assert isinstance(columns, list)
    facts = b",\n".join(b" %s:%s" % (orjson.dumps(k), orjson.dumps(v)) for k, v in table.items())
    lines = b",\n".join(b"  " + orjson.dumps(c) for c in columns)
    return b'{\n%s,\n "columns":[\n%s]}' % (facts, lines)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
