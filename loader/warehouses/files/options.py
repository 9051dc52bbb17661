"""What may be written in the spec of a file destination: CloudQuery's options, defaults and rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from contracts.spec import Seconds, Size
from loader.warehouses.files import paths
from loader.warehouses.files.paths import Template

Format = Literal["csv", "json", "parquet"]

_OF: Mapping[str, frozenset[str]] = {
    "csv": frozenset({"skip_header", "delimiter"}),
    "json": frozenset(),
    "parquet": frozenset({"version", "root_repetition", "max_row_group_length"}),
}
_BATCHES = ("batch_size", "batch_size_bytes", "batch_timeout")


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FormatSpec(Model):
    """`format_spec`: what it may hold depends on `format`."""

    skip_header: bool = Field(default=False, description="csv: no line with the names")
    delimiter: str = Field(",", description="csv: the character between two values")
    version: Literal["v1.0", "v2.4", "v2.6", "v2Latest"] = Field(
        "v2Latest", description="parquet: version of the format"
    )
    root_repetition: Literal["undefined", "required", "optional", "repeated"] = Field(
        "repeated",
        description="parquet: accepted; the root of a schema has no repetition for readers",
    )
    max_row_group_length: int = Field(
        134_217_728, ge=1, description="parquet: the most rows of one row group"
    )

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if len(value.encode()) != 1 or value in '"\r\n\0':
            raise ValueError("must be one ASCII character that is neither a quote nor a line break")
        return value


class FilesOptions(Model):
    """Common to all file destinations."""

    in_bucket: ClassVar[bool] = True

    path: str = Field(
        min_length=1,
        description="Template of the names, with `{{TABLE}}`, `{{UUID}}`, … (docs/design/files.md); "
        "without `{{TABLE}}`, `/{{TABLE}}.{{FORMAT}}.{{UUID}}` is added",
    )
    format: Format = Field(description="`csv`, `json` (one object per line) or `parquet`")
    format_spec: FormatSpec | None = Field(
        None,
        description="csv: `skip_header`, `delimiter`; parquet: `version`, "
        "`root_repetition`, `max_row_group_length`; json: nothing",
    )  # fmt: skip
    compression: Literal["", "gzip"] = Field("", description="`gzip`, for csv and json")
    no_rotate: bool = Field(
        default=False,
        description="One file per table, which every run replaces; the path has no `{{UUID}}` then",
    )
    batch_size: int = Field(
        10_000, ge=0, description="Rows of one file at most; 0: no limit (and with `no_rotate`)"
    )
    batch_size_bytes: Size = Field(
        50 << 20, ge=0, description="Bytes of one file at most, before encoding; 0: no limit"
    )
    batch_timeout: Seconds = Field(
        30.0, description="Accepted: rows are on the stage already, nothing waits for them"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        self._check_format()
        paths.check_placeholders(self.path)
        path = self.full_path
        if self.no_rotate:
            wrong = [b for b in _BATCHES if b in self.model_fields_set and getattr(self, b)]
            if wrong:
                raise ValueError(f"`no_rotate` cannot be used with a non-zero `{wrong[0]}`")
            if "{{UUID}}" in path:
                raise ValueError("`path` must not contain {{UUID}} with `no_rotate: true`")
        elif "{{UUID}}" not in path and any(getattr(self, b) for b in _BATCHES):
            raise ValueError(
                "`path` must contain {{UUID}} unless batch_size, batch_size_bytes and batch_timeout "
                "are all 0 (their defaults are not), or no_rotate is true"
            )
        if self.in_bucket:
            paths.check_normal(path)
        else:
            paths.split_directory(path)
        return self

    def _check_format(self) -> None:
        if self.compression and self.format == "parquet":
            raise ValueError(
                "`compression: gzip` cannot be used with parquet, which compresses itself"
            )
        for key in self.dialect.model_fields_set - _OF[self.format]:
            known = ", ".join(sorted(_OF[self.format])) or "no options"
            raise ValueError(f"`format_spec` has '{key}', but {self.format} knows {known}")

    @property
    def dialect(self) -> FormatSpec:
        return self.format_spec or FormatSpec()

    @property
    def full_path(self) -> str:
        return paths.with_layout(self.path, no_rotate=self.no_rotate)

    @property
    def suffix(self) -> str:
        return f"{self.format}.gz" if self.compression else self.format

    @property
    def template(self) -> Template:
        text = self.full_path if self.in_bucket else paths.split_directory(self.full_path)[1]
        return Template(text, self.suffix)

    @property
    def directory(self) -> str:
        """Of a destination in a file system: where the template begins."""
        return paths.split_directory(self.full_path)[0]

    @property
    def rows_per_file(self) -> int:
        return 0 if self.no_rotate else self.batch_size

    @property
    def bytes_per_file(self) -> int:
        return 0 if self.no_rotate else self.batch_size_bytes


class FileOptions(FilesOptions):
    """The nested `spec` of a destination `cloudquery/file`."""

    in_bucket: ClassVar[bool] = False


class CsvOptions(FileOptions):
    """The nested `spec` of a destination `csv`: `file` with `format: csv`."""

    format: Literal["csv"] = Field("csv", description="`csv`")


class S3Credentials(Model):
    """Whose credentials are used; without them those of the environment, of a profile or of the machine."""

    local_profile: str = Field("", description="A profile of the AWS configuration")
    role_arn: str = Field("", description="A role to assume")
    role_session_name: str = Field("", description="The session's name in the logs of AWS")
    external_id: str = Field("", description="What the role asks for")


class S3Encryption(Model):
    """`server_side_encryption_configuration`."""

    sse_kms_key_id: str = Field(min_length=1, description="The key that encrypts the objects")
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] = Field(
        description="How they are encrypted"
    )


Acl = Literal[
    "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read",
    "bucket-owner-read", "bucket-owner-full-control",
]  # fmt: skip


class S3Options(FilesOptions):
    """The nested `spec` of a destination `cloudquery/s3`."""

    bucket: str = Field(min_length=1, description="The bucket")
    region: str = Field(min_length=1, description="Its region")
    athena: bool = Field(
        default=False,
        description="What is no letter, digit or `_` in keys of JSON values becomes `_`",
    )
    write_empty_objects_for_empty_tables: bool = Field(
        default=False, description="parquet: a file with the schema for a table without rows"
    )
    test_write: bool = Field(
        default=True, description="Write an object (and delete it) before anything is extracted"
    )
    content_type: str = Field("", description="Content type of the objects")
    endpoint: str = Field("", description="Of a store that is not Amazon's")
    endpoint_skip_tls_verify: bool = Field(
        default=False, description="Do not check its certificate"
    )
    use_path_style: bool = Field(
        default=False, description="The bucket stands in the path of a request"
    )
    acl: Acl | Literal[""] = Field("", description="A canned access control list")
    server_side_encryption_configuration: S3Encryption | None = Field(
        None,
        description="`sse_kms_key_id`, `server_side_encryption` (AES256, aws:kms, aws:kms:dsse)",
    )
    credentials: S3Credentials | None = Field(
        None, description="`local_profile`, `role_arn`, `role_session_name`, `external_id`"
    )
    local_profile: str = Field("", description="Old place of `credentials.local_profile`")
    max_retries: int = Field(
        3, ge=0, description="Tries of a request that failed, besides the first"
    )
    max_backoff: Seconds = Field(30.0, description="Longest pause between two of them")
    part_size: Size = Field(5 << 20, ge=5 << 20, description="Bytes of one piece of an upload")
    aws_debug: bool = Field(default=False, description="Log the requests")

    @model_validator(mode="after")
    def _rules_of_s3(self) -> Self:
        if self.local_profile and self.credentials:
            raise ValueError(
                "`local_profile` cannot be used with `credentials`; write it into them"
            )
        if self.write_empty_objects_for_empty_tables and self.format != "parquet":
            raise ValueError("`write_empty_objects_for_empty_tables` needs `format: parquet`")
        return self


class GcsOptions(FilesOptions):
    """The nested `spec` of a destination `cloudquery/gcs`."""

    bucket: str = Field(min_length=1, description="The bucket")
    service_account_key_json: str = Field(
        "",
        description="Key of a service account, as JSON; without it the environment's credentials",
        json_schema_extra={"secret": True},
    )

    @field_validator("service_account_key_json")
    @classmethod
    def _is_json(cls, value: str) -> str:
        try:
            found: Any = json.loads(value) if value else {}
        except json.JSONDecodeError as error:
            # Without the cause: it would quote the key.
            raise ValueError(f"is not JSON (character {error.pos})") from None
        if not isinstance(found, dict):
            raise ValueError("is not a JSON object")  # noqa: TRY004  # pydantic tells no TypeError
        return value


class AzureOptions(FilesOptions):
    """The nested `spec` of a destination `cloudquery/azblob`."""

    storage_account: str = Field(min_length=1, description="The storage account")
    container: str = Field(min_length=1, description="The container")
