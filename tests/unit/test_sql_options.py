"""Options of the sql source: drivers and client names from URLs, refusals, secrets that are marked."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from worker.sources.sql.options import Database, Options, database_name, driver_of, file_path


@pytest.mark.parametrize(
    ("url", "driver", "client"),
    [
        ("postgresql://u:p@h:5/shop?sslmode=require", "postgresql", "shop"),
        ("postgres://u@h/", "postgresql", "u"),
        ("postgresql+psycopg://h/a%20b", "postgresql", "a b"),
        ("host=h dbname='shop' password=x", "postgresql", "shop"),
        ("sqlite:////var/data/app.db", "sqlite", "app"),
        ("data/app.sqlite3", "sqlite", "app"),
        ("duckdb:///app.duckdb", "duckdb", "app"),
        ("/var/w.ddb", "duckdb", "w"),
    ],
)
def test_driver_and_client_follow_from_the_connection_string(url, driver, client):
    (database,) = Options(connection_string=url).all_databases
    assert (driver_of(database), database.name) == (driver, client)


def test_what_is_named_wins():
    (database,) = Options(
        connection_string="snow://x/y", driver="snowflake", client="c"
    ).all_databases
    assert (driver_of(database), database.name) == ("snowflake", "c")
    assert driver_of(Database(name="x", connection_string="x", driver="postgres")) == "postgresql"


def test_file_paths_follow_the_url_conventions():
    assert file_path("sqlite:///rel/a.db") == "rel/a.db"
    assert file_path("sqlite:////abs/a%20b.db") == "/abs/a b.db"
    assert file_path("file:a.db?mode=ro") == "a.db"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "write either connection_string or databases"),
        ({"connection_string": "mysql://u:hush-hush@h/x"}, "no driver is known for mysql://"),
        ({"connection_string": "hush-hush"}, "no driver is known for this connection string"),
        ({"databases": [{"name": "a", "connection_string": "a.db"}] * 2}, "the same name: a"),
        ({"databases": [{"name": "a", "connection_string": "a.db"}], "client": "x"}, "client and driver belong"),
        ({"connection_string": "a.db", "tabels": []}, "tabels"),
        ({"connection_string": "a.db", "column_types": {"t": {"c": "decimal(77)"}}}, "column_types"),
        ({"connection_string": "a.db", "slice_rows": "many"}, "slice_rows"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_without_repeating_secrets(spec, says):
    with pytest.raises(ValidationError, match=says) as caught:
        Options.model_validate(spec)
    assert "hush-hush" not in str(caught.value)


def test_secrets_are_marked_for_those_who_look_for_them():
    for model in (Options, Database):
        assert model.model_fields["connection_string"].json_schema_extra == {"secret": True}


def test_options_load_without_arrow_and_drivers():
    code = (
        "import sys, worker.sources.sql.options, worker.sources.file.options\n"
        "print(sorted({'pyarrow', 'duckdb', 'adbc_driver_manager', 'fsspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_those_of_people():
    assert database_name("postgresql://h") == "postgres"
    assert database_name("host=h user=u") == "u"
