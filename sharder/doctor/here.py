"""Of this machine: Python, libraries, the extras that a stage, a broker and a spec need, room on the disk."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from contracts.errors import Exit
from contracts.settings import Settings
from contracts.spec import Destination, Source
from contracts.specfile import LoadedSpec
from loader.warehouses import registry as warehouses
from sharder import text
from sharder.doctor.finding import Finding, ok, warning
from worker.sources import registry as sources

LITTLE_BYTES = 2_000_000_000  # of free disk; parts of an embedded run lie there
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*(?:\(?([<>=!~][^;)]*)\)?)?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")


def python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = str(metadata("sharder")["Requires-Python"])
    if fits(found, wanted):
        yield ok("python", f"{found} (sharder {version('sharder')})")
    else:
        yield Finding(
            "python", "failure", f"{found}, and this release is made for {wanted}",
            "install it in an environment of such a Python", Exit.INPUT,
        )  # fmt: skip


def libraries(extras: Sequence[str]) -> Iterator[Finding]:
    """The packages of the base installation and of these extras."""
    missing: dict[str, list[str]] = {}
    old: list[str] = []
    for package, wanted, extra in _required():
        if extra and extra not in extras:
            continue
        try:
            found = version(package)
        except PackageNotFoundError:
            missing.setdefault(extra, []).append(package)
            continue
        if not fits(found, wanted):
            old.append(f"{package} {found} (wanted: {wanted})")
    for extra, packages in missing.items():
        install = f"pip install 'sharder[{extra}]'" if extra else "pip install sharder"
        says = f"not installed: {', '.join(packages)}"
        yield Finding(f"extra {extra}".strip(), "failure", says, install, Exit.INPUT)
    if old:
        yield warning("libraries", f"older than supported: {', '.join(old)}", "upgrade them")
    if not missing and not old:
        names = f" and the extras {', '.join(extras)}" if extras else ""
        yield ok("libraries", f"all of the base{names} are there, in supported versions")


def _required() -> Iterator[tuple[str, str, str]]:
    """Package, versions, extra (empty: the base) as the installation itself says them."""
    for line in requires("sharder") or ():
        requirement, _, marker = line.partition(";")
        match, extra = _REQUIREMENT.match(requirement.strip()), _EXTRA.search(marker)
        if match and match[1] != "sharder":
            yield match[1], (match[2] or "").strip(), extra[1] if extra else ""


def fits(found: str, wanted: str) -> bool:
    """Whether a version is in `>=1.2,<2`; other comparisons are not judged."""
    for bound in filter(None, (b.strip() for b in wanted.split(","))):
        least, below = bound.startswith(">="), bound.startswith("<") and not bound.startswith("<=")
        if least and _numbers(found) < _numbers(bound[2:]):
            return False
        if below and _numbers(found) >= _numbers(bound[1:]):
            return False
    return True


def _numbers(name: str) -> tuple[int, ...]:
    found = tuple(int(n) for n in re.findall(r"\d+", name.partition("+")[0])[:3])
    return found + (0,) * (3 - len(found))


def extras(settings: Settings, loaded: LoadedSpec | None) -> list[str]:
    """Those that this stage, this broker and this spec need."""
    scheme = settings.stage_url.partition("://")[0] if "://" in settings.stage_url else ""
    found = {"s3": "s3", "gs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}.get(scheme)
    wanted = {found} if found else set()
    wanted |= {"fleet"} if settings.broker else set()
    for document in loaded.documents if loaded else ():
        model = document.model
        if isinstance(model, Source) and model.plugin in sources.ENTRIES:
            # A file source may read a disk; what it lacks is told when it is asked.
            wanted |= set(sources.entry(model.plugin).needs.values()) - {"s3"}
        if isinstance(model, Destination) and not settings.broker:
            wanted |= (
                {"plugins"} if warehouses.is_program(model) else {model.plugin} & {"postgresql"}
            )
    return sorted(wanted)


def disk(settings: Settings) -> Iterator[Finding]:
    """Where the stage is a directory, and here, where an embedded DuckDB usually lies."""
    url = settings.stage_url
    places = {Path.cwd()}
    if "://" not in url or url.startswith("file://"):
        places.add(_existing(Path(url.removeprefix("file://")).absolute()))
    seen: set[int] = set()
    for place in sorted(places):
        if (device := place.stat().st_dev) in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(place).free
        says = f"{text.size(free)} free on the disk of {place}"
        if free < LITTLE_BYTES:
            yield warning(
                "disk", says, "make room (`sharder gc` removes old runs), or move the stage"
            )
        else:
            yield ok("disk", says)


def _existing(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place
