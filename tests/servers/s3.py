"""An S3 server (moto) with one empty bucket, and the environment that finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

BUCKET = "corrections"


@contextmanager
def s3_server(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """`s3://` and the name of the bucket."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    import boto3

    moto = server_module.ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    try:
        endpoint = "http://{}:{}".format(*moto.get_host_and_port())
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "a-key-of-tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-tests")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3", endpoint_url=endpoint)
        # Servers of one process share what they hold.
        requests.post(f"{endpoint}/moto-api/reset", timeout=10).raise_for_status()
        client.create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        moto.stop()
