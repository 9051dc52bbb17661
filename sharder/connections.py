"""`sharder test-connection`: whether every source, destination, the stage and the broker answer, and if
not, why.

Sources are asked here, as when a run is planned. Destinations are asked by the loader, since only the
loader has their credentials: the same job that comes before every run, which also makes our own tables.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from contracts import layout
from contracts.cursors import Cursors, Failure
from contracts.errors import SharderError, Unreachable
from contracts.queue import Message
from contracts.settings import Settings
from contracts.spec import Destination, Fleet, Plugin, Source, Spec, Transformer
from contracts.specfile import LoadedSpec, SpecDocument, load
from contracts.store import open_store, probe
from sharder import check, gc, place, text
from sharder.ask import Asking, ask
from sharder.hide import Hider
from sharder.place import Place
from sharder.run import new_run_id
from sharder.sources import masked, open_source
from sharder.tested import Answer, Seen, code_of, code_of_failure
from sharder.validating import alone
from sharder.wishes import Wishes, now

STAGE_PATIENCE_S = 2.0  # a write is tried up to five times that long

Say = Callable[[str], None]


def test(
    paths: Sequence[str],
    wishes: Wishes,
    environment: Mapping[str, str],
    say: Say,
    *,
    patience_s: float,
) -> list[Answer]:
    """Sources, destinations, stage, broker. Raises InputError for a spec that cannot be read at all."""
    loaded = load(paths, environment, now(), relaxed=True)
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    found = place.settle(wishes.over(environment), loaded.spec.fleet)
    documents = {type_: [d for d in loaded.documents if isinstance(d.model, type_)] for type_ in (Source, Destination)}  # fmt: skip
    rows = [_source(d, loaded.spec.fleet) for d in documents[Source]]
    stage = [_stage(found)]
    broker = [_broker(found)] if found.broker else []
    why = next((f"the {r.kind} {r.name} does not work" for r in (*stage, *broker) if r.code), "")
    if found.broker and why:
        rows += [_row(d, "UNKNOWN", f"not asked: {why}") for d in documents[Destination]]
    elif documents[Destination]:
        rows += _destinations(documents[Destination], loaded, found, environment, say, patience_s)
    return [*rows, *stage, *broker]


def _row(document: SpecDocument, code: str, reason: str) -> Answer:
    model = document.model
    plugin = model.path if isinstance(model, Plugin) else ""
    return Answer(document.kind, document.name, plugin, code, reason)


def _failed(document: SpecDocument, error: SharderError) -> Answer:
    foreign = isinstance(document.model, Source) and check.foreign(document)
    code = "UNIMPLEMENTED" if foreign else code_of(error)
    return _row(document, code, str(error))


def _source(document: SpecDocument, fleet: Fleet) -> Answer:
    try:
        check.check(alone(document))
        with masked(document):
            return _row(document, "", _asked(document, fleet))
    except SharderError as error:
        return _failed(document, error)


def _asked(document: SpecDocument, fleet: Fleet) -> str:
    # Whoever tests a connection wants to know now: nothing waits between two tries.
    source = open_source(document, fleet, sleep=lambda _s: None)
    try:
        if hasattr(source, "test"):
            return str(source.test())
        tables = source.tables()
        return f"{text.count(len(tables), 'table')}"
    finally:
        source.close()


def _stage(settings: Settings) -> Answer:
    url = settings.stage_url
    plugin = url.split("://", 1)[0] if "://" in url else "directory"
    try:
        store = open_store(url, patience_s=STAGE_PATIENCE_S)
        try:
            probe(store)
        finally:
            store.close()
    except SharderError as error:
        return Answer("stage", url, plugin, code_of(error), str(error))
    return Answer("stage", url, plugin, reason="reads, writes and refuses to overwrite")


def _broker(settings: Settings) -> Answer:
    from contracts.fleet import CeleryQueue

    try:
        queue = CeleryQueue(settings.broker)
        try:
            waiting, workers = queue.waiting(), queue.workers()
        finally:
            queue.close()
    except SharderError as error:
        return Answer("broker", _host(settings.broker), "redis", code_of(error), str(error))
    alive = text.count(workers, "worker") if workers else "no worker"
    reason = f"{alive} alive, {text.count(waiting, 'message')} waiting"
    return Answer("broker", _host(settings.broker), "redis", reason=reason)


def _host(url: str) -> str:
    """A broker's address without user and password."""
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]


def _destinations(
    documents: Sequence[SpecDocument],
    loaded: LoadedSpec,
    settings: Settings,
    environment: Mapping[str, str],
    say: Say,
    patience_s: float,
) -> list[Answer]:
    rows: dict[str, Answer] = {}
    good: list[SpecDocument] = []
    for document in documents:
        try:
            for one in (document, *_transformers(document, loaded)):
                check.check(alone(one))
                (check.refuse_literals if settings.broker else check.refuse_unset)(alone(one))
            good.append(document)
        except SharderError as error:
            rows[document.name] = _failed(document, error)
    if good:
        # The loader reads, too, how the programs of plugins are run.
        fleet = [d for d in loaded.documents if isinstance(d.model, Fleet)]
        used = {t.name: t for d in good for t in _transformers(d, loaded)}
        chosen = LoadedSpec(Spec(), (*good, *used.values(), *fleet))
        log = Hider(say, partial(check.texts, chosen, sealed=not settings.broker), environment)
        with _somewhere(settings, environment, log) as here:
            for name, (cursors, seen) in _prepared(here, chosen, say, patience_s).items():
                document = next(d for d in good if d.name == name)
                rows[name] = replace(_row(document, *_verdict(cursors)), server=seen)
    return [rows[d.name] for d in documents]


def _transformers(document: SpecDocument, loaded: LoadedSpec) -> list[SpecDocument]:
    """The documents of a destination's transformers."""
    model = document.model
    assert isinstance(model, Destination)
    return [
        d
        for d in loaded.documents
        if isinstance(d.model, Transformer) and d.model.name in model.transformers
    ]


def _verdict(cursors: Cursors) -> tuple[str, str]:
    if cursors.error:
        return code_of_failure(cursors.error), cursors.error.message
    server = f"; {cursors.server.name} {cursors.server.version}" if cursors.server else ""
    return "", f"connected and ready to load ({cursors.guarantee}){server}"


@contextmanager
def _somewhere(settings: Settings, environment: Mapping[str, str], say: Say) -> Iterator[Place]:
    """A stage and a loader. Embedded in a directory of its own: a stage that fails has a row for itself."""
    if settings.broker:
        with place.opened(settings, environment, say) as here:
            yield here
        return
    with tempfile.TemporaryDirectory(prefix="sharder-") as folder:
        own = replace(settings, stage=folder, workers=1)
        with place.opened(own, environment, say) as here:
            yield here


def _prepared(
    here: Place, chosen: LoadedSpec, say: Say, patience_s: float
) -> dict[str, tuple[Cursors, Seen | None]]:
    """What the loader says of each destination. Only documents that it reads are put on the stage.

    The loader asks for a server's clock last: between our last look in vain and the one that found its answer.
    """
    run = new_run_id(now())
    sealed = here.kind == "embedded"
    looked_s: dict[str, float] = {}

    def answer(message: Message) -> tuple[Cursors, Seen | None] | None:
        looks_s = time.time()
        before_s = looked_s.setdefault(message.destination, looks_s)
        cursors = here.stage.cursors(message.run, message.destination)
        if cursors is None:
            looked_s[message.destination] = looks_s
            return None
        seen = Seen(cursors.server, time.time(), before_s) if cursors.server else None
        return cursors, seen

    try:
        for n, written in enumerate(check.texts(chosen, sealed=sealed)):
            here.stage.store.put(layout.spec(run, n), written.encode())
        at = Asking(here.stage, here.queue, here.rules, say, here.pause, patience_s=patience_s)
        asked = [d.name for d in chosen.documents if isinstance(d.model, Destination)]
        messages = [Message("prepare", run, destination=name) for name in asked]
        return ask(at, messages, answer, _lost)
    finally:
        with suppress(SharderError):
            gc.remove(here.stage, run)


def _lost(message: Message, why: str) -> tuple[Cursors, None]:
    error = Failure(message=why, kind=Unreachable.__name__)
    return Cursors(run=message.run, destination=message.destination, error=error), None
