"""Storage URIs: queries stay at the end, credentials are refused unrepeated, failures are one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import StorageError
from assay.llm.ledger.tables import default_ledger_url
from assay.storage_uri import _with_s3_settings, join_uri, open_location

NAMES = st.text("abcxyz0189-_", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("uri", "joined"),
    [
        ("/data/runs", "/data/runs/ledger"),
        ("s3://b/p", "s3://b/p/ledger"),
        ("s3://b/p/?endpoint_override=http://h:9", "s3://b/p/ledger?endpoint_override=http://h:9"),
        ("what?/runs", "what?/runs/ledger"),
    ],
)
def test_a_name_joins_before_the_query(uri: str, joined: str) -> None:
    assert join_uri(uri, "ledger") == joined
    if "://" in uri:
        assert default_ledger_url(uri) == f"segments:{joined}"


@given(NAMES, NAMES, st.sampled_from(["", "?a=1", "?endpoint_override=http://h:9&region=x"]))
def test_joining_twice_is_joining_a_path(first: str, second: str, query: str) -> None:
    assert join_uri(join_uri(f"s3://b{query}", first), second) == f"s3://b/{first}/{second}{query}"


def test_an_endpoint_may_be_written_as_a_url() -> None:
    settings = _with_s3_settings("s3://b/p?endpoint_override=http://127.0.0.1:9000/&region=r")
    path, query = settings.split("?")
    assert path == "s3://b/p"
    assert set(query.split("&")) == {
        "endpoint_override=127.0.0.1%3A9000", "region=r", "scheme=http", "allow_delayed_open=true",
    }  # fmt: skip


@pytest.mark.parametrize(
    "uri",
    [
        "s3://id:hunter2@b/p",
        "s3://b/p?secret_key=hunter2",
        "gs://b/p?access_token=hunter2",
        "abfs://b/p?account_key=hunter2",
        "https://user:hunter2@host/p",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(StorageError, match="credentials in the URI") as refused:
        open_location(uri)
    assert "hunter2" not in str(refused.value)


def test_a_file_uri_is_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    at = open_location(folder.as_uri())
    assert (at.uri, at.root, at.is_local) == (str(folder), str(folder), True)


def test_anonymous_is_no_credential() -> None:
    assert open_location("gs://anonymous@b/p").root == "b/p"


@pytest.mark.parametrize("uri", ["gs://b/p q?x=1", "s3://b/p?no_such=1"])
def test_what_does_not_parse_says_what_is_expected(uri: str) -> None:
    with pytest.raises(StorageError, match=r"expected a local path, s3://bucket/prefix"):
        open_location(uri)


def test_a_failing_file_system_is_one_line_and_a_missing_file_stays_one(tmp_path: Path) -> None:
    at = open_location(str(tmp_path))
    with (
        pytest.raises(StorageError, match=r"cannot be listed \(disk on fire\).*free space"),
        at.failing("be listed"),
    ):
        raise OSError("disk\non fire")
    with pytest.raises(FileNotFoundError), at.failing("be read"):
        raise FileNotFoundError


@pytest.mark.parametrize("uri", ["s3://", "s3:///", "s3:///prefix", "gs://", "s3://?region=x"])
def test_a_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(
        StorageError, match=r"(saw no bucket|Missing bucket name in S3 URI); expected a local path, s3://bucket/prefix"
    ):
        open_location(uri)


def test_whatever_a_plug_in_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def url_to_fs(uri: str) -> None:
        raise socket.gaierror(-2, "Name or service\nnot known")

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    with pytest.raises(StorageError, match=r"--storage ftp://x/y: Name or service not known \(gaierror\); expected"):
        open_location("ftp://x/y")


def test_arrows_own_errors_are_one_line(tmp_path: Path) -> None:
    at = open_location(str(tmp_path))
    with pytest.raises(StorageError, match=r"cannot be read \(odd path\)"), at.failing("be read"):
        raise pa.ArrowInvalid("odd\npath")
