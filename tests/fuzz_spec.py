"""Feeds the loader mutated specs of the corpus: `python -m tests.fuzz_spec --seconds 600 [--seed N]`.

Whatever a spec holds, loading and checking it gives a spec or an InputError, says nothing of a variable's
value, ends within seconds, and what goes to the stage reads back as the same model. A case is made from its
own seed, which is printed with every finding: `--seed N --cases 1` makes it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import InputError
from contracts.specfile import LoadedSpec, expand_document, load
from sharder import check

SPECS = Path(__file__).parent / "unit" / "specs"
NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
SECRET = "xq7hunter2zz"
SLOW_S = 10
# Every variable that the corpus uses, but for those that are not set there either.
NAMES = (
    "SECRET",
    "B",
    "NAME",
    "TABLES",
    "OPTIONS",
    "PASSWORD",
    "KEY",
    "TOKEN",
    "DSN",
    "MODE",
    "WHO",
    "PG",
    "PG_CONNECTION_STRING",
    "EXTERNAL_ID",
    "MEMBER_EXTERNAL_ID",
)
TOKENS = (
    "\n---\n", "\n--- # x\n", "--- ", "...\n", "${A}", "${SECRET}", "${NOT_SET}", "$${A}", "${file:f.txt}", "${file:.}",
    "${file:\x00}", "${time:now}", "${time:3 days ago|Mon}", "${time:x}", "${", "}", "${}", "${a:b:c}", "@@plugins.d.connection",
    "{{YEAR}}", "{{now}}", "&a ", "*a", "<<: *a", "!!int ", "!x ", "? ", "- ", ": ", "# ", "'", '"', "|\n", ">-\n", "[", "]",
    "{", "}", ",", "\t", "\r\n", "\u2028", "\x85", "\ufeff", "\x00", "\ue000", "0123", "012345678901", "1e999", ".nan", "~", "null", "yes",
    "off", "9" * 400, "-", "%YAML 1.1\n", "kind: source\n", "kind: fleet\n", "kind: transformer\n", "spec:\n", "  spec:\n", "é", "\U0001f600",
    "platform", "*", "  registry: grpc\n", "  registry: local\n", "  transformers: [a, a]\n", "  destinations: [d, ~]\n",
)  # fmt: skip


def seeds() -> list[str]:
    """The texts that mutations begin with."""
    files = [p for p in SPECS.rglob("*") if p.is_file() and p.suffix != ".expected"]
    return [p.read_bytes().decode("utf-8", "replace") for p in sorted(files)]


def mutated(dice: random.Random, texts: list[str]) -> str:
    text = dice.choice(texts)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4))):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        match dice.randrange(9):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, dice.choice(lines))
            case 2:
                other = dice.choice(texts).split("\n")
                begin = dice.randrange(len(other))
                lines[at:at] = other[begin : begin + dice.randrange(1, 6)]
            case 3:
                lines[at] = " " * dice.randrange(6) + lines[at].lstrip()
            case 4:
                lines[at], lines[-1] = lines[-1], lines[at]
            case 5:
                lines[at] += dice.choice(TOKENS)
            case 6:
                cut = dice.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + dice.choice(TOKENS) + lines[at][cut:]
            case 7:
                key, colon, _ = lines[at].partition(":")
                lines[at] = f"{key}{colon} {dice.choice(TOKENS)}"
            case _:
                lines += [dice.choice(("---", "--- # x", "--- ")), *dice.choice(texts).split("\n")]
        text = "\n".join(lines)[:20_000]
    return text


def written(dice: random.Random, texts: list[str], place: Path) -> list[str]:
    """Files of one case, and what is named on the command line."""
    (place / "f.txt").write_bytes(mutated(dice, texts).encode()[: dice.randrange(200)])
    names = ["s.yml"] if dice.random() < 0.7 else ["d/a.yml", "d/b.yaml", "d/.h.yml", "d/n.txt"]
    for name in names:
        data = mutated(dice, texts).encode("utf-8", "replace")
        if dice.random() < 0.05 and data:
            cut = dice.randrange(len(data))
            data = data[:cut] + dice.randbytes(3) + data[cut:]
        if dice.random() < 0.1:
            data = data.replace(b"\n", b"\r\n")
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
    return [dice.choice(("s.yml", ".", "./s.yml"))] if names == ["s.yml"] else ["d"]


def one(seed: int, texts: list[str]) -> str:
    """How a case ended. Raises whatever is a finding."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, _within(Path(folder)):
        paths = written(dice, texts, Path())
        value = mutated(dice, texts)[:60] if dice.random() < 0.5 else dice.choice(TOKENS)
        environment = {name: dice.choice((SECRET, "x", "5")) for name in NAMES} | {"A": value}
        said: list[str] = []
        try:
            loaded = load(paths, environment, NOW, relaxed=dice.random() < 0.8)
        except InputError as error:
            said.append(str(error))
        else:
            said += loaded.warnings
            _reads_back(loaded, environment)
            for step in (check.check, _sealed, check.refuse_literals):
                try:
                    said += step(loaded) or ()
                except InputError as error:
                    said.append(str(error))
            said.append("ok")
        assert SECRET not in json.dumps(said), f"a secret is told: {said}"
        return "ok" if said[-1] == "ok" else "refused"


def _sealed(loaded: LoadedSpec) -> None:
    list(check.texts(loaded, sealed=True))


def _reads_back(loaded: LoadedSpec, environment: dict[str, str]) -> None:
    for document in loaded.documents:
        if document.expanded.left:
            continue
        # Lists that name something twice are settled after a document is read.
        again = expand_document(document.text, environment, document.file)
        settled = {"destinations", "transformers"}
        assert again.model.model_dump(exclude=settled) == document.model.model_dump(exclude=settled)


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _too_slow(_number: int, _frame: object) -> None:
    raise TimeoutError(f"more than {SLOW_S} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, default=10**12)
    parser.add_argument("--seed", type=int, default=int(time.time()) * 1000)
    wish = parser.parse_args()
    texts, ends, found = seeds(), time.monotonic() + wish.seconds, 0
    counts: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, _too_slow)
    print(f"seeds from {wish.seed} on, {len(texts)} texts", flush=True)
    for seed in range(wish.seed, wish.seed + wish.cases):
        if time.monotonic() > ends:
            break
        signal.alarm(SLOW_S)
        try:
            counts[one(seed, texts)] += 1
        except Exception:
            found += 1
            print(f"\nseed {seed}:\n{traceback.format_exc()}", flush=True)
        finally:
            signal.alarm(0)
    print(f"{counts.total()} cases: {dict(counts)}, {found} findings", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
