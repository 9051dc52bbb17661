"""`sharder plugin install`: which plugins a spec names, and what they still need on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from contracts.errors import Exit, InputError
from contracts.spec import Plugin, Source
from contracts.specfile import SpecDocument, load
from sharder import check, text
from sharder.preview import Shown
from sharder.wishes import now
from worker.sources import registry


def installed(paths: Sequence[str], environment: Mapping[str, str]) -> tuple[Shown, Exit]:
    """A line per plugin, and 2 if one cannot be used here."""
    loaded = load(paths, environment, now(), relaxed=True)
    documents = [d for d in loaded.documents if isinstance(d.model, Plugin)]
    found = [(d, *_state(d)) for d in documents]
    rows = [(d.kind, d.name, d.model.path if isinstance(d.model, Plugin) else "", note) for d, _, note in found]  # fmt: skip
    lines = text.columns([("kind", "name", "plugin", ""), *rows])
    facts = [
        {"kind": kind, "name": name, "plugin": path, "usable": usable, "note": note}
        for (kind, name, path, note), (_, usable, _) in zip(rows, found, strict=True)
    ]
    code = Exit.OK if all(usable for _, usable, _ in found) else Exit.INPUT
    return Shown(lines, facts), code


def _state(document: SpecDocument) -> tuple[bool, str]:
    """Whether a document's plugin can be used here, and a phrase about it."""
    try:
        check.options_model(document)
    except InputError as error:
        return False, " ".join(error.message.split()) + "; " + error.hint.split("\n", maxsplit=1)[0]
    model = document.model
    if check.foreign(document):
        return True, "a program of its own, started by the loader"
    if isinstance(model, Source):
        needs = registry.entry(model.plugin).needs
        missing = {extra for package, extra in needs.items() if find_spec(package) is None}
        if missing:
            extras = ",".join(sorted(missing))
            return False, f"part of Sharder; needs: pip install 'sharder[{extras}]'"
    return True, "part of Sharder: nothing to install"
