"""An S3-compatible server on loopback (moto's server mode) in a process of its own, with one bucket."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BUCKET = "studies"
SECRET = "canary-aws-secret-7b1f44"
CODE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class ObjectStore:
    """Where the server listens."""

    host: str
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a user sets; the server believes any key."""
        return {
            "AWS_ACCESS_KEY_ID": "canary-aws-id",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def uri(self, prefix: str) -> str:
        """A storage URI that needs no AWS_ENDPOINT_URL."""
        return f"s3://{BUCKET}/{prefix}?endpoint_override={self.endpoint}"

    def names(self, prefix: str = "") -> list[str]:
        """Keys of the objects under a prefix, asked without pyarrow."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, name: str) -> bytes:
        """An object, read without pyarrow."""
        data: bytes = self._client().get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return data

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Run the server for the time of a test module."""
    command = [sys.executable, "-c", CODE]
    quiet = {"stderr": subprocess.DEVNULL, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"}, **quiet) as process:
        assert process.stdout is not None
        host, port = _address(process)
        store = ObjectStore(host, port)
        request = urllib.request.Request(f"{store.endpoint}/{BUCKET}", method="PUT")
        for _ in range(100):
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        try:
            yield store
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("127.0.0.1 "):
            host, port = line.split()
            return host, int(port)
    raise AssertionError("the object store's server did not start; is moto[server,s3] installed?")
