"""Where storage lies: a local folder, or a URI that pyarrow.fs or fsspec knows, and what goes wrong with it.

    runs, /data/runs, file:///data/runs       this machine, or a disk that all machines share
    s3://bucket/prefix                        Amazon S3: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or a role
    s3://bucket/prefix?endpoint_override=URL  MinIO, Ceph, R2 ...; AWS_ENDPOINT_URL says the same for all S3 URIs
    gs://bucket/prefix                        Google Cloud Storage: application default credentials
    memory://, abfs://, ...                   what fsspec and its installed plug-ins know

Credentials come from the environment alone: a URI is printed, logged and stored with results.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import url2pathname

from assay.errors import StorageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SECRET_NAMES = ("key", "secret", "token", "password", "credential")
"""A query parameter whose name holds one of these is taken for a credential."""


@dataclass(frozen=True)
class Location:
    """A file system and a folder on it."""

    uri: str
    """Absolute; a plain path where it is local; holds no credentials."""
    fs: FileSystem
    root: str
    """The folder in the file system's own words: no scheme, no query, no slash at its end."""

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's file system."""
        return "://" not in self.uri

    def shown(self, path: str) -> str:
        """A path below `root` as people write it: with its scheme, without the query."""
        return path if self.is_local else f"{urlsplit(self.uri).scheme}://{path}"

    @contextmanager
    def failing(self, doing: str) -> Iterator[None]:
        """Turn what the file system raises into one line; a missing file stays a FileNotFoundError.

        Raises:
            StorageError: the file system cannot be used.
        """
        from pyarrow import ArrowException

        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ArrowException) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:300]
            mend = "free space or pass another --storage" if self.is_local else "check the bucket and the credentials"
            raise StorageError(
                f"storage {self.uri}: cannot {doing} ({reason}); expected a location that can be used; {mend}"
            ) from error


def open_location(uri: str) -> Location:
    """The file system and folder of a storage URI; nothing is written.

    Args:
        uri: an absolute or relative local path, or a URI.

    Raises:
        StorageError: the scheme is unknown, the URI does not parse, or it holds credentials.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

    if "://" not in uri or uri.startswith("file://"):
        path = str(Path(url2pathname(urlsplit(uri).path) if uri.startswith("file://") else uri).expanduser().resolve())
        return Location(path, LocalFileSystem(), path)
    _refuse_credentials(uri)
    try:
        filesystem, path = FileSystem.from_uri(_with_s3_settings(uri) if uri.startswith("s3://") else uri)
        if uri.startswith(("s3://", "gs://")) and not path.strip("/"):  # Arrow opens it, and fails at the first file
            raise StorageError(f"--storage {uri}: saw no bucket; expected {_KNOWN}; name the bucket")
        return Location(uri, filesystem, path.rstrip("/"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if uri.startswith(("s3://", "gs://")):
            raise StorageError(f"--storage {uri}: {' '.join(str(error).split())}; expected {_KNOWN}") from None
    except OSError as error:  # S3 asks for the bucket's region
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"--storage {uri}: {reason}; expected a bucket that can be reached; check its name, the network and the "
            "credentials"
        ) from None
    try:
        import fsspec

        handler, path = fsspec.core.url_to_fs(uri)
    except Exception as error:  # every plug-in has its own types for what it cannot open
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:300]
        raise StorageError(f"--storage {uri}: {reason} ({type(error).__name__}); expected {_KNOWN}") from None
    return Location(uri, PyFileSystem(FSSpecHandler(handler)), path.rstrip("/"))


_KNOWN = "a local path, s3://bucket/prefix, gs://bucket/prefix or an fsspec URI"


def join_uri(uri: str, name: str) -> str:
    """A URI or path one level down; a query stays at its end."""
    path, mark, query = uri.partition("?") if "://" in uri else (uri, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


def secret_parameters(uri: str) -> list[str]:
    """Names of the query parameters that are taken for credentials."""
    return [name for name, _ in parse_qsl(urlsplit(uri).query) if any(word in name.lower() for word in SECRET_NAMES)]


def _refuse_credentials(uri: str) -> None:
    parts = urlsplit(uri)
    user = parts.netloc.rpartition("@")[0]
    named = secret_parameters(uri)
    if named or user not in ("", "anonymous"):
        raise StorageError(
            f"--storage {parts.scheme}://...: saw credentials in the URI ({', '.join(named) or 'before the @'}); "
            "expected none, since a URI is logged; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what the store "
            "reads) instead"
        )


def _with_s3_settings(uri: str) -> str:
    """The URI as pyarrow wants it: an endpoint with its scheme apart, and small objects put in one request."""
    parts = urlsplit(uri)
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    scheme, mark, host = settings.get("endpoint_override", "").partition("://")
    if mark:
        settings |= {"endpoint_override": host.rstrip("/"), "scheme": scheme}
    settings.setdefault("allow_delayed_open", "true")
    return f"s3://{parts.netloc}{parts.path}?{urlencode(settings)}"
