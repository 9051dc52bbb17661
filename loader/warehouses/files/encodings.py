"""How a table becomes the bytes of a file: the options of a spec as a dialect of the one writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from contracts.stagefile.encoders import (
    CsvDialect,
    CsvEncoder,
    JsonEncoder,
    MakeEncoder,
    ParquetDialect,
    ParquetEncoder,
)
from contracts.stagefile.sink import GzipUpload
from contracts.store import Upload
from loader.warehouses.files.options import FilesOptions, FormatSpec

_VERSIONS: dict[str, Literal["1.0", "2.4", "2.6"]] = {
    "v1.0": "1.0", "v2.4": "2.4", "v2.6": "2.6", "v2Latest": "2.6",
}  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """`wrap` is what stands between the encoder and the store: nothing, or gzip."""

    encoder: MakeEncoder
    wrap: Callable[[Upload], Upload]


def of(options: FilesOptions) -> Encoding:
    return Encoding(
        _encoder(options.format, options.dialect),
        GzipUpload if options.compression == "gzip" else lambda upload: upload,
    )


def _encoder(format_: str, spec: FormatSpec) -> MakeEncoder:
    match format_:
        case "csv":
            csv = CsvDialect(header=not spec.skip_header, delimiter=spec.delimiter, exact=False)
            return partial(CsvEncoder, dialect=csv)
        case "json":
            return JsonEncoder
        case _:
            parquet = ParquetDialect(
                codec="snappy", level=None, version=_VERSIONS[spec.version], checksums=False,
                group_rows=spec.max_row_group_length,
            )  # fmt: skip
            return partial(ParquetEncoder, dialect=parquet)
