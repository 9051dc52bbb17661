"""Google Cloud Storage's XML API as it is documented, as far as a store needs it: real HTTP, one request at a time.

Written from the reference of the XML API, because the emulators that can be installed from package
registries ignore `x-goog-if-generation-match`. Objects have generations; generation 0 matches only
where there is no object.

The name of a bucket says how it misbehaves:
  deaf-…      ignores preconditions
  bare-…      answers without ETag and Last-Modified, as some emulators do
  denied-…    answers 403 AccessDenied
  mute-…      writes, but drops the reply of the first PUT of each object

`PUT /bucket` creates a bucket; `GET /_requests` returns the requests since the last call, one JSON list of
[method, path and query]. The first line on stdout is the port. The server ends when its stdin does.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

PAGE = 1000
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"  # as the service writes it


@dataclass
class Blob:
    data: bytes
    generation: int
    content_type: str
    modified: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass
class Upload:
    key: str
    content_type: str
    pieces: dict[int, bytes] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Service:
    """All buckets, behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.buckets: dict[str, dict[str, Blob]] = {}
        self.uploads: dict[str, Upload] = {}
        self.requests: list[tuple[str, str]] = []
        self.dropped: set[str] = set()
        self._generations = count(1_700_000_000_000_000)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        name, _, key = unquote(parts.path)[1:].partition("/")
        if name == "_requests":
            seen, self.requests = self.requests, []
            return Reply(body=json.dumps(seen).encode())
        if method == "PUT" and not key:
            self.buckets[name] = {}
            return Reply()
        self.requests.append((method, target))
        fault = name.partition("-")[0]
        if fault == "denied":
            raise Refused(403, "AccessDenied")
        if name not in self.buckets:
            raise Refused(404, "NoSuchBucket")
        bucket = self.buckets[name]
        if fault == "deaf":
            headers.pop("x-goog-if-generation-match", None)
        if not key:
            return self._list(bucket, query)
        if "uploads" in query or "uploadId" in query:
            return self._multipart(method, bucket, key, query, headers, body)
        if method == "PUT":
            done = self._put(bucket, key, body, headers)
            return Reply() if fault == "bare" else done
        if key not in bucket:
            raise Refused(404, "NoSuchKey")
        if method == "DELETE":
            del bucket[key]
            return Reply(204)
        return self._read(bucket[key], headers.get("range", ""))

    def _put(
        self, bucket: dict[str, Blob], key: str, data: bytes, headers: dict[str, str]
    ) -> Reply:
        wanted = headers.get("x-goog-if-generation-match")
        found = bucket[key].generation if key in bucket else 0
        if wanted is not None and int(wanted) != found:
            raise Refused(412, "PreconditionFailed")
        kind = headers.get("content-type", "application/octet-stream")
        blob = Blob(data, next(self._generations), kind, datetime.now(UTC))
        bucket[key] = blob
        return Reply(headers={"ETag": blob.etag, "x-goog-generation": str(blob.generation)})

    def _read(self, blob: Blob, asked: str) -> Reply:
        size = len(blob.data)
        headers = {
            "ETag": blob.etag,
            "Content-Type": blob.content_type,
            "Last-Modified": blob.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "x-goog-generation": str(blob.generation),
        }
        if not asked:
            return Reply(200, blob.data, headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last) + 1 if first and last else size, size)
        if start >= size:
            raise Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return Reply(206, blob.data[start:end], headers)

    def _list(self, bucket: dict[str, Blob], query: dict[str, str]) -> Reply:
        prefix = query.get("prefix", "")
        after = max(query.get("start-after", ""), query.get("continuation-token", ""))
        keys = [k for k in sorted(bucket, key=str.encode) if k.startswith(prefix) and k > after]
        folders: list[str] = []
        if cut := query.get("delimiter"):
            below = [k[len(prefix) :].partition(cut) for k in keys]
            folders = sorted({prefix + name + cut for name, found, _ in below if found})
            keys = [k for k, (_, found, _) in zip(keys, below, strict=True) if not found]
        page = keys[: min(PAGE, int(query.get("max-keys", PAGE)))]
        entries = "".join(
            f"<Contents><Key>{escape(k)}</Key><Size>{len(bucket[k].data)}</Size>"
            f"<LastModified>{bucket[k].modified:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified>"
            f"<ETag>{escape(bucket[k].etag)}</ETag></Contents>"
            for k in page
        )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders
        )
        more = len(page) < len(keys)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return _xml(
            "ListBucketResult",
            f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{entries}{common}",
        )

    def _multipart(
        self,
        method: str,
        bucket: dict[str, Blob],
        key: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: bytes,
    ) -> Reply:
        if "uploads" in query:
            name = f"upload-{next(self._generations)}"
            self.uploads[name] = Upload(key, headers.get("content-type", ""))
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
        upload = self.uploads.get(query["uploadId"])
        if upload is None or upload.key != key:
            raise Refused(404, "NoSuchUpload")
        if method == "PUT":
            upload.pieces[int(query["partNumber"])] = body
            return Reply(
                headers={"ETag": f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'}
            )
        del self.uploads[query["uploadId"]]
        if method == "DELETE":
            return Reply(204)
        numbers = [
            int(e.text or 0) for e in ET.fromstring(body).iter() if e.tag.endswith("PartNumber")
        ]
        if numbers != sorted(upload.pieces):
            raise Refused(400, "InvalidPart")
        given = {"content-type": upload.content_type} if upload.content_type else {}
        done = self._put(bucket, key, b"".join(upload.pieces[n] for n in numbers), given)
        return _xml("CompleteMultipartUploadResult", f"<ETag>{escape(done.headers['ETag'])}</ETag>")


def _xml(name: str, inner: str) -> Reply:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{NAMESPACE}">{inner}</{name}>'
    return Reply(body=text.encode(), headers={"Content-Type": "application/xml; charset=UTF-8"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive, as the real service
    disable_nagle_algorithm = True
    service = Service()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.service.lock:
            try:
                reply = self.service.answer(self.command, self.path, headers, body)
            except Refused as refused:
                text = f"<?xml version='1.0'?><Error><Code>{refused.code}</Code></Error>"
                reply = Reply(refused.status, text.encode())
            path = unquote(self.path)
            mute = path.startswith("/mute-") and path.count("/") > 1
            if mute and self.command == "PUT" and path not in self.service.dropped:
                self.service.dropped.add(path)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Quiet: the requests are counted, not logged."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
