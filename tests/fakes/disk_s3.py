"""An S3 server whose objects are files, so that it can be killed and started again: `disk_s3 ROOT PORT`.

It knows what a stage needs: PUT (with If-None-Match: *), GET with ranges, HEAD, DELETE one and many, ListObjectsV2
and multipart uploads. A create-only PUT is a hard link, which one of many writers wins. Nothing is checked
about signatures. A killed server leaves a half-written object nowhere: files are renamed into place.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

PAGE = 1000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path

    def parse_request(self) -> bool:
        """While there is a file `busy` in the root, every request is refused, and told by a byte in it."""
        if not super().parse_request():
            return False
        busy = self.root / "busy"
        if not busy.exists():
            return True
        self._body()
        self._error(503, "SlowDown")
        with busy.open("ab") as told:
            told.write(b".")
        return False

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _asked(self) -> tuple[str, str, dict[str, str]]:
        """Bucket, key and query."""
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).strip("/").partition("/")
        query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        return bucket, key, query

    def _body(self) -> bytes:
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        if len(data) != size:  # cut on its way: nothing happened
            raise ConnectionAbortedError
        return data

    def _file(self, bucket: str, key: str) -> Path:
        return self.root / bucket / "o" / key

    def _reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
        self._reply(status, text.encode(), Content_Type="application/xml")

    def _xml(self, text: str) -> None:
        self._reply(200, text.encode(), Content_Type="application/xml")

    def do_PUT(self) -> None:
        bucket, key, query = self._asked()
        data = self._body()
        if not key:
            (self.root / bucket / "o").mkdir(parents=True, exist_ok=True)
            self._reply(200)
            return
        if "uploadId" in query:
            part = self._upload(bucket, query["uploadId"]) / f"{int(query['partNumber']):05d}"
            self._write(part, data)
        elif not self._write(self._file(bucket, key), data, alone=self._conditional()):
            self._error(412, "PreconditionFailed")
            return
        self._reply(200, ETag=_tag(data))

    def _conditional(self) -> bool:
        return self.headers.get("If-None-Match") == "*"

    def _upload(self, bucket: str, upload: str) -> Path:
        return self.root / bucket / "u" / upload

    def _write(self, path: Path, data: bytes, *, alone: bool = False) -> bool:
        """Into place at once; with `alone` only if nothing is there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.root)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if not alone:
            Path(name).replace(path)
            return True
        try:
            os.link(name, path)
        except FileExistsError:
            return False
        finally:
            Path(name).unlink()
        return True

    def do_POST(self) -> None:
        bucket, key, query = self._asked()
        body = self._body()
        if "delete" in query:
            names = [e.text or "" for e in ET.fromstring(body).iter() if e.tag.endswith("Key")]
            for name in names:
                self._file(bucket, name).unlink(missing_ok=True)
            found = "".join(f"<Deleted><Key>{escape(n)}</Key></Deleted>" for n in names)
            self._xml(f'<?xml version="1.0"?><DeleteResult>{found}</DeleteResult>')
        elif "uploads" in query:
            upload = uuid4().hex
            self._upload(bucket, upload).mkdir(parents=True)
            self._xml(
                f'<?xml version="1.0"?><InitiateMultipartUploadResult><Bucket>{bucket}</Bucket>'
                f"<Key>{escape(key)}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )
        else:
            self._complete(bucket, key, self._upload(bucket, query["uploadId"]))

    def _complete(self, bucket: str, key: str, upload: Path) -> None:
        if not upload.exists():
            self._error(404, "NoSuchUpload")
            return
        data = b"".join(part.read_bytes() for part in sorted(upload.iterdir()))
        if not self._write(self._file(bucket, key), data, alone=self._conditional()):
            self._error(412, "PreconditionFailed")
            return
        for part in upload.iterdir():
            part.unlink()
        upload.rmdir()
        self._xml(
            f'<?xml version="1.0"?><CompleteMultipartUploadResult><Key>{escape(key)}</Key>'
            f"<ETag>{escape(_tag(data))}</ETag></CompleteMultipartUploadResult>"
        )

    def do_DELETE(self) -> None:
        bucket, key, query = self._asked()
        if "uploadId" in query:
            upload = self._upload(bucket, query["uploadId"])
            for part in upload.iterdir() if upload.exists() else ():
                part.unlink()
        else:
            self._file(bucket, key).unlink(missing_ok=True)
        self._reply(204)

    def do_GET(self) -> None:
        bucket, key, query = self._asked()
        if not key:
            self._list(bucket, query)
            return
        try:
            data = self._file(bucket, key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self._error(404, "NoSuchKey")
            return
        facts = {
            "ETag": _tag(data),
            "Last_Modified": formatdate(self._file(bucket, key).stat().st_mtime, usegmt=True),
            "Accept_Ranges": "bytes",
        }
        if self.command == "HEAD":
            self._reply(200, Content_Length=str(len(data)), **facts)
        elif asked := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or ""):
            start, stop = _span(asked[1], asked[2], len(data))
            if start >= len(data):
                self._error(416, "InvalidRange")
                return
            span = f"bytes {start}-{stop - 1}/{len(data)}"
            self._reply(206, data[start:stop], Content_Range=span, **facts)
        else:
            self._reply(200, data, **facts)

    do_HEAD = do_GET  # noqa: N815  # http.server finds its methods by these names

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        after = query.get("continuation-token") or query.get("start-after", "")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        folded = {_fold(key, prefix, delimiter) for key in self._keys(bucket, prefix)}
        found = sorted(k for k in folded if k > after)
        page, more = found[:PAGE], len(found) > PAGE
        lines = []
        for key in page:
            if delimiter and key.endswith(delimiter):
                lines.append(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>")
                continue
            try:
                facts = self._file(bucket, key).stat()
            except FileNotFoundError:  # deleted in between
                continue
            at = formatdate(facts.st_mtime, usegmt=True)
            lines.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{_iso(at)}</LastModified>"
                f'<ETag>"x"</ETag><Size>{facts.st_size}</Size></Contents>'
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        self._xml(
            f'<?xml version="1.0"?><ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>'
            f"<KeyCount>{len(page)}</KeyCount>{token}{''.join(lines)}</ListBucketResult>"
        )

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        top = self.root / bucket / "o"
        for place, _, names in os.walk(top / prefix.rpartition("/")[0]):
            for name in names:
                key = str(Path(place, name).relative_to(top))
                if key.startswith(prefix):
                    yield key


def _fold(key: str, prefix: str, delimiter: str) -> str:
    """The key, or what it has in common with its neighbours up to the delimiter."""
    head, found, _ = key[len(prefix) :].partition(delimiter or "\0")
    return f"{prefix}{head}{found}"


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _iso(http_date: str) -> str:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(http_date).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def main() -> None:
    Handler.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
