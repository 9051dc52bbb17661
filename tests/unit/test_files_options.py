"""The rules of a file destination's options: CloudQuery's, each with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from loader.warehouses.files.options import (
    AzureOptions,
    CsvOptions,
    FileOptions,
    FilesOptions,
    GcsOptions,
    S3Options,
)
from loader.warehouses.files.s3 import place

S3 = {"bucket": "b", "region": "r", "format": "csv", "path": "lake"}
ZEROS = {"batch_size": 0, "batch_size_bytes": 0, "batch_timeout": 0}


def s3(**options: Any) -> S3Options:
    return S3Options.model_validate({**S3, **options})


@pytest.mark.parametrize(("options", "path"), [
    ({}, "lake/{{TABLE}}.{{FORMAT}}.{{UUID}}"),
    ({"no_rotate": True}, "lake/{{TABLE}}.{{FORMAT}}"),
    ({"path": "lake/{{TABLE}}/{{UUID}}"}, "lake/{{TABLE}}/{{UUID}}"),
    ({"path": "lake/{{ TABLE }}/{{UUID}}"}, "lake/{{TABLE}}/{{UUID}}"),
    ({"path": "{{TABLE_HYPHEN}}/{{UUID}}"}, "{{TABLE_HYPHEN}}/{{UUID}}"),
    ({"path": "{{YEAR}}"}, "{{YEAR}}/{{TABLE}}.{{FORMAT}}.{{UUID}}"),
    ({"path": "{{TABLE}}.csv", **ZEROS}, "{{TABLE}}.csv"),
])  # fmt: skip
def test_a_path_without_a_table_gets_the_default_layout(options, path):
    assert s3(**options).template.text == path


@pytest.mark.parametrize(("options", "what"), [
    ({"path": ""}, "at least 1 character"),
    ({"format": "xml"}, "'csv', 'json' or 'parquet'"),
    ({"format": "parquet", "compression": "gzip"}, "parquet, which compresses itself"),
    ({"compression": "zstd"}, "gzip"),
    ({"format_spec": {"version": "v1.0"}}, "'version', but csv knows delimiter, skip_header"),
    ({"format": "json", "format_spec": {"delimiter": ";"}}, "'delimiter', but json knows no options"),
    ({"format": "parquet", "format_spec": {"skip_header": True}}, "but parquet knows"),
    ({"format_spec": {"skipheader": True}}, "skipheader"),
    ({"format_spec": {"delimiter": "ab"}}, "one ASCII character"),
    ({"format_spec": {"delimiter": '"'}}, "one ASCII character"),
    ({"format": "parquet", "format_spec": {"version": "v3"}}, "v2Latest"),
    ({"format": "parquet", "format_spec": {"root_repetition": "never"}}, "repeated"),
    ({"path": "lake/{{TABLE}}.csv"}, "must contain {{UUID}}"),
    ({"path": "lake/{{TABLE}}.csv", **ZEROS, "batch_timeout": "1s"}, "must contain {{UUID}}"),
    ({"path": "lake/{{TABLE}}.{{UUID}}", "no_rotate": True}, "must not contain {{UUID}}"),
    ({"no_rotate": True, "batch_size": 1}, "`no_rotate` cannot be used with a non-zero `batch_size`"),
    ({"no_rotate": True, "batch_size_bytes": 1}, "non-zero `batch_size_bytes`"),
    ({"no_rotate": True, "batch_timeout": "1s"}, "non-zero `batch_timeout`"),
    ({"path": "/lake"}, "must not start with '/'"),
    ({"path": "lake/"}, "normal form"),
    ({"path": "lake//x"}, "normal form"),
    ({"path": "./lake"}, "normal form"),
    ({"path": "lake/../x"}, "normal form"),
    ({"path": "../lake"}, "normal form"),
    ({"path": "lake/{{TABEL}}"}, "unknown placeholder {{TABEL}}"),
    ({"path": "lake/{TABLE}"}, "brace"),
    ({"batch_size": -1}, "greater than or equal to 0"),
    ({"local_profile": "p", "credentials": {"local_profile": "q"}}, "cannot be used with `credentials`"),
    ({"write_empty_objects_for_empty_tables": True}, "needs `format: parquet`"),
    ({"acl": "everyone"}, "public-read"),
    ({"part_size": "1MiB"}, "5242880"),
    ({"server_side_encryption_configuration": {"sse_kms_key_id": "k"}}, "server_side_encryption"),
    ({"server_side_encryption_configuration": {"sse_kms_key_id": "k", "server_side_encryption": "x"}}, "AES256"),
    ({"bucket": ""}, "at least 1 character"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(options, what):
    with pytest.raises(ValidationError) as told:
        s3(**options)
    assert what in str(told.value)


@pytest.mark.parametrize("model", [FileOptions, CsvOptions, S3Options, GcsOptions, AzureOptions])
def test_defaults_are_those_of_cloudquery(model: type[FilesOptions]):
    fields = model.model_fields
    assert fields["batch_size"].default == 10_000
    assert fields["batch_size_bytes"].default == 52_428_800
    assert fields["batch_timeout"].default == 30
    assert fields["no_rotate"].default is False
    required = {name for name, field in fields.items() if field.is_required()}
    assert (
        required
        == {
            FileOptions: {"path", "format"},
            CsvOptions: {"path"},
            S3Options: {"bucket", "region", "path", "format"},
            GcsOptions: {"bucket", "path", "format"},
            AzureOptions: {"storage_account", "container", "path", "format"},
        }[model]
    )


def test_no_rotate_has_no_batches_unless_they_are_asked_for():
    assert (s3(no_rotate=True).rows_per_file, s3(no_rotate=True).bytes_per_file) == (0, 0)
    assert (s3().rows_per_file, s3().bytes_per_file) == (10_000, 52_428_800)


@pytest.mark.parametrize(("path", "directory", "below"), [
    ("/tmp/out/{{TABLE}}/{{UUID}}.csv", "/tmp/out/", "{{TABLE}}/{{UUID}}.csv"),
    ("../out/x-{{TABLE}}.{{UUID}}", "../out/", "x-{{TABLE}}.{{UUID}}"),
    ("{{TABLE}}.{{UUID}}", ".", "{{TABLE}}.{{UUID}}"),
    ("out", "out/", "{{TABLE}}.{{FORMAT}}.{{UUID}}"),
    ("out/", "out//", "{{TABLE}}.{{FORMAT}}.{{UUID}}"),
])  # fmt: skip
def test_a_path_of_files_is_a_directory_and_a_template(path, directory, below):
    options = FileOptions.model_validate({"path": path, "format": "csv"})
    assert (options.directory, options.template.text) == (directory, below)


@pytest.mark.parametrize(
    "path", ["out/{{TABLE}}/../{{UUID}}", "{{TABLE}}//{{UUID}}", "{{UUID}}/{{TABLE}}/"]
)
def test_a_path_of_files_does_not_lead_out_behind_its_first_placeholder(path):
    with pytest.raises(ValidationError, match="behind its first placeholder"):
        FileOptions.model_validate({"path": path, "format": "csv"})


def test_the_options_of_s3_reach_its_store():
    found = place(s3(
        endpoint="https://e", endpoint_skip_tls_verify=True, use_path_style=True, acl="private",
        content_type="text/csv", max_retries=7, max_backoff="1m", part_size="8MiB", aws_debug=True,
        server_side_encryption_configuration={"sse_kms_key_id": "k", "server_side_encryption": "aws:kms"},
        credentials={"local_profile": "p", "role_arn": "a", "role_session_name": "n", "external_id": "x"},
    ))  # fmt: skip
    assert (found.bucket, found.region, found.endpoint) == ("b", "r", "https://e")
    assert (found.skip_tls_verify, found.path_style, found.debug) == (True, True, True)
    assert (found.acl, found.content_type) == ("private", "text/csv")
    assert (found.sse, found.kms_key_id) == ("aws:kms", "k")
    assert (found.local_profile, found.role_arn) == ("p", "a")
    assert (found.role_session_name, found.external_id) == ("n", "x")
    assert (found.max_retries, found.max_backoff_s, found.part_size) == (7, 60.0, 8 << 20)
    assert place(s3(local_profile="old")).local_profile == "old"
