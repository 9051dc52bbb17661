"""The manifests and the Dockerfile, as far as they can be judged without a cluster."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
import yaml

from contracts import specfile

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
VERSIONS = ("1.31", "1.37")  # from the first whose podFailurePolicy is stable to the newest known
FILES = [*sorted((K8S / "manifests").glob("*.yaml")), K8S / "secrets.example.yaml"]
OBJECTS = [o for file in FILES for o in yaml.safe_load_all(file.read_text())]
TITLES = [f"{o['kind']}/{o['metadata']['name']}" for o in OBJECTS]


def pods():
    """Name of the workload → its pod's template."""
    for o in OBJECTS:
        match o["kind"]:
            case "Deployment" | "StatefulSet":
                yield o["metadata"]["name"], o["spec"]["template"]
            case "CronJob":
                yield o["metadata"]["name"], o["spec"]["jobTemplate"]["spec"]["template"]


PODS = dict(pods())
OURS = {name: pod for name, pod in PODS.items() if name != "sharder-redis"}
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS.keys())
each_of_ours = pytest.mark.parametrize("pod", OURS.values(), ids=OURS.keys())


def find(kind: str, name: str):
    return OBJECTS[TITLES.index(f"{kind}/{name}")]


def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


def secrets(pod) -> set[str]:
    return {s["secretRef"]["name"] for s in container(pod)["envFrom"] if "secretRef" in s}


class TestEveryObject:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("document", OBJECTS, ids=TITLES)
    def test_fits_kubernetes_own_schema_and_nothing_beyond_it(self, document, version):
        import kubernetes_validate

        kubernetes_validate.validate(document, version, strict=True)

    def test_has_a_name_of_its_own(self):
        assert len(set(TITLES)) == len(TITLES)

    @pytest.mark.parametrize("document", OBJECTS, ids=TITLES)
    def test_has_a_name_that_kubernetes_takes(self, document):
        name = document["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
        # A CronJob appends eleven characters to make the name of a job, 63 at most.
        assert len(name) <= (52 if document["kind"] == "CronJob" else 63)

    @pytest.mark.parametrize("document", OBJECTS, ids=TITLES)
    def test_lives_in_our_namespace(self, document):
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "sharder"

    def test_is_part_of_the_kustomization(self):
        listed = yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"]
        there = {str(file.relative_to(K8S)) for file in FILES if file.parent != K8S}
        assert set(listed) == there
        assert len(listed) == len(there)

    @pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
    def test_survives_the_kustomization(self):
        done = subprocess.run(["kubectl", "kustomize", K8S], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made = {f"{o['kind']}/{o['metadata']['name']}" for o in yaml.safe_load_all(done.stdout)}
        assert made == {t for t in TITLES if not t.startswith("Secret/")}


class TestEveryPod:
    """Kubernetes' restricted profile, and what we ask beyond it."""

    @each_pod
    def test_runs_as_a_numbered_user_that_is_not_root(self, pod):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}

    @each_pod
    def test_has_no_privilege_and_a_root_that_cannot_be_written(self, pod):
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        spec = pod["spec"]
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}

    @each_pod
    def test_writes_only_to_a_tmp_of_limited_size(self, pod):
        mounts = {m["name"]: m for m in container(pod)["volumeMounts"]}
        for volume in pod["spec"]["volumes"]:
            if "emptyDir" in volume:
                assert mounts[volume["name"]]["mountPath"] == "/tmp"
                assert volume["emptyDir"]["sizeLimit"]
            else:
                assert mounts[volume["name"]]["readOnly"] is True
        assert "emptyDir" in str(pod["spec"]["volumes"])

    @each_pod
    def test_sees_neither_the_api_nor_the_services_of_the_cluster(self, pod):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False

    @each_pod
    def test_asks_for_what_it_needs_and_has_an_end(self, pod):
        resources = container(pod)["resources"]
        assert resources["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}
        assert resources["limits"].keys() == {"memory", "ephemeral-storage"}
        assert pod["spec"]["terminationGracePeriodSeconds"] > 0

    @each_pod
    def test_names_an_image_that_does_not_change_under_it(self, pod):
        image = container(pod)["image"]
        assert ":" in image
        assert not image.endswith(":latest")

    @each_pod
    def test_is_found_by_the_selector_of_its_workload(self, pod):
        name = next(n for n, p in PODS.items() if p is pod)
        workload = next(o for o in OBJECTS if o["metadata"]["name"] == name and "spec" in o)
        labels = pod["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "sharder"
        if "selector" in workload["spec"]:
            assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()

    @each_pod
    def test_refers_only_to_what_exists(self, pod):
        for source in container(pod).get("envFrom", ()):
            (kind, reference), *_ = source.items()
            title = "ConfigMap" if kind == "configMapRef" else "Secret"
            assert f"{title}/{reference['name']}" in TITLES
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert f"ConfigMap/{volume['configMap']['name']}" in TITLES
        if account := pod["spec"].get("serviceAccountName"):
            assert f"ServiceAccount/{account}" in TITLES


class TestSecrets:
    @each_of_ours
    def test_every_program_has_its_own_and_no_other(self, pod):
        own = next(name for name, p in OURS.items() if p is pod)
        assert secrets(pod) == {"sharder-broker", own}
        assert pod["spec"]["serviceAccountName"] == own

    def test_the_loader_alone_reaches_the_warehouse_and_it_reaches_no_source(self):
        holders = [
            o["metadata"]["name"]
            for o in OBJECTS
            if o["kind"] == "Secret" and "POSTGRESQL_URL" in o["stringData"]
        ]
        assert holders == ["sharder-loader"]
        assert "${POSTGRESQL_URL}" in find("ConfigMap", "sharder-spec")["data"]["spec.yml"]

    @each_pod
    def test_none_is_written_into_a_pod(self, pod):
        for variable in container(pod).get("env", ()):
            assert "value" not in variable, variable["name"]
        assert "password" not in str(container(pod)).lower()

    def test_those_of_the_manifests_are_placeholders_apart_from_them(self):
        assert not any(o["kind"] == "Secret" for f in FILES[:-1] for o in yaml.safe_load_all(f.read_text()))  # fmt: skip
        for o in OBJECTS:
            if o["kind"] == "Secret":
                for name, value in o["stringData"].items():
                    assert "change-me" in value or name == "SHARDER_BROKER"


class TestCommands:
    @each_of_ours
    def test_parse_as_the_programs_would_parse_them(self, pod):
        program, *words = [*container(pod)["command"], *container(pod).get("args", ())]
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        module = importlib.import_module(scripts[program].partition(":")[0])
        group = next(v for v in vars(module).values() if isinstance(v, click.Group))
        group.commands[words[0]].make_context(words[0], words[1:]).close()

    def test_a_run_is_named_after_its_job(self):
        submit = container(PODS["sharder-submit"])
        assert submit["args"] == ["--run-id", "$(RUN_ID)"]
        (variable,) = submit["env"]
        path = variable["valueFrom"]["fieldRef"]["fieldPath"]
        assert variable["name"] == "RUN_ID"
        assert path == "metadata.labels['batch.kubernetes.io/job-name']"

    def test_the_spec_of_the_example_is_one(self, tmp_path):
        file = tmp_path / "spec.yml"
        file.write_text(find("ConfigMap", "sharder-spec")["data"]["spec.yml"])
        loaded = specfile.load([file], {}, datetime(2026, 1, 1, tzinfo=UTC))
        assert [s.name for s in loaded.spec.sources] == ["aws"]
        assert [d.name for d in loaded.spec.destinations] == ["postgresql"]

    def test_the_spec_is_mounted_where_submit_looks_for_it(self):
        pod = PODS["sharder-submit"]
        (mount,) = (m for m in container(pod)["volumeMounts"] if m["name"] == "spec")
        assert f"{mount['mountPath']}/spec.yml" in container(pod)["command"]

    @pytest.mark.parametrize("name", ["sharder-worker", "sharder-loader"])
    def test_the_probes_look_at_the_file_that_the_program_touches(self, name):
        it = container(PODS[name])
        file = it["args"][it["args"].index("--alive") + 1]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert f"find {file} " in it[probe]["exec"]["command"][-1]
        assert file.startswith("/tmp/")

    @pytest.mark.parametrize("name", ["sharder-worker", "sharder-loader"])
    def test_a_job_has_time_to_go_back_to_the_queue_before_the_pod_is_killed(self, name):
        args = container(PODS[name])["args"]
        grace = float(args[args.index("--grace") + 1])
        assert PODS[name]["spec"]["terminationGracePeriodSeconds"] >= grace + 15


class TestTheNightlyRun:
    SPEC = find("CronJob", "sharder-submit")["spec"]

    def test_never_runs_twice_at_once_and_starts_late_rather_than_not_at_all(self):
        assert self.SPEC["concurrencyPolicy"] == "Forbid"
        # Below ten seconds a CronJob may never start: the controller looks every ten.
        assert self.SPEC["startingDeadlineSeconds"] >= 60
        assert self.SPEC["timeZone"] == "Etc/UTC"

    def test_what_cannot_succeed_is_not_tried_again_and_a_drained_node_is_no_failure(self):
        job = self.SPEC["jobTemplate"]["spec"]
        fail, ignore = job["podFailurePolicy"]["rules"]
        assert fail["action"] == "FailJob"
        assert 2 in fail["onExitCodes"]["values"]
        assert ignore["action"] == "Ignore"
        assert ignore["onPodConditions"][0]["type"] == "DisruptionTarget"
        # Kubernetes takes a failure policy only of pods that it never restarts in place.
        assert job["template"]["spec"]["restartPolicy"] == "Never"


class TestRedis:
    def test_says_so_when_it_is_full_instead_of_dropping_messages(self):
        args = container(PODS["sharder-redis"])["args"]
        assert args[args.index("--maxmemory-policy") + 1] == "noeviction"

    def test_is_reached_by_our_pods_alone_and_under_the_name_in_the_broker_url(self):
        service = find("Service", "sharder-redis")
        policy = find("NetworkPolicy", "sharder-redis")["spec"]
        redis = PODS["sharder-redis"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= redis.items()
        assert policy["podSelector"]["matchLabels"].items() <= redis.items()
        (allowed,) = policy["ingress"][0]["from"]
        for pod in OURS.values():
            assert allowed["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()  # fmt: skip
        broker = find("Secret", "sharder-broker")["stringData"]["SHARDER_BROKER"]
        assert broker == f"redis://{service['metadata']['name']}:6379/0"


class TestTheImage:
    DOCKERFILE = (K8S / "Dockerfile").read_text()

    def test_passes_hadolint(self):
        hadolint = Path(sys.executable).with_name("hadolint")
        if not hadolint.exists():
            pytest.skip("hadolint is not installed")
        done = subprocess.run([hadolint, K8S / "Dockerfile"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_runs_as_the_user_of_the_manifests(self):
        assert "\nUSER 10001:10001\n" in self.DOCKERFILE

    def test_holds_every_package_of_the_wheel_and_sees_nothing_else(self):
        wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
        packages = wheel["targets"]["wheel"]["packages"]
        for package in packages:
            assert f"COPY {package} {package}\n" in self.DOCKERFILE
        kept = re.findall(r"^!(.+)$", (K8S / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
        assert set(kept) == {*packages, "pyproject.toml", "requirements.lock", "README.md"}

    def test_installs_nothing_that_the_lock_has_no_hash_for(self):
        install = re.search(r"uv pip install .*?\n\s+(.+)\n", self.DOCKERFILE)
        assert install
        assert install[1].startswith("--require-hashes --constraint requirements.lock")

    def test_is_the_one_that_the_manifests_name(self):
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert f"ARG VERSION={version}\n" in self.DOCKERFILE
        assert {container(p)["image"] for p in OURS.values()} == {f"sharder:{version}"}
