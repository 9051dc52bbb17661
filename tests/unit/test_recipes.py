"""The recipes for schedulers: each parses and fits its tool's schema, names its runs after the schedule, and
does the right thing after every exit code.

What Airflow and Dagster would import is not installed here; their recipes are judged by what they are written
in, and the one function of theirs that is plain Python is run.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from contracts import layout, specfile
from sharder.wishes import now

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes"
ANSWERING = ROOT / "tests" / "fakes" / "answering"

CRONJOB = RECIPES / "kubernetes" / "cronjob.yaml"
KESTRA = RECIPES / "kestra" / "flow.yaml"
ARGO = RECIPES / "argo" / "cronworkflow.yaml"
ACTIONS = RECIPES / "github-actions" / "sync.yml"
AIRFLOW = RECIPES / "airflow" / "sharder_dag.py"
DAGSTER = RECIPES / "dagster" / "sharder_assets.py"
ALL = (CRONJOB, KESTRA, ARGO, ACTIONS, AIRFLOW, DAGSTER)

each = pytest.mark.parametrize("file", ALL, ids=lambda f: f.parent.name)

# Codes that `sharder` answers with, one after the other → the code of a try, and how often it was asked.
VERDICTS = [
    ((0,), 0),
    ((3, 0), 0),  # something failed, and the retry mended it
    ((3, 3), 3),
    ((3, 4), 3),  # the retry loaded nothing more; what is loaded is loaded
    ((4, 3), 3),
    ((4, 2), 4),  # nothing was loaded, and there is no run to retry
    ((4, 0), 0),
    ((2,), 2),
    ((5,), 5),
    ((130,), 130),
]
verdicts = pytest.mark.parametrize(("codes", "verdict"), VERDICTS, ids=str)


def workflow() -> dict[str, Any]:
    found = yaml.safe_load(ACTIONS.read_text())
    found["on"] = found.pop(True)  # YAML 1.1 takes `on` for a boolean, as GitHub does not
    return found


def kestra_task() -> dict[str, Any]:
    (task,) = yaml.safe_load(KESTRA.read_text())["tasks"]
    return task


def actions_step() -> dict[str, Any]:
    return next(s for s in workflow()["jobs"]["sync"]["steps"] if s.get("name") == "Sync")


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def plain_function(file: Path, name: str) -> Callable[..., Any]:
    """A function of a recipe with the constants beside it, without what the recipe imports of its tool."""
    kept = []
    for node in tree(file).body:
        match node:
            case ast.Import(names=[ast.alias(name=module)]) if module in sys.stdlib_module_names:
                kept.append(node)
            case ast.ImportFrom(module=str(module)) if module in sys.stdlib_module_names:
                kept.append(node)
            case ast.Assign(value=ast.Constant() | ast.Tuple() | ast.Call()):
                kept.append(node)
            case ast.FunctionDef() if node.name == name:
                kept.append(node)
            case _:
                pass
    scope: dict[str, Any] = {}
    keep = [n for n in kept if not (isinstance(n, ast.Assign) and "dg." in ast.unparse(n))]
    exec(compile(ast.Module(keep, []), str(file), "exec"), scope)
    return scope[name]


class Place:
    """A directory where `sharder` answers with the codes that it is given."""

    def __init__(self, home: Path, codes: tuple[int, ...]) -> None:
        self.home = home
        (home / "codes").write_text("".join(f"{code}\n" for code in codes))
        self.environment = {**os.environ, "PATH": f"{ANSWERING}{os.pathsep}{os.environ['PATH']}"}

    def bash(self, script: str) -> int:
        command = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
        return subprocess.run(command, cwd=self.home, env=self.environment | {"RUN_ID": "r"}).returncode  # fmt: skip

    def said(self) -> list[str]:
        return (self.home / "said").read_text().splitlines()


class TestEveryRecipe:
    @each
    def test_says_first_what_to_change(self, file):
        head = file.read_text().split("\n\n", maxsplit=3)
        assert "Change:" in "\n".join(head[:3])

    @each
    def test_gives_the_run_an_id_and_keeps_its_summary(self, file):
        text = file.read_text()
        assert "--run-id" in text
        assert "--summary-location" in text

    @each
    def test_holds_no_secret(self, file):
        for line in file.read_text().splitlines():
            assert not re.search(r"postgres(ql)?://\S+:\S+@", line), line
            if re.search(r"(PASSWORD|SECRET|TOKEN|_URL)\w*[\"']?\s*[:=]\s", line):
                assert re.search(r"secret|\$\{|Connection|EnvVar", line), line

    @each
    def test_keeps_its_stage_where_the_next_try_finds_it(self, file):
        text = file.read_text()
        assert "s3://change-me/elt" in text or "sharder-settings" in text

    def test_every_directory_has_a_page_in_the_documentation(self):
        page = (ROOT / "docs" / "how-to" / "schedule.md").read_text()
        for file in ALL:
            assert str(file.relative_to(ROOT)) in page

    @each
    def test_its_commands_are_ones_that_sharder_knows(self, file):
        from sharder.cli import sharder

        for name, options in commands(file):
            command = sharder.get_command(click.Context(sharder), name)
            assert command, name
            known = {name for p in command.params for name in p.opts}
            assert set(options) <= known, name


def commands(file: Path) -> list[tuple[str, list[str]]]:
    """(command, its options) of every call of sharder in a recipe."""
    text = re.sub(r'"?,\s*\n?\s*"?|"\s*\n?\s*"', " ", file.read_text())
    text = re.sub(r'["\[\]{}]', " ", text)
    calls = re.finditer(r"\bsharder +(sync|retry|submit)\b([^\n]*)", text)
    found = [(call[1], re.findall(r"--[a-z-]+", call[2])) for call in calls]
    if file == ARGO:
        found = [("sync", ["--run-id", "--summary-location"]), ("retry", [])]
    assert found
    return found


class TestATry:
    """One try of the task: `sync`, and `retry` where that can help."""

    @verdicts
    def test_of_kestra(self, tmp_path, codes, verdict):
        place = Place(tmp_path, codes)
        (script,) = kestra_task()["commands"]
        assert place.bash(script) == verdict
        check(place, codes)

    @verdicts
    def test_of_github_actions(self, tmp_path, codes, verdict):
        place = Place(tmp_path, codes)
        assert place.bash(actions_step()["run"]) == verdict
        check(place, codes)

    @verdicts
    def test_of_airflow(self, tmp_path, monkeypatch, codes, verdict):
        place = Place(tmp_path, codes)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", place.environment["PATH"])
        assert plain_function(AIRFLOW, "attempt")("r", place.environment) == verdict
        check(place, codes)

    @verdicts
    def test_of_dagster(self, tmp_path, monkeypatch, codes, verdict):
        place = Place(tmp_path, codes)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", place.environment["PATH"])
        assert plain_function(DAGSTER, "attempt")("r", place.environment, Path("s.jsonl")) == verdict  # fmt: skip
        check(place, codes)


def check(place: Place, codes: tuple[int, ...]) -> None:
    first, *rest = place.said()
    sync = re.fullmatch(r"sync \S*spec\.yml --run-id r( --summary-location \S+)", first)
    assert sync, first
    assert rest == [f"retry r{sync[1]}"] * (len(codes) - 1)


class TestTheCronJob:
    OBJECTS = tuple(yaml.safe_load_all(CRONJOB.read_text()))
    CONFIG, JOB = OBJECTS

    @pytest.mark.parametrize("version", ["1.31", "1.37"])
    @pytest.mark.parametrize("document", OBJECTS, ids=lambda o: o["kind"])
    def test_fits_kubernetes_own_schema_and_nothing_beyond_it(self, document, version):
        import kubernetes_validate

        kubernetes_validate.validate(document, version, strict=True)

    def test_is_as_strict_as_the_cronjob_of_the_fleet(self):
        fleet = yaml.safe_load((ROOT / "deploy/k8s/manifests/submit.yaml").read_text())["spec"]
        mine = self.JOB["spec"]
        for field in ("concurrencyPolicy", "timeZone", "startingDeadlineSeconds"):
            assert mine[field] == fleet[field]
        theirs, ours = (s["jobTemplate"]["spec"] for s in (fleet, mine))
        codes = [r["onExitCodes"]["values"] for r in (theirs["podFailurePolicy"]["rules"][0], ours["podFailurePolicy"]["rules"][0])]  # fmt: skip
        assert codes[0] == codes[1]
        pods = [s["template"]["spec"] for s in (theirs, ours)]
        for field in ("restartPolicy", "automountServiceAccountToken", "securityContext", "enableServiceLinks"):  # fmt: skip
            assert pods[0][field] == pods[1][field]
        containers = [p["containers"][0] for p in pods]
        for field in ("image", "securityContext"):
            assert containers[0][field] == containers[1][field]

    def test_names_the_run_after_the_job_which_is_named_after_the_schedule(self):
        (container,) = self.JOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"][0] == "sharder"  # no shell: signals must reach it
        variable = next(v for v in container["env"] if v["name"] == "RUN_ID")
        path = variable["valueFrom"]["fieldRef"]["fieldPath"]
        assert path == "metadata.labels['batch.kubernetes.io/job-name']"
        assert layout.check_run(f"{self.JOB['metadata']['name']}-29454840")

    def test_its_spec_is_one(self, tmp_path):
        file = tmp_path / "spec.yml"
        file.write_text(self.CONFIG["data"]["spec.yml"])
        loaded = specfile.load([file], {"POSTGRESQL_URL": "postgresql://h/d"}, now())
        assert [s.name for s in loaded.spec.sources] == ["aws"]


class TestTheWorkflowOfArgo:
    WORKFLOW = yaml.safe_load(ARGO.read_text())
    SPEC = WORKFLOW["spec"]["workflowSpec"]

    def test_fits_the_models_of_argo_and_nothing_is_unknown_to_them(self):
        from hera.workflows.models import CronWorkflow

        read = CronWorkflow.model_validate(self.WORKFLOW)
        written = read.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert not list(lost(self.WORKFLOW, written))

    def test_names_the_run_after_the_time_of_the_schedule(self):
        (parameter,) = self.SPEC["arguments"]["parameters"]
        assert "workflow.scheduledTime" in parameter["value"]
        assert layout.check_run("nightly-20260102T020000")

    def test_every_template_that_is_named_exists(self):
        templates = {t["name"]: t for t in self.SPEC["templates"]}
        steps = [s for group in templates["nightly"]["steps"] for s in group]
        assert {s["template"] for s in steps} | {"nightly"} == templates.keys()

    def test_the_retry_has_the_last_word_after_every_code_but_zero(self):
        templates = {t["name"]: t for t in self.SPEC["templates"]}
        (sync,), (retry,) = templates["nightly"]["steps"]
        assert sync["continueOn"] == {"failed": True}
        assert retry["when"] == "{{steps.sync.exitCode}} != 0"
        # Neither wrong input nor a bug of ours is asked for twice, and a run in parts is left to the retry.
        asked = {
            n: t["retryStrategy"]["expression"].rpartition(" in ")[2]
            for n, t in templates.items()
            if n != "nightly"
        }
        assert asked == {"sharder": "[-1, 4, 5, 130]", "again": "[-1, 3, 4, 5, 130]"}
        assert templates["again"]["container"]["args"][0] == "retry"

    def test_refers_only_to_what_deploy_has(self):
        manifests = (ROOT / "deploy/k8s").rglob("*.yaml")
        objects = [o for f in manifests for o in yaml.safe_load_all(f.read_text())]
        names = {o["metadata"]["name"] for o in objects if "metadata" in o}
        container = self.SPEC["templates"][1]["container"]
        used = {r["name"] for source in container["envFrom"] for r in source.values()}
        used |= {self.SPEC["serviceAccountName"], self.SPEC["volumes"][0]["configMap"]["name"]}
        assert used <= names


def lost(given: Any, kept: Any, where: str = "") -> list[str]:
    """What of `given` is not in `kept`."""
    match given:
        case dict():
            return [
                path
                for key, value in given.items()
                for path in (
                    lost(value, kept[key], f"{where}.{key}") if key in kept else [f"{where}.{key}"]
                )
            ]
        case list():
            pairs = zip(given, kept, strict=True)
            return [path for n, (a, b) in enumerate(pairs) for path in lost(a, b, f"{where}[{n}]")]
        case _:
            return [] if given == kept else [f"{where}: {given!r}, and {kept!r}"]


class TestTheFlowOfKestra:
    FLOW = yaml.safe_load(KESTRA.read_text())

    def test_has_the_parts_that_kestra_asks_for(self):
        assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", self.FLOW["id"])
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.FLOW["namespace"])
        assert self.FLOW.keys() <= {"id", "namespace", "description", "concurrency", "tasks", "triggers"}  # fmt: skip
        for part in (*self.FLOW["tasks"], *self.FLOW["triggers"]):
            assert part["type"].startswith("io.kestra.plugin.")
            assert part["id"]

    def test_names_the_run_after_the_date_of_the_trigger(self):
        run = kestra_task()["env"]["RUN_ID"]
        assert "trigger.date ?? execution.startDate" in run
        assert layout.check_run("sharder-20260102T020000")

    def test_takes_secrets_from_kestra(self):
        environment = kestra_task()["env"]
        kept = [v for k, v in environment.items() if k not in {"RUN_ID", "SHARDER_STAGE"}]
        assert kept
        assert all(re.fullmatch(r"\{\{ secret\('\w+'\) \}\}", v) for v in kept)

    def test_is_tried_again_and_ends(self):
        task = kestra_task()
        assert task["retry"]["maxAttempts"] > 1
        assert task["timeout"]
        assert task["outputFiles"] == ["summary.jsonl"]


class TestTheWorkflowOfGithub:
    def test_fits_the_published_schema(self):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(ACTIONS)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_scripts_are_ones_that_bash_can_read(self):
        for step in workflow()["jobs"]["sync"]["steps"]:
            if "run" in step:
                assert subprocess.run(["bash", "-n", "-c", step["run"]]).returncode == 0

    def test_a_workflow_that_is_run_again_goes_on_with_the_same_run(self):
        job = workflow()["jobs"]["sync"]
        assert job["env"]["RUN_ID"] == "actions-${{ github.run_id }}"
        assert "run_attempt" not in ACTIONS.read_text()
        assert workflow()["concurrency"]["cancel-in-progress"] is False

    def test_secrets_are_seen_by_the_one_step_that_needs_them(self):
        assert "secrets." not in str(workflow()["jobs"]["sync"]["env"])
        assert "secrets." in actions_step()["env"]["POSTGRESQL_URL"]
        assert workflow()["permissions"] == {"contents": "read", "id-token": "write"}


class TestThePythonOnes:
    @pytest.mark.parametrize("file", [AIRFLOW, DAGSTER], ids=lambda f: f.stem)
    def test_do_nothing_when_they_are_imported(self, file):
        """A scheduler imports every file every minute: no file, no process and no network at the top level."""
        for node in tree(file).body:
            match node:
                case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
                    pass
                case ast.FunctionDef():
                    pass
                case ast.Assign(value=ast.Constant() | ast.Tuple()):
                    pass
                case ast.Assign(value=ast.Call(func=called)) | ast.Expr(value=ast.Call(func=called)):  # fmt: skip
                    assert ast.unparse(called).startswith(("dg.", "Path", "sharder_nightly"))
                case _:
                    pytest.fail(f"line {node.lineno}: {ast.unparse(node)}")

    @pytest.mark.parametrize("file", [AIRFLOW, DAGSTER], ids=lambda f: f.stem)
    def test_are_free_of_what_ruff_finds(self, file):
        ruff = Path(sys.executable).with_name("ruff")
        for words in (["check"], ["format", "--check"]):
            assert subprocess.run([ruff, *words, file], cwd=ROOT).returncode == 0

    def test_the_dag_names_its_run_after_the_logical_date(self):
        dag = function(AIRFLOW, "sharder_nightly")
        text = ast.unparse(dag)
        assert "dag_run.logical_date or dag_run.run_after" in text
        assert "%Y%m%dT%H%M%S" in text
        options = {k.arg: ast.unparse(k.value) for k in dag.decorator_list[0].keywords}  # type: ignore[attr-defined]
        assert options["catchup"] == "False"
        assert options["max_active_runs"] == "1"
        assert layout.check_run("sharder_nightly-20260102T020000")

    def test_the_dag_does_not_try_again_what_is_wrong_and_fails_a_run_in_parts(self):
        cases = {
            ast.unparse(case.pattern): ast.unparse(case.body[0])
            for node in ast.walk(function(AIRFLOW, "sharder_nightly"))
            if isinstance(node, ast.Match)
            for case in node.cases
        }
        assert cases["0"] == "return"
        assert cases["2"].startswith("raise AirflowFailException")
        assert cases["3"].startswith("raise AirflowException")
        assert "the rest is loaded" in cases["3"]

    def test_the_asset_names_its_run_after_the_partition_and_checks_that_it_is_complete(self):
        text = ast.unparse(function(DAGSTER, "accounts"))
        assert "f'accounts-{context.partition_key}'" in text
        assert "allow_retries=code != INPUT" in text
        assert "passed=code == OK" in text
        assert layout.check_run("accounts-2026-01-02")

    def test_the_asset_tells_the_rows_of_the_summary(self, tmp_path):
        file = tmp_path / "s.jsonl"
        told = plain_function(DAGSTER, "told")
        assert told(file) == {}
        line = '{"source_name": "a", "destination_name": "b", "resources": %d}\n'
        file.write_text(line % 4 + line % 3)
        assert told(file) == {"a to b": 7}


def function(file: Path, name: str) -> ast.FunctionDef:
    return next(n for n in tree(file).body if isinstance(n, ast.FunctionDef) and n.name == name)
