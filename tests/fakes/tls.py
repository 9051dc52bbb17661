"""Redis and PostgreSQL behind TLS, with an authority of our own that `openssl` makes in a moment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.fakes.servers import Postgres, Redis, ServerMissing, binary


class Authority:
    """`ca.pem`, and certificates that it signed: `NAME.pem` with `NAME.key`, for 127.0.0.1."""

    def __init__(self, home: Path) -> None:
        self._openssl, self.home = binary("openssl"), home
        self.file = home / "ca.pem"
        options = (
            "-subj",
            "/CN=tests",
            "-days",
            "3650",
            "-addext",
            "keyUsage=critical,keyCertSign",
        )
        self._run("req", "-x509", *self._key("ca"), "-out", "ca.pem", *options)

    def certificate(self, name: str, address: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """(certificate, key) of a server at the address."""
        (self.home / "names").write_text(f"subjectAltName={address}\n")
        self._run("req", *self._key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        self._run(
            "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem", "-days", "3650"
        )
        return self.home / f"{name}.pem", self.home / f"{name}.key"

    def _key(self, name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        return (*curve, "-nodes", "-keyout", f"{name}.key")

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [self._openssl, *words], cwd=self.home, capture_output=True, text=True
        )
        if done.returncode:
            raise ServerMissing(f"openssl cannot do `{words[0]}`: {done.stderr[-200:]}")


class TlsRedis(Redis):
    """redis-server that speaks nothing but TLS, at the address of its certificate."""

    def __init__(self, authority: Authority, name: str = "redis", *, password: str = "") -> None:
        certificate, key = authority.certificate(name)
        self._authority = authority
        files = (
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            authority.file,
        )
        super().__init__(password=password, options=(*map(str, files), "--tls-auth-clients", "no"))

    @property
    def url(self) -> str:
        return super().url.replace("redis://", "rediss://", 1)

    def _launch(self, port: int) -> None:
        plain, self._options = (
            self._options,
            (*self._options, "--port", "0", "--tls-port", str(port)),
        )
        try:
            super()._launch(port)
        finally:
            self._options = plain

    def _answers(self, port: int) -> bool:
        import redis

        assert self.process.stdout is not None
        with self.process.stdout as lines:
            if not any(b"Ready to accept connections" in line for line in lines):
                return False
        trusted: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self._authority.file)}
        with redis.Redis("127.0.0.1", port, password=self.password or None, **trusted) as client:
            return bool(client.info("server")["process_id"] == self.process.pid)


class TlsPostgres(Postgres):
    """PostgreSQL that takes connections over the network by TLS only."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self._files = authority.certificate("postgres")

    def _initialise(self) -> None:
        super()._initialise()
        for found, name in zip(self._files, ("server.crt", "server.key"), strict=True):
            shutil.copy(found, self.data / name)
            (self.data / name).chmod(0o600)
            if self._account:
                shutil.chown(self.data / name, self._account, self._account)
        rules = self.data / "pg_hba.conf"
        rules.write_text(rules.read_text().replace("host ", "hostssl "))
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("ssl = on\n")
