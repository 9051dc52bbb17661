"""What an S3 error means. obstore gives a class and a text; status and code are read from the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.errors import Denied, NotFound, Permanent, SharderError, Unreachable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REFUSED = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
_EXPIRED = frozenset({"ExpiredToken", "RequestExpired", "TokenRefreshRequired"})
_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"}
)


@dataclass(frozen=True)
class Failure:
    """One refused or lost request: HTTP status (0: no answer), the service's code, our one-line text."""

    status: int
    code: str
    detail: str
    missing: bool  # obstore's own verdict: no such object, or no such bucket
    denied: bool

    @classmethod
    def of(cls, error: Exception) -> Failure:
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        return cls(
            status=int(status[1]) if status else 0,
            code=code[1] if code else "",
            detail=text.partition("\n")[0].partition(": <?xml")[0][:300],
            missing=isinstance(error, FileNotFoundError),
            denied=type(error).__name__ in {"PermissionDeniedError", "UnauthenticatedError"},
        )

    @property
    def exists(self) -> bool:
        """A create met an object: 412; 409 is a conflict with another request, to be tried again."""
        return self.status == 412


def translate(error: Exception, url: str, key: str, verb: str) -> SharderError:
    """Our error for one of obstore's; `url` is s3://bucket/prefix, `verb` what we wanted to do."""
    failure = Failure.of(error)
    place = f"{url}/{key}"
    bucket = url.removeprefix("s3://").partition("/")[0]
    if failure.code == "NoSuchBucket":
        return Permanent(
            f"bucket '{bucket}' does not exist",
            "create it, or correct the stage's URL; with several accounts or regions, look at "
            "AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL",
        )
    if failure.code in _REFUSED:
        return Denied(
            f"bucket '{bucket}': the AWS credentials are not valid ({failure.code})",
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile",
        )
    if failure.code in _EXPIRED:
        return Denied(
            f"bucket '{bucket}': the AWS credentials have expired ({failure.code})",
            "renew them, for example with: aws sso login",
        )
    if failure.code in _REGION or failure.status in {301, 307}:
        return Permanent(
            f"bucket '{bucket}' is in another region than the one asked",
            "set AWS_REGION to the region of the bucket",
        )
    if "169.254.169.254" in failure.detail:
        return Denied(
            f"bucket '{bucket}': no AWS credentials were found",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run under a role",
        )
    if failure.denied or failure.status in {401, 403}:
        return Denied(
            f"bucket '{bucket}': the credentials may not {verb} {place} ({failure.code or 'denied'})",
            "they need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
        )
    if failure.missing or failure.status == 404:
        return NotFound(f"{place} does not exist")
    if failure.status in {409, 412, 429, 500, 502, 503, 504}:
        return Unreachable(
            f"bucket '{bucket}' could not {verb} {key or 'it'}: {failure.status} {failure.code}"
        )
    if failure.status:
        return Permanent(f"bucket '{bucket}' refused to {verb} {key}: {failure.detail}")
    return Unreachable(
        f"bucket '{bucket}' does not answer: {failure.detail}",
        "check the network, and AWS_ENDPOINT_URL if the store is not Amazon's",
    )
