"""`sharder plugin install`: which plugins a spec names, and what they still need on this machine.

Those of Sharder come with it. Programs of others are looked for, fetched into the cache, or asked of a container
engine; on a fleet the same happens on the workers when they start one, so this is a try, and warms a cache that
machines share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from contracts.errors import Exit, InputError, SharderError, missing_extra
from contracts.spec import Plugin, PluginSettings, Source
from contracts.specfile import SpecDocument, load
from sharder import check, text
from sharder.preview import Shown
from sharder.wishes import now
from worker.sources import registry


def installed(paths: Sequence[str], environment: Mapping[str, str]) -> tuple[Shown, Exit]:
    """A line per plugin, and 2 if one cannot be used here."""
    loaded = load(paths, environment, now(), relaxed=True)
    documents = [d for d in loaded.documents if isinstance(d.model, Plugin)]
    settings = loaded.spec.fleet.plugins
    found = [(d, *_state(d, settings.get(d.name), environment)) for d in documents]
    rows = [(d.kind, d.name, d.model.path if isinstance(d.model, Plugin) else "", note) for d, _, note in found]  # fmt: skip
    lines = text.columns([("kind", "name", "plugin", ""), *rows])
    facts = [
        {"kind": kind, "name": name, "plugin": path, "usable": usable, "note": note}
        for (kind, name, path, note), (_, usable, _) in zip(rows, found, strict=True)
    ]
    code = Exit.OK if all(usable for _, usable, _ in found) else Exit.INPUT
    return Shown(lines, facts), code


def _state(
    document: SpecDocument, settings: PluginSettings | None, environment: Mapping[str, str]
) -> tuple[bool, str]:
    """Whether a document's plugin can be used here, and a phrase about it."""
    model = document.model
    assert isinstance(model, Plugin)
    try:
        if check.foreign(document):
            return True, _of_others(model, settings, environment)
        check.options_model(document)
    except SharderError as error:
        return False, "; ".join(filter(None, (_line(error.message), _line(error.hint))))
    if isinstance(model, Source):
        needs = registry.entry(model.plugin).needs
        missing = {extra for package, extra in needs.items() if find_spec(package) is None}
        if missing:
            extras = ",".join(sorted(missing))
            return False, f"part of Sharder; needs: pip install 'sharder[{extras}]'"
    return True, "part of Sharder: nothing to install"


def _of_others(
    model: Plugin, settings: PluginSettings | None, environment: Mapping[str, str]
) -> str:
    """What a program of others needs, done as far as it can be. Raises what keeps it from being used here."""
    if find_spec("grpc") is None:
        raise missing_extra("grpcio", "plugins", f"the plugin {model.path}")
    from contracts.plugin import allowed, command, docker, github, hub
    from contracts.plugin.plugin import Plugin as Program
    from contracts.plugin.plugin import Surroundings

    program, around = Program.of(model, settings), Surroundings(environment)
    search = environment.get("PATH", "")
    if model.registry == "local":
        words = command.words(model.path, search, Path.cwd())
        allowed.refuse(program, environment, words)
        written = command.runtime(words, program.settings.runtime)
        return f"a program of this machine ({written}): {words[0]}"
    allowed.refuse(program, environment)
    match model.registry:
        case "grpc":
            return f"served by somebody else at {model.path}: nothing to install"
        case "docker":
            return f"an image, fetched when it is first run by {docker.engine(search).program}"
        case "cloudquery" | "github":
            fetched = hub.fetched if model.registry == "cloudquery" else github.fetched
            kept = fetched(program, around)
            if kept.program:
                return f"fetched, checked by its SHA-256: {kept.program}"
            return f"the image {kept.image}, fetched when it is first run by {docker.engine(search).program}"
        case _:
            raise InputError(f"a plugin of registry {model.registry} is no program of its own")


def _line(message: str) -> str:
    return " ".join(message.split("\n", maxsplit=1)[0].split())
