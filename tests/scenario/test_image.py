"""The image, built and run for real: as the manifests' user, on a read-only root, without capabilities.

Needs buildah, podman and runc (Debian has all three), the right to use them, and a package index. The
base image is the one of SHARDER_TEST_BASE, or a minimal Debian with its Python, made once by mmdebstrap
and kept in podman's own storage.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
import yaml

from tests.fakes.servers import free_port

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
TAG = "localhost/sharder:test"
BASE = "localhost/sharder-base:trixie"
TOOLS = ("buildah", "podman", "runc")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# One file is all that keeps the engine from running inside of a machine of few rights.
ENGINE = """
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)} to run containers"
    ),
]


def podman(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["podman", *map(str, words)], capture_output=True, text=True)
    if check and done.returncode:
        pytest.fail(f"podman {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[Path]:
    """A configuration under which containers run here; skips where they do not."""
    place = tmp_path_factory.mktemp("engine")
    (place / "containers.conf").write_text(ENGINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(place / "containers.conf"))
        info = podman("info", check=False)
        if info.returncode:
            pytest.skip(f"containers do not run here: {info.stderr.strip().splitlines()[-1:]}")
        yield place


@pytest.fixture(scope="module")
def base(engine: Path) -> str:
    if chosen := os.environ.get("SHARDER_TEST_BASE"):
        return chosen
    if podman("image", "exists", BASE, check=False).returncode:
        if not shutil.which("mmdebstrap"):
            pytest.skip("needs mmdebstrap to make a base image, or SHARDER_TEST_BASE")
        archive = engine / "base.tar"
        include = "--include=python3,python3-venv,ca-certificates"
        command = ["mmdebstrap", "--variant=minbase", include, "trixie", archive]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no base image: {made.stderr.strip().splitlines()[-1:]}")
        podman("import", archive, BASE)
        archive.unlink()
    return BASE


@pytest.fixture(scope="module")
def image(base: str) -> str:
    """The image of this very tree."""
    options = ["--isolation", "chroot", "--build-arg", f"BASE_IMAGE={base}"]
    if AUTHORITIES.exists():
        options += ["--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro"]
        options += ["--build-arg", f"SSL_CERT_FILE={AUTHORITIES}"]
    ignore = K8S / "Dockerfile.dockerignore"
    command = ["buildah", "build", "--layers", "--file", K8S / "Dockerfile", "--ignorefile", ignore]
    built = subprocess.run([*command, "--tag", TAG, *options, ROOT], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return TAG


def pod(name: str) -> dict:
    (workload,) = yaml.safe_load_all((K8S / "manifests" / f"{name}.yaml").read_text())
    spec = workload["spec"]
    return spec.get("jobTemplate", workload)["spec"]["template"]["spec"]


def as_manifest(spec: dict, network: str) -> list[str]:
    """What the manifest says about a pod, in podman's words. Nothing is added to its rights."""
    (container,) = spec["containers"]
    user, rights = spec["securityContext"], container["securityContext"]
    assert rights == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    sizes = [v["emptyDir"]["sizeLimit"] for v in spec["volumes"] if "emptyDir" in v]
    size = sizes[0].removesuffix("i").lower()
    return [
        f"--user={user['runAsUser']}:{user['runAsGroup']}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--read-only",
        "--read-only-tmpfs=false",
        f"--tmpfs=/tmp:rw,size={size},mode=1777",
        f"--memory={container['resources']['limits']['memory'].removesuffix('i').lower()}",
        f"--network={network}",
    ]


class TestTheImage:
    SPEC = pod("worker")

    def run(self, image: str, *command: str) -> subprocess.CompletedProcess[str]:
        return podman("run", "--rm", *as_manifest(self.SPEC, "none"), image, *command, check=False)

    @pytest.mark.parametrize("program", ["sharder", "worker", "loader"])
    def test_has_the_three_programs(self, image, program):
        done = self.run(image, program, "--help")
        assert done.returncode == 0, done.stderr
        assert f"Usage: {program}" in done.stdout

    def test_is_not_root_without_being_told(self, image):
        done = podman("run", "--rm", "--network=none", image, "sh", "-c", "id -u; id -g")
        assert done.stdout.split() == ["10001", "10001"]

    def test_writes_to_tmp_and_nowhere_else(self, image):
        assert self.run(image, "sh", "-c", "echo x > /tmp/x").returncode == 0
        for place in ("/x", "/opt/venv/x", "/etc/x", "/var/tmp/x"):
            refused = self.run(image, "sh", "-c", f"echo x > {place}")
            assert refused.returncode != 0, place

    def test_has_every_extra_and_nothing_to_install_more_with(self, image):
        modules = "celery, redis, boto3, obstore, duckdb, psycopg, pgpq, adbc_driver_postgresql"
        done = self.run(
            image, "python", "-c", f"import {modules}, adbc_driver_sqlite, prometheus_client"
        )
        assert done.returncode == 0, done.stderr
        for tool in ("pip", "uv", "gcc", "git", "curl"):
            assert self.run(image, "sh", "-c", f"command -v {tool}").returncode != 0, tool

    def test_holds_no_file_of_the_repository_but_the_packages(self, image):
        packages = self.run(image, "sh", "-c", "ls /opt/venv/lib/python3*/site-packages").stdout
        assert {"contracts", "worker", "loader", "sharder"} <= set(packages.split())
        assert not {"tests", "examples", "deploy", "pytest", "moto"} & set(packages.split())

    def test_is_of_a_reasonable_size(self, image, base):
        ours, theirs = (
            int(podman("image", "inspect", "--format", "{{.Size}}", name).stdout)
            for name in (image, base)
        )
        # pyarrow and DuckDB are half of it.
        assert (ours - theirs) / 1e6 < 450

    def test_runs_a_whole_spec_on_a_read_only_root_without_a_network(self, image, tmp_path):
        spec = spec_of(tmp_path, "/tmp/out.duckdb")
        mount = f"--volume={tmp_path}:/data:ro"
        arguments = [*as_manifest(self.SPEC, "none"), mount, "--workdir=/tmp"]
        done = podman("run", "--rm", *arguments, image, "sharder", "submit", f"/data/{spec.name}", check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1,000 rows" in done.stdout


def spec_of(place: Path, database: str) -> Path:
    """A file of 1,000 lines, and the spec that brings it into DuckDB."""
    place.chmod(0o777)
    lines = "".join(f"{n},name {n}\n" for n in range(1000))
    (place / "people.csv").write_text(f"id,name\n{lines}")
    spec = place / "spec.yml"
    table = {"name": "people", "path": "/data/people.csv", "primary_key": ["id"]}
    source = {
        "name": "files", "path": "cloudquery/file", "registry": "cloudquery", "version": "v1.0.0",
        "tables": ["people"], "destinations": ["duckdb"], "spec": {"tables": [table]},
    }  # fmt: skip
    destination = {
        "name": "duckdb", "path": "cloudquery/duckdb", "registry": "cloudquery",
        "version": "v6.0.0", "write_mode": "overwrite", "spec": {"connection_string": database},
    }  # fmt: skip
    documents = ({"kind": "source", "spec": source}, {"kind": "destination", "spec": destination})
    spec.write_text(yaml.safe_dump_all(documents))
    return spec


class TestTheFleetOfTheManifests:
    """Worker, loader and submit as containers, each with the command, rights and probes of its pod."""

    @contextmanager
    def deployed(self, name: str, image: str, settings: list[str]) -> Iterator[str]:
        """The container of a Deployment, once its startup probe succeeds."""
        spec = pod(name)
        (container,) = spec["containers"]
        # Here all pods share the network of this machine.
        ports = {"9090": str(free_port())}
        command = [*container["command"], *(ports.get(a, a) for a in container["args"])]
        started = podman("run", "--detach", *as_manifest(spec, "host"), *settings, image, *command)
        it = started.stdout.strip()
        try:
            until = monotonic() + 60
            while self.probe(it, container, "startupProbe"):
                if podman("inspect", "--format", "{{.State.Running}}", it).stdout.strip() != "true":
                    pytest.fail(f"{name} ended: {podman('logs', it).stderr}")
                assert monotonic() < until, podman("logs", it).stderr
            yield it
        finally:
            podman("rm", "--force", "--time", "0", it, check=False)

    @staticmethod
    def probe(it: str, container: dict, kind: str) -> int:
        return podman("exec", it, *container[kind]["exec"]["command"], check=False).returncode

    def test_loads_what_a_submitted_spec_reads_and_ends_cleanly_at_sigterm(
        self, image, redis_url, tmp_path
    ):
        import duckdb

        spec_of(tmp_path, "/data/out.duckdb")
        settings = [
            f"--env=SHARDER_BROKER={redis_url}",
            "--env=SHARDER_STAGE=/data/stage",
            f"--volume={tmp_path}:/data",
        ]
        submit = pod("submit")
        (container,) = submit["containers"]
        words = [
            re.sub(r"\$\(RUN_ID\)", "sharder-submit-1", word)
            for word in [*container["command"], *container["args"]]
        ]
        with (
            self.deployed("worker", image, settings) as worker,
            self.deployed("loader", image, settings) as loader,
        ):
            rights = [*as_manifest(submit, "host"), f"--volume={tmp_path}:/etc/sharder:ro"]
            done = podman("run", "--rm", *rights, *settings, image, *words, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert (tmp_path / "stage" / "runs" / "sharder-submit-1").is_dir()
            for it, name in ((worker, "worker"), (loader, "loader")):
                (its,) = pod(name)["containers"]
                assert self.probe(it, its, "readinessProbe") == 0
                assert self.probe(it, its, "livenessProbe") == 0
                podman("stop", "--time", pod(name)["terminationGracePeriodSeconds"], it)
                code = podman("inspect", "--format", "{{.State.ExitCode}}", it).stdout.strip()
                assert code == "0", podman("logs", it).stderr
        with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as warehouse:
            (count,) = warehouse.execute("select count(distinct id) from people").fetchone()
        assert count == 1000
