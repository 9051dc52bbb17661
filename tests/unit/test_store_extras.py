"""A store whose library is not installed is one sentence with the line that installs it."""

from __future__ import annotations

import sys

import pytest

from contracts.errors import MissingExtra
from contracts.store import open_store
from contracts.store.places import S3Place, open_place


@pytest.mark.parametrize(
    ("url", "extra"),
    [("s3://lake/x", "s3"), ("gs://lake/x", "gcs"), ("az://lake/raw/x", "azure")],
)
def test_a_store_without_obstore_names_its_extra(
    url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingExtra, match=rf"(?s){url[:9]}.*pip install 'sharder\[{extra}\]'"):
        open_store(url, environment={})


@pytest.mark.parametrize(
    ("place", "library", "what"),
    [
        (S3Place("lake", acl="private"), "boto3", "an ACL"),
        (
            S3Place("lake", role_arn="arn:aws:iam::1:role/x"),
            "botocore.session",
            "a profile or a role",
        ),
        (S3Place("lake", local_profile="x"), "botocore.session", "a profile or a role"),
    ],
)
def test_what_only_boto3_can_do_names_the_extra(
    place: S3Place, library: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    environment = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with pytest.raises(MissingExtra, match=f"{what} for s3://lake needs the package 'boto3'"):
        open_place(place, environment)
