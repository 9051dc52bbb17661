"""Which plugins a machine runs."""

from __future__ import annotations

import pytest

from contracts.plugin.allowed import NotAllowed, is_allowed, refuse
from contracts.plugin.plugin import Plugin


def plugin(path: str, registry="cloudquery") -> Plugin:
    return Plugin("source", "x", path, registry)


@pytest.mark.parametrize(
    ("setting", "path", "registry", "words", "allowed"),
    [
        ("cloudquery/*", "cloudquery/aws", "cloudquery", (), True),
        ("cloudquery/*", "evil/aws", "cloudquery", (), False),
        ("cloudquery/*", "cloudquery/aws", "github", (), False),
        ("a/b, cloudquery/aws", "cloudquery/aws", "cloudquery", (), True),
        ("local:/opt/plugins/*", "/opt/plugins/x --fast", "local", ("/opt/plugins/x", "--fast"), True),
        ("local:/opt/plugins/*", "/opt/plugins/../../bin/sh -c ls", "local", ("/bin/sh", "-c", "ls"), False),
        ("local:/opt/plugins/*", "x", "local", ("/usr/bin/x",), False),
        ("local:python -m crm", "python -m crm", "local", ("/usr/bin/python", "-m", "crm"), True),
        ("local:python -m crm", "python -m evil", "local", ("/usr/bin/python", "-m", "evil"), False),
        ("docker:ghcr.io/acme/*", "ghcr.io/acme/crm:v1", "docker", (), True),
        ("docker:ghcr.io/acme/*", "docker.io/acme/crm:v1", "docker", (), False),
        ("grpc:localhost:*", "localhost:7777", "grpc", (), True),
        ("grpc:localhost:*", "10.0.0.1:7777", "grpc", (), False),
        ("*:*", "anything", "docker", (), True),
        ("", "cloudquery/aws", "cloudquery", (), False),
    ],
)  # fmt: skip
def test_patterns_are_for_one_registry_and_programs_count_as_they_are_executed(
    setting, path, registry, words, allowed
):
    assert is_allowed(plugin(path, registry), setting, words) is allowed


def test_without_the_setting_everything_is_allowed():
    refuse(plugin("any/thing"), {})


def test_a_refusal_names_the_setting_and_what_to_add():
    with pytest.raises(NotAllowed, match="SHARDER_ALLOWED_PLUGINS=cloudquery") as caught:
        refuse(plugin("/bin/x", "local"), {"SHARDER_ALLOWED_PLUGINS": "cloudquery/*"}, ("/bin/x",))
    assert "'local:/bin/x'" in caught.value.hint
    assert caught.value.reason == "denied"
