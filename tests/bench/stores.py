"""CPU of S3 clients side by side: a 1 kB PUT, a 1 kB create, 64 MiB in pieces, a list of 5,000 keys.

Run: python -m tests.bench.stores. The server is the tests' S3 simulator in another process; only this
process's CPU is counted (all threads), for the wall clock is mostly the server's. Rounds alternate
between the clients; the medians are printed, and each as a multiple of obstore's.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from uuid import uuid4

from tests.fakes.servers import S3

ROUNDS = 7
SMALL = os.urandom(1000)
PIECE = os.urandom(8 << 20)
Cases = dict[str, Callable[[], None]]  # case → what is done once


def key(case: str) -> str:
    return f"{case}/{uuid4().hex}"


def obstore(bucket: str) -> Cases:
    from contracts.store import open_store

    store = open_store(f"s3://{bucket}")

    def stream() -> None:
        upload = store.open_write(key("stream"))
        for _ in range(8):
            upload.write(PIECE)
        upload.close()

    return {
        "put": lambda: store.put(key("put"), SMALL),
        "create": lambda: assert_true(store.create(key("create"), SMALL)),
        "stream": stream,
        "list": lambda: assert_true(sum(1 for _ in store.list("many/")) == 5000),
    }


def boto3(bucket: str) -> Cases:
    import boto3

    s3 = boto3.client("s3")

    def stream() -> None:
        name = key("stream")
        upload = s3.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
        parts = []
        for number in range(1, 9):
            tag = s3.upload_part(
                Bucket=bucket, Key=name, UploadId=upload, PartNumber=number, Body=PIECE
            )["ETag"]
            parts.append({"PartNumber": number, "ETag": tag})
        s3.complete_multipart_upload(
            Bucket=bucket, Key=name, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def entries() -> None:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="many/")
        assert_true(sum(1 for page in pages for _ in page["Contents"]) == 5000)

    return {
        "put": lambda: s3.put_object(Bucket=bucket, Key=key("put"), Body=SMALL),
        "create": lambda: s3.put_object(
            Bucket=bucket, Key=key("create"), Body=SMALL, IfNoneMatch="*"
        ),
        "stream": stream,
        "list": entries,
    }


def fsspec_over_pyarrow(bucket: str) -> Cases:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    files = ArrowFSWrapper(
        S3FileSystem(
            endpoint_override=os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"),
            scheme="http",
            region=os.environ["AWS_REGION"],
        )
    )

    def stream() -> None:
        with files.open(f"{bucket}/{key('stream')}", "wb") as out:
            for _ in range(8):
                out.write(PIECE)

    return {
        "put": lambda: files.pipe_file(f"{bucket}/{key('put')}", SMALL),
        "stream": stream,
        "list": lambda: assert_true(len(files.find(f"{bucket}/many")) == 5000),
    }


def assert_true(value: bool) -> None:
    if not value:
        raise AssertionError


def main() -> None:
    with S3() as server:
        os.environ.update(server.environment())
        bucket = server.create()
        clients = {
            "obstore": obstore(bucket),
            "obstore again": obstore(bucket),
            "boto3": boto3(bucket),
            "fsspec/pyarrow": fsspec_over_pyarrow(bucket),
        }
        from contracts.store import open_store

        store = open_store(f"s3://{bucket}")
        for n in range(5000):
            store.put(f"many/{n:05d}", b"")
        print(f"{'case':8}{'client':16}{'CPU ms':>10}{'x obstore':>11}{'requests':>10}")
        for case, times in {"put": 100, "create": 100, "stream": 1, "list": 1}.items():
            samples: dict[str, list[float]] = {}
            requests: dict[str, int] = {}
            for turn in range(ROUNDS):
                order = list(clients) if turn % 2 else list(clients)[::-1]
                for name in order:
                    if case not in clients[name]:
                        continue
                    run = clients[name][case]
                    run()  # connections, first use
                    server.requests()
                    start = time.process_time()
                    for _ in range(times):
                        run()
                    cpu = (time.process_time() - start) / times * 1000
                    samples.setdefault(name, []).append(cpu)
                    requests[name] = len(server.requests()) // times
            base = statistics.median(samples["obstore"])
            for name, values in samples.items():
                middle = statistics.median(values)
                print(f"{case:8}{name:16}{middle:10.2f}{middle / base:11.2f}{requests[name]:10}")


if __name__ == "__main__":
    main()
