"""`cloudquery/s3`: a bucket of S3, or of a store that speaks its protocol."""

from __future__ import annotations

import os

from contracts.store.places import S3Place, open_place
from loader.warehouses.files import dialects
from loader.warehouses.files.options import S3Credentials
from loader.warehouses.files.options import S3Options as Options
from loader.warehouses.files.warehouse import FileWarehouse

__all__ = ["DIALECT", "Options", "open"]

DIALECT = dialects.PARQUET


def open(options: Options) -> FileWarehouse:  # noqa: A001  # every engine module has this factory
    """Raises MissingExtra, InputError, Denied."""
    return FileWarehouse(
        open_place(place(options), os.environ), options,
        athena=options.athena,
        empty_files=options.write_empty_objects_for_empty_tables,
        probes=options.test_write,
    )  # fmt: skip


def place(options: Options) -> S3Place:
    whose = options.credentials or S3Credentials(local_profile=options.local_profile)
    encryption = options.server_side_encryption_configuration
    return S3Place(
        options.bucket,
        region=options.region,
        endpoint=options.endpoint,
        skip_tls_verify=options.endpoint_skip_tls_verify,
        path_style=options.use_path_style,
        acl=options.acl,
        sse=encryption.server_side_encryption if encryption else "",
        kms_key_id=encryption.sse_kms_key_id if encryption else "",
        content_type=options.content_type,
        local_profile=whose.local_profile,
        role_arn=whose.role_arn,
        role_session_name=whose.role_session_name,
        external_id=whose.external_id,
        max_retries=options.max_retries,
        max_backoff_s=options.max_backoff,
        part_size=options.part_size,
        debug=options.aws_debug,
    )
