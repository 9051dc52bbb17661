"""Spec files become models; every error names file, line and column, and shows the line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import InputError
from contracts.spec import Destination, Fleet, Source
from contracts.specfile import expand, expand_document, load, validate

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
SPECS = Path(__file__).parent / "specs"

SOURCE = """\
kind: source
spec:
  name: aws
  path: cloudquery/aws
  version: v1
  tables: ["*"]
  destinations: [pg]
"""
DESTINATION = """\
kind: destination
spec:
  name: pg
  path: cloudquery/postgresql
  version: v8
"""


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="spec.yml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(text.encode())
        return name

    return write


def loaded(at, text, environment=None, **flags):
    return load([at(text)], environment or {}, NOW, **flags)


def refused(at, text, environment=None, **flags):
    with pytest.raises(InputError) as caught:
        loaded(at, text, environment, **flags)
    return str(caught.value)


BOTH = f"{SOURCE}---\n{DESTINATION}"


class TestFiles:
    def test_a_directory_is_read_one_level_deep_in_alphabetical_order(self, at):
        at(SOURCE, "d/b.yml")
        at(DESTINATION, "d/a.yaml")
        at("no: spec", "d/.hidden.yml")
        at("no: spec", "d/notes.txt")
        at("no: spec", "d/deeper/c.yml")
        documents = load(["d"], {}, NOW).documents
        assert [(d.kind, d.file) for d in documents] == [
            ("destination", "d/a.yaml"),
            ("source", "d/b.yml"),
        ]

    def test_a_named_file_may_have_any_extension(self, at):
        assert load([at(BOTH, "spec.txt")], {}, NOW).spec.sources[0].name == "aws"

    @pytest.mark.parametrize(
        ("path", "message"),
        [("nowhere.yml", "there is no file nowhere.yml"), ("empty", "holds no .yml or .yaml file")],
    )
    def test_what_is_not_there_is_named(self, at, path, message):
        Path("empty").mkdir()
        with pytest.raises(InputError, match=message):
            load([path], {}, NOW)

    def test_windows_line_ends_are_read_as_any_other(self, at):
        assert loaded(at, BOTH.replace("\n", "\r\n")).spec == loaded(at, BOTH).spec

    def test_a_file_that_is_no_text_is_told(self, tmp_path):
        (tmp_path / "x.yml").write_bytes(b"kind: source\na: \xff\xfe")
        with pytest.raises(InputError, match=r"x\.yml:2:4: the file is not UTF-8 text\n  save it"):
            load([tmp_path / "x.yml"], {}, NOW)

    def test_the_example_of_the_documentation_is_read_as_it_is(self):
        found = load([SPECS / "hn_to_duckdb.yml"], {}, NOW)
        (source,), (destination,) = found.spec.sources, found.spec.destinations
        assert source.backend_options
        assert source.backend_options.destination == "duckdb"
        assert source.spec == {"item_concurrency": 100}
        assert (destination.write_mode, destination.spec) == (
            "overwrite-delete-stale",
            {"connection_string": "hn.db"},
        )
        assert found.warnings == ()


class TestDocuments:
    def test_a_document_without_kind_is_a_source(self, at):
        assert loaded(at, BOTH.removeprefix("kind: source\n")).spec.sources[0].name == "aws"

    @pytest.mark.parametrize("separator", ["--- ", "---\t", "--- # the warehouse"])
    def test_a_document_that_cloudquery_would_lose_is_read_with_a_warning(self, at, separator):
        found = loaded(at, f"{SOURCE}{separator}\n{DESTINATION}")
        assert len(found.documents) == 2
        assert found.warnings == (
            "spec.yml:8:1: CloudQuery loses the document behind this line; write `---` and nothing else",
        )

    def test_another_document_on_the_line_of_its_marker_is_refused_not_lost(self, at):
        message = refused(at, f"{SOURCE}--- {{kind: fleet}}\n")
        assert message.startswith("spec.yml:8:1: a second document begins here")

    def test_empty_documents_and_comments_are_left_out(self, at):
        found = loaded(at, f"# a comment\n---\n{SOURCE}---\n\n---\n{DESTINATION}---\n")
        assert [(d.kind, d.line, d.number) for d in found.documents] == [
            ("source", 3, 2),
            ("destination", 13, 4),
        ]

    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "---\n---\n"])
    def test_an_empty_spec_is_told(self, at, text):
        assert "the spec is empty" in refused(at, text)

    def test_keys_are_matched_without_regard_to_case(self, at):
        text = (
            BOTH.replace("kind:", "Kind:").replace("spec:", "SPEC:").replace("tables:", "Tables:")
        )
        assert loaded(at, text).spec == loaded(at, BOTH).spec

    def test_null_means_absent_and_an_empty_text_in_a_list(self, at):
        text = SOURCE + "  spec:\n  skip_tables:\n  registry: ~\n"
        source = loaded(at, f"{text}---\n{DESTINATION}").spec.sources[0]
        assert (source.spec, source.skip_tables, source.registry) == ({}, (), "cloudquery")
        source = loaded(at, f"{SOURCE}  skip_tables: [~, a]\n---\n{DESTINATION}").spec.sources[0]
        assert source.skip_tables == ("", "a")

    def test_what_goes_to_the_stage_has_no_comment_and_no_value_of_a_secret(self, at):
        text = (
            "# password: hunter2\nkind: source\nspec:\n  name: ${NAME}  # ${UNSET}\n  path: cloudquery/aws\n"
            "  tables: ['*']\n  destinations: ['${NAME}-pg']\n  otel_endpoint: https://${TOKEN}@otel\n"
            "  spec: {token: '${TOKEN}', since: '${time:3 days ago|2006-01-02}', '${NAME}': 1}\n"
        )
        found = loaded(at, text, {"NAME": "aws", "TOKEN": "s3cret-t0ken"}, relaxed=True)
        assert found.documents[0].text == (
            "#\nkind: source\nspec:\n  name: aws\n  path: cloudquery/aws\n"
            "  tables: ['*']\n  destinations: ['aws-pg']\n  otel_endpoint: https://${TOKEN}@otel\n"
            "  spec: {token: '${TOKEN}', since: '2026-01-02', '${NAME}': 1}\n"
        )
        assert found.spec.sources[0].spec["token"] == "s3cret-t0ken"

    def test_the_stages_text_expands_to_the_same_model(self, at):
        text = BOTH.replace(
            "v8\n", "v8\n  spec: {a: '${A}', t: '${time:now}', b: [1, {c: ${A}}]}\n"
        )
        environment = {"A": "x"}
        found = loaded(at, text, environment)
        for document in found.documents:
            assert expand(document.text, environment, document.file) == document.model

    def test_no_value_becomes_a_variable_on_the_stage(self, at):
        text = BOTH.replace("name: aws", "name: '$${A}'")
        (document, _) = loaded(at, text, {"A": "{HOME}"}).documents
        assert document.name == "${HOME}"
        assert expand(document.text, {"A": "{HOME}"}, document.file).name == "${HOME}"

    def test_documents_are_found_by_kind_and_name(self, at):
        found = loaded(at, BOTH)
        assert found.number("destination", "pg") == 1
        assert found.document("source", "aws").line == 1
        with pytest.raises(KeyError):
            found.document("source", "pg")


class TestDestinations:
    OPTIONS = "  spec:\n    dsn: ${DSN}\n    flow: {a: ${A}, b: ['${B}', ${C}]}\n    cert: ${file:/no/cert}\n"

    def test_variables_of_its_options_that_are_not_set_here_are_left_alone(self, at):
        found = loaded(at, BOTH + self.OPTIONS, {"A": "set"})
        assert found.spec.destinations[0].spec == {
            "dsn": "${DSN}",
            "flow": {"a": "set", "b": ["${B}", "${C}"]},
            "cert": "${file:/no/cert}",
        }

    def test_they_are_an_error_for_the_program_that_uses_them(self, at):
        document = loaded(at, BOTH + self.OPTIONS).document("destination", "pg")
        with pytest.raises(InputError) as caught:
            expand(document.text, {}, "runs/r/spec/1.yml")
        assert str(caught.value) == (
            "runs/r/spec/1.yml:7:10: the environment variable DSN is not set\n"
            "  set it before the command: export DSN=…\n"
            "      7 |     dsn: ${DSN}"
        )

    def test_outside_of_its_options_they_are_an_error_here(self, at):
        message = refused(at, BOTH + self.OPTIONS + "  write_mode: ${MODE}\n")
        assert message.startswith("spec.yml:18:15: the environment variable MODE is not set")

    def test_of_a_source_they_are_an_error_here(self, at):
        message = refused(at, SOURCE + "  spec:\n    key: ${KEY}\n---\n" + DESTINATION)
        assert message == (
            "spec.yml:9:10: the environment variable KEY is not set\n"
            "  set it before the command: export KEY=…\n"
            "      9 |     key: ${KEY}"
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("  tables", "  tabels"),
             ("spec.yml:6:3: unknown key 'tabels' of source 'aws'\n  did you mean 'tables'?\n"
             '      6 |   tabels: ["*"]')),
            (("  version: v1\n", "  version: v1\n  concurrency: 5\n"),
             ("spec.yml:6:3: unknown key 'concurrency' of source 'aws'\n"
             "  it moved into the plugin's own options, one level deeper under `spec`\n"
             "      6 |   concurrency: 5")),
            (('  tables: ["*"]\n', ""),
             ("spec.yml:3:3: 'tables' of source 'aws' is missing\n"
             '  write for example tables: ["aws_ec2_instances"], or ["*"]\n      3 |   name: aws')),
            (('["*"]', "[]"),
             ("spec.yml:6:11: 'tables' of source 'aws' must not be empty\n"
             '  write for example tables: ["aws_ec2_instances"], or ["*"]\n      6 |   tables: []')),
            (('["*"]', "all"),
             "spec.yml:6:11: 'tables' of source 'aws' must be a list\n  write it between brackets: […]\n      6 |   tables: all"),
            (("name: aws", "name:"),
             ("spec.yml:3:3: 'name' of source is missing\n"
             "  write a name of your own, for example name: aws\n      3 |   name:")),
            (("name: aws", "name: 123"),
             ("spec.yml:3:9: 'name' of source must be a text, but YAML reads a number or boolean here\n"
             "  put the value in quotes\n      3 |   name: 123")),
            (("kind: source", "kind: sources"),
             "spec.yml:1:7: unknown kind 'sources'\n  did you mean 'source'?\n      1 | kind: sources"),
            (("kind: source\n", "kind: source\nname: x\n"),
             ("spec.yml:2:1: unknown key 'name' beside kind and spec\n"
             "  everything else goes below `spec:`\n      2 | name: x")),
            (("version: v1", "version: 1.0.0"),
             ("spec.yml:5:12: the version of source 'aws' must start with v\n  write version: v1.0.0\n"
             "      5 |   version: 1.0.0")),
            (("version: v1", "registry: clodquery"),
             ("spec.yml:5:13: 'registry' of source 'aws' must be one of cloudquery, github, local, grpc,"
             " docker or python\n  did you mean 'cloudquery'?\n      5 |   registry: clodquery")),
            (("[pg]", "[pgsql, pg]"),
             ("spec.yml:7:18: source 'aws' names the unknown destination 'pgsql'\n  did you mean 'pg'?\n"
             "      7 |   destinations: [pgsql, pg]")),
            (("[pg]", "[platform]"),
             ("spec.yml:7:18: source 'aws' writes to CloudQuery's own platform only, which is not supported\n"
             "  add a document with `kind: destination`, and name it here\n"
             "      7 |   destinations: [platform]")),
            (("  name: aws", "   name: aws"), None),
            (("kind: source", "kind: 5"),
             "spec.yml:1:7: unknown kind '5'\n  known kinds: source, destination, transformer, fleet\n      1 | kind: 5"),
            ((SOURCE[13:], "spec: [1]\n"), "spec.yml:2:7: `spec` must be a mapping\n  write `key: value` lines below it\n      2 | spec: [1]"),
            ((SOURCE, "- 1\n"), ("spec.yml:1:1: a document must be a mapping with `kind` and `spec`\n"
             "  write `kind: source` and `spec:` on lines of their own\n      1 | - 1")),
            (("spec:\n", "spec: [\n"), None),
        ],
    )  # fmt: skip
    def test_each_names_the_place_the_fault_and_what_to_write(self, at, change, message):
        text = BOTH.replace(*change, 1)
        found = refused(at, text)
        assert found.startswith("spec.yml:")
        if message:
            assert found == message

    @pytest.mark.parametrize(
        ("added", "message"),
        [
            ("  write_mode: merge\n", "must be one of overwrite-delete-stale, overwrite or append"),
            ("  sync_group_id: '{{DAY}}'\n",
             "`sync_group_id` cannot go with overwrite-delete-stale, the default write_mode"),
            ("  sync_group_id: a\n  write_mode: overwrite-delete-stale\n",
             "`sync_group_id` cannot go with overwrite-delete-stale\n"),
            ("  transformers: [basic]\n", "destination 'pg' names the unknown transformer 'basic'"),
        ],
    )  # fmt: skip
    def test_a_destination_is_judged_by_its_own_rules(self, at, added, message):
        assert message in refused(at, BOTH + added)

    @pytest.mark.parametrize(
        ("connection", "message"),
        [
            ("'@@plugins.pgg.connection'", "names the unknown destination 'pgg'\n  did you mean 'pg'?"),
            ("localhost:7777", 'does not name a destination\n  write connection: "@@plugins.pg.connection"'),
            ("''", "'backend_options.connection' of source 'aws' must not be empty"),
        ],
    )  # fmt: skip
    def test_a_state_backend_must_be_a_destination(self, at, connection, message):
        options = f"  backend_options: {{table_name: state, connection: {connection}}}\n---\n"
        assert message in refused(at, SOURCE + options + DESTINATION)

    def test_names_are_unique_per_kind_over_all_files(self, at):
        with pytest.raises(InputError) as caught:
            load([at(BOTH), at(SOURCE, "more.yml")], {}, NOW)
        assert str(caught.value) == (
            "more.yml:3:9: a second source 'aws'; the first is at spec.yml:3:9\n"
            "  names are unique per kind over all files\n"
            "      3 |   name: aws"
        )

    def test_only_one_fleet_document_is_allowed(self, at):
        fleet = "---\nkind: fleet\nspec: {shard_seconds: 30s}\n"
        assert loaded(at, BOTH + fleet).spec.fleet.shard_seconds == 30
        assert "a second document of kind fleet; the first is at spec.yml:15:1" in refused(
            at, BOTH + 2 * fleet
        )

    def test_sources_of_one_plugin_in_one_destination_have_one_version(self, at):
        other = SOURCE.replace("name: aws", "name: aws2").replace("v1", "v2")
        message = refused(at, f"{other}---\n{BOTH}")
        assert "with different versions of cloudquery/aws\n  v2 and v1: make them equal" in message

    def test_a_spec_without_source_or_destination_is_told_unless_one_is_enough(self, at):
        assert "the spec has no source" in refused(at, DESTINATION)
        assert "the spec has no destination" in refused(at, SOURCE)
        assert loaded(at, SOURCE, relaxed=True).spec.sources
        assert "neither a source nor a destination" in refused(at, "kind: fleet\n", relaxed=True)

    def test_no_error_shows_a_literal_secret_or_the_value_of_a_variable(self, at):
        options = (
            "  spec:\n    connection_string: postgres://u:hunter2@h/d\n    connection_string\n"
        )
        message = refused(at, BOTH + options)
        assert "hunter2" not in message
        inline = BOTH + "  url: {a: 'postgres://u:hunter2@h/d'}\n"
        message = refused(at, inline)
        assert "unknown key 'url'" in message
        assert "hunter2" not in message
        message = refused(at, BOTH + "  write_mode: ${SECRET}\n", {"SECRET": "hunter2"})
        assert message.startswith("spec.yml:14:15")
        assert "hunter2" not in message

    def test_what_is_printed_of_a_loaded_spec_holds_no_values(self, at):
        text = SOURCE + "  spec: {token: '${T}'}\n---\n" + DESTINATION + "  spec: {dsn: hunter2}\n"
        found = loaded(at, text, {"T": "hunter2"})
        assert "hunter2" not in repr(found)
        assert "<source 'aws' at spec.yml:1>" in repr(found)

    def test_a_broken_value_of_a_variable_is_told_where_the_variable_stands(self, at):
        message = refused(
            at, SOURCE.replace("name: aws", "name: ${N}"), {"N": "a: b: c"}, relaxed=True
        )
        assert message.startswith("spec.yml:3:9: not YAML")
        assert "name: ${N}" in message


class TestWarnings:
    @pytest.mark.parametrize(
        ("text", "warning"),
        [
            (BOTH.replace('["*"]', '["*", "aws_s3_*"]'), "spec.yml:6:11: '*' selects every table"),
            (BOTH.replace('["*"]', '["*"]\n  skip_dependent_tables: true'),
             "spec.yml:7:26: `skip_dependent_tables: true` does not keep out child tables"),
            (BOTH.replace("version: v1", "registry: github"), "spec.yml:5:13: `registry: github` is"),
            (BOTH.replace("version: v1", "version: v1\n  path: cloudquery/aws"),
             "spec.yml:6:3: the key 'path' stands twice in the same mapping; this one counts"),
            (BOTH.replace("version: v1", "version: v1\n  Version: v1"), "the key 'Version' stands twice"),
            (SOURCE + "  spec: {accounts: [{id: 012345678901}]}\n---\n" + DESTINATION,
             "spec.yml:8:26: 012345678901 is kept as text; CloudQuery would drop its leading zero"),
            (BOTH + "---\nkind: fleet\nspec: {sources: {awz: {rate_limit: 5}}}\n",
             "the fleet has limits for 'awz'; this spec has a source 'aws'"),
            (SOURCE + "  backend_options: {table_name: s, connection: '@@plugins.state.connection'}\n---\n"
             + DESTINATION + "---\n" + DESTINATION.replace("pg", "state"),
             "the cursors of source 'aws' live in 'state', to which it writes no rows"),
        ],
    )  # fmt: skip
    def test_a_surprise_is_told_with_its_place(self, at, text, warning):
        (found,) = loaded(at, text).warnings
        assert warning in found

    def test_no_warning_shows_the_value_of_a_variable(self, at):
        text = SOURCE + "  spec: {pin: ${PIN}}\n---\n" + DESTINATION
        (warning,) = loaded(at, text, {"PIN": "012345678901"}).warnings
        assert warning.startswith("spec.yml:8:15: ${PIN} is kept as text")

    def test_a_transformer_is_read_and_found(self, at):
        text = (
            BOTH
            + "  transformers: [basic]\n---\nkind: transformer\nspec: {name: basic, path: cloudquery/basic}\n"
        )
        assert loaded(at, text).spec.transformers[0].name == "basic"


class Account(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    role_arn: str = ""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    accounts: list[Account] = []
    regions: tuple[str, ...] = ()
    by_name: dict[str, Account] = {}
    org: Account | None = None
    retries: int = Field(3, ge=1)
    tags: list[str] | dict[str, str] | None = None
    admins: tuple[Annotated[Account, Field(description="who may")], ...] = ()


class TestOptions:
    def document(self, at, options):
        found = loaded(at, SOURCE + "  spec:\n" + options + "---\n" + DESTINATION, {"T": "tiny"})
        return found.document("source", "aws")

    def check(self, at, options):
        document = self.document(at, options)
        return validate(Options, document.model.spec, document, ("spec", "spec"), document.what)

    def test_a_plugins_options_are_read_without_regard_to_case_or_nulls(self, at):
        found = self.check(
            at,
            "    Accounts: [{ID: a, Role_ARN: ~}]\n    regions: [~]\n    by_name: {X: {Id: x}}\n"
            "    org: {iD: o}\n    retries:\n    tags: [a, ~]\n    admins: [{Id: b}]\n",
        )
        assert found == Options(
            accounts=[Account(id="a")], regions=("",), by_name={"X": Account(id="x")}, org=Account(id="o"),
            tags=["a", ""], admins=(Account(id="b"),),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("    acounts: []\n", "spec.yml:9:5: unknown key 'acounts' of source 'aws'\n  did you mean 'accounts'?"),
            ("    accounts:\n      - id: a\n        role: r\n",
             "spec.yml:11:9: unknown key 'role' in accounts.0.role\n  did you mean 'role_arn'?"),
            ("    by_name:\n      x: {id: a, rle_arn: r}\n", "spec.yml:10:18: unknown key 'rle_arn' in by_name.x.rle_arn\n  did you mean 'role_arn'?"),
            ("    accounts:\n      - role_arn: r\n", "spec.yml:10:9: 'accounts.0.id' of source 'aws' is missing"),
            ("    accounts:\n      - id: 123456789012\n",
             "spec.yml:10:13: 'accounts.0.id' of source 'aws' must be a text, but YAML reads a number"),
            ("    retries: 0\n", "spec.yml:9:14: 'retries' of source 'aws': input should be greater than or equal to 1"),
            ("    retries: ${T}\n", "spec.yml:9:14: 'retries' of source 'aws': input should be a valid integer"),
            ("    org: {x: 1}\n", "spec.yml:9:11: unknown key 'x' in org.x\n  known keys: id, role_arn"),
        ],
    )  # fmt: skip
    def test_a_fault_in_them_is_told_with_its_place(self, at, options, message):
        with pytest.raises(InputError) as caught:
            self.check(at, options)
        assert str(caught.value).startswith(message)
        assert "tiny" not in str(caught.value)

    def test_places_are_found_by_path_even_through_other_spellings(self, at):
        document = self.document(at, "    Accounts:\n      - id: a\n")
        assert document.at(("spec", "spec", "accounts", 0, "id")) == (10, 13)
        assert document.at(("spec", "spec", "accounts", 7)) == (10, 7)
        assert document.where(("spec", "tables", 0)) == "spec.yml:6:12"

    def test_a_document_of_the_stage_gives_the_same_errors(self, at):
        text = self.document(at, "    retries: 0\n").text
        document = expand_document(text, {}, "runs/r/spec/0.yml")
        with pytest.raises(InputError, match=r"^runs/r/spec/0\.yml:9:14: 'retries'"):
            validate(Options, document.model.spec, document, ("spec", "spec"))


class TestFleet:
    def test_sizes_durations_and_rates_are_read_in_words(self, at):
        text = (
            "---\nkind: fleet\nspec:\n  stage: s3://lake/elt\n  broker: redis://redis:6379/0\n"
            "  part_size: 128MiB\n  shard_seconds: 1m30s\n  keep: 7d\n"
            "  sources: {aws: {rate_limit: 20/s, timeout: 20m, max_clients_in_flight: 50}}\n"
        )
        fleet = loaded(at, BOTH + text).spec.fleet
        assert (fleet.part_size, fleet.shard_seconds, fleet.keep) == (128 << 20, 90, 604800)
        assert (fleet.sources["aws"].rate_limit, fleet.sources["aws"].timeout) == (20, 1200)
        assert loaded(at, BOTH).spec.fleet == Fleet()

    @pytest.mark.parametrize(
        ("field", "message"),
        [
            ("part_size: big", "not a size: 'big'; write for example 128MiB"),
            ("part_size: 1", "greater than or equal to 65536"),
            ("keep: soon", "not a duration: 'soon'; write for example 90s, 20m or 7d"),
            ("shard_seconds: 0", "greater than 0"),
            ("shard_seconds: -5", "out of range: -5"),
            ("sources: {aws: {rate_limit: fast}}", "not a rate: 'fast'; write for example 20/s"),
            ("format: orc", "must be one of parquet or csv"),
        ],
    )
    def test_a_wrong_value_is_told(self, at, field, message):
        found = refused(at, f"{BOTH}---\nkind: fleet\nspec:\n  {field}\n")
        assert found.startswith("spec.yml:17:")
        assert message in found

    def test_models_of_all_kinds_come_back_from_the_stage(self, at):
        found = loaded(at, BOTH + "---\nkind: fleet\nspec: {keep: 1d}\n")
        kinds = [type(expand(d.text, {}, "x")) for d in found.documents]
        assert kinds == [Source, Destination, Fleet]
