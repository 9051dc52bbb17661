"""What is executed for a plugin: its words, its runtime, its arguments, its variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts import spec
from contracts.errors import InputError
from contracts.plugin.command import runtime, words
from contracts.plugin.environment import chosen
from contracts.plugin.plugin import Plugin
from contracts.plugin.profiles import Port, Socket, arguments
from contracts.spec import PluginSettings

PATH = "/usr/bin:/bin"


def script(directory: Path, name: str, text: str | bytes, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


class TestWords:
    def test_a_path_is_a_file_even_if_it_has_spaces(self, tmp_path):
        file = script(tmp_path, "my plugin", "#!/bin/sh\n")
        assert words("my plugin", PATH, tmp_path) == (str(file),)

    def test_a_path_is_a_command_line_if_there_is_no_such_file(self, tmp_path):
        found = words("sh -c 'echo one two'", PATH, tmp_path)
        assert found[0] in {"/bin/sh", "/usr/bin/sh"}
        assert found[1:] == ("-c", "echo one two")

    def test_a_relative_path_begins_where_the_program_was_started(self, tmp_path):
        (tmp_path / "bin").mkdir()
        file = script(tmp_path / "bin", "plugin", "#!/bin/sh\n")
        assert words("./bin/plugin --fast", PATH, tmp_path) == (str(file), "--fast")
        assert words("bin/../bin/plugin", PATH, tmp_path) == (str(file),)

    def test_a_jar_is_run_by_java(self, tmp_path):
        file = script(tmp_path, "plugin.jar", b"PK", mode=0o644)
        assert words("plugin.jar", PATH, tmp_path)[1:] == ("java", "-jar", str(file))

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            (".", "is a directory"),
            ("script.py", "write `path: python script.py`"),
            ("./nothing serve", "is not there"),
            ("no-such-program-anywhere x", "on the PATH of this process"),
            ("sh -c 'open", "cannot be split"),
            (" ", "is empty"),
        ],
    )
    def test_what_cannot_be_executed_is_told_with_what_to_write(self, tmp_path, path, told):
        script(tmp_path, "script.py", "print()", mode=0o644)
        with pytest.raises(InputError, match=r"plugin|command") as caught:
            words(path, PATH, tmp_path)
        assert told in str(caught.value)


class TestRuntime:
    @pytest.mark.parametrize(
        ("command", "found"),
        [
            (("/usr/bin/python3.12", "-m", "plugin"), "python"),
            (("/opt/venv/bin/python", "plugin.py"), "python"),
            (("/usr/bin/node", "dist/main.js"), "javascript"),
            (("/usr/bin/java", "-jar", "x.jar"), "java"),
            (("/usr/bin/env", "A=1", "-i", "node", "x"), "javascript"),
            (("/usr/bin/env",), "go"),
            (("/not/there",), "go"),
        ],
    )
    def test_it_is_known_by_the_name_of_the_program(self, command, found):
        assert runtime(command) == found

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("#!/usr/bin/env python3\n", "python"),
            ("#!/opt/a venv/bin/python\n", "python"),
            ("#!/usr/bin/env -S node --no-warnings\n", "javascript"),
            # What installers write where the path of the interpreter is too long for a first line.
            ("#!/bin/sh\n'''exec' \"/a/long/path/bin/python\" \"$0\" \"$@\"\n' '''\n", "python"),
            ('#!/bin/sh\nexec java -Xmx1g -jar /opt/x.jar "$@"\n', "java"),
            ("#!/bin/sh\necho hello\n", "go"),
            (b"\x7fELF" + b"\0" * 5000 + b"\xff Go buildinf:" + b"PYZ-00.pyz", "go"),
            (b"\x7fELF" + b"\0" * 5000 + b"PYZ-00.pyz", "python"),
            (b"\x7fELF" + b"\0" * 5000 + b"NODE_SEA_FUSE", "javascript"),
            (b"\x7fELF", "go"),
            (b"", "go"),
        ],
    )
    def test_it_is_known_by_what_is_in_the_file(self, tmp_path, text, found):
        assert runtime((str(script(tmp_path, "plugin", text)),)) == found

    def test_what_the_user_says_counts(self):
        assert runtime(("/usr/bin/node",), "python") == "python"


class TestArguments:
    @pytest.mark.parametrize(
        ("of", "network", "address"),
        [
            ("go", "unix", "/d/s.sock"),
            ("python", "unix", "unix:///d/s.sock"),
            ("javascript", "tcp", "unix:///d/s.sock"),
        ],
    )
    def test_every_runtime_is_told_its_socket_in_its_own_way(self, of, network, address):
        line = arguments(of, Socket("/d/s.sock"))
        assert line[:5] == ("serve", "--log-level", "info", "--log-format", "json")
        assert line[5:9] == ("--network", network, "--address", address)

    @pytest.mark.parametrize("of", ["go", "python", "javascript", "java"])
    def test_a_port_is_host_and_number_for_all(self, of):
        assert arguments(of, Port(1234))[5:9] == ("--network", "tcp", "--address", "127.0.0.1:1234")

    def test_java_has_no_sockets(self):
        with pytest.raises(ValueError, match="java"):
            arguments("java", Socket("/d/s.sock"))

    def test_no_option_is_passed_that_some_kit_does_not_know(self):
        assert arguments("go", Socket("/s"))[9:] == ("--no-sentry",)
        for of in ("python", "javascript"):
            assert arguments(of, Socket("/s"))[9:] == ()


class TestEnvironment:
    HAS = {  # noqa: RUF012
        "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "AWS_PROFILE": "p", "HTTPS_PROXY": "http://x",
        "SHARDER_BROKER": "redis://secret", "CELERY_X": "1", "PGPASSWORD": "secret", "STRIPE_KEY": "k",
        "SNOWFLAKE_PASSWORD": "secret", "PYTHONPATH": "/ours", "CQ_TELEMETRY_LEVEL": "none", "CQ_FOO": "1",
        "CLOUDQUERY_API_KEY": "general", "CQ_SENTRY_ENABLED": "1",
        "__SOURCE_MY_CRM__CLOUDQUERY_API_KEY": "own", "__SOURCE_my-crm__TOKEN": "t", "__SOURCE_B__TOKEN": "b",
    }  # fmt: skip

    def given(self, runtime=None, names=(), place="here"):
        settings = PluginSettings(environment=names)
        return chosen(Plugin("source", "my-crm", "x", "local", settings=settings), self.HAS, runtime, place)  # fmt: skip

    def test_a_program_gets_what_it_may_need_and_no_secret_of_ours(self):
        usual = {"PATH", "HOME", "LC_ALL", "AWS_PROFILE", "HTTPS_PROXY", "CLOUDQUERY_API_KEY", "TOKEN"}  # fmt: skip
        assert set(self.given("python")) == usual

    def test_only_go_plugins_get_the_variables_of_go_plugins(self):
        assert self.given("go")["CQ_TELEMETRY_LEVEL"] == "none"
        assert "CQ_SENTRY_ENABLED" not in self.given("go")
        for of in ("python", "javascript", "java"):
            assert not [name for name in self.given(of) if name.startswith("CQ_")]

    def test_a_variable_of_one_source_is_its_own_and_comes_before_the_general_one(self):
        assert self.given()["CLOUDQUERY_API_KEY"] == "own"
        assert self.given()["TOKEN"] == "t"
        assert chosen(Plugin("source", "b", "x", "local"), self.HAS)["TOKEN"] == "b"
        assert "TOKEN" not in chosen(Plugin("destination", "b", "x", "local"), self.HAS)

    def test_the_settings_add_names_but_never_ours(self):
        found = self.given("javascript", ("STRIPE_*", "SHARDER_*", "CELERY_X"))
        assert found["STRIPE_KEY"] == "k"
        assert not {"SHARDER_BROKER", "CELERY_X"} & set(found)

    def test_a_pattern_does_not_bring_javascript_the_variables_that_end_it(self):
        assert "CQ_FOO" not in self.given("javascript", ("*",))
        assert "CQ_FOO" in self.given("javascript", ("CQ_FOO",))
        assert not [name for name in self.given("python", ("*",)) if name.startswith("__SOURCE")]

    def test_a_container_gets_nothing_that_means_this_machine(self):
        found = self.given(place="container", names=("STRIPE_KEY",))
        assert "PATH" not in found
        assert "HOME" not in found
        assert {"AWS_PROFILE", "STRIPE_KEY", "TOKEN"} <= set(found)


def test_a_document_names_its_plugin():
    model = spec.Source(
        name="crm", path="python x.py", registry="local", tables=("*",), destinations=("d",)
    )
    plugin = Plugin.of(model, PluginSettings(memory=5))
    assert (plugin.kind, plugin.name, plugin.path) == ("source", "crm", "python x.py")
    assert plugin.settings.memory == 5
    assert str(plugin) == "source 'crm' (registry local: python x.py)"
