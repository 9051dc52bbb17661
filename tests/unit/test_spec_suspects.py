"""Options of plugins that nobody here knows: which of them may be secrets."""

from __future__ import annotations

import pytest

from contracts.specfile.suspects import is_suspect, suspects


@pytest.mark.parametrize("key", [
    "password", "db_password", "PASSWORD", "dbPassword", "connection_string", "connectionString", "dsn", "api_key",
    "apiKey", "APIKey", "api-key", "access_token", "client_secret", "secret_access_key", "private_key", "credentials",
    "service_account_key_json", "sas_token", "webhook_url", "account_key", "auth_token", "pat",
])  # fmt: skip
def test_a_name_that_may_mean_a_secret_counts_as_one(key):
    assert is_suspect(key)


@pytest.mark.parametrize("key", [
    "key", "primary_key", "host", "port", "username", "database", "schema", "batch_size", "tables", "path", "region",
    "compass", "bypass_cache", "monkey", "pattern", "certainty", "url", "bucket", "passenger_list",
])  # fmt: skip
def test_other_names_do_not(key):
    assert not is_suspect(key)


def test_each_value_below_such_a_name_is_named_by_itself():
    options = {
        "host": "x",
        "Credentials": {"user": "u", "deep": [{"a": 1}, None], "on": True},
        "outputs": [{"name": "n", "token": "t"}, {"name": "m"}],
        "dotted.key": {"token": "t"},
        "url": "https://user:hunter2@host/x",
        "urls": ["https://host/x", "postgres://u:p@h/db"],
        "plain": "https://host:80/a@b",
    }
    assert suspects(options) == [
        "credentials.user", "credentials.deep.0.a", "outputs.0.token", "*.token", "url", "urls.1",
    ]  # fmt: skip


def test_nothing_has_no_secrets():
    assert suspects({}) == suspects(None) == []
