"""A real S3 server of the tests' own, which checks signatures and goes wrong when it is told to."""

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import moto.settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from mintage.infra.s3 import Bucket

ACCOUNT, PARTITION, REGION = "123456789012", "aws", "us-east-1"
REFUSED = """<?xml version="1.0" encoding="UTF-8"?>
<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Error>{}<Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>"""
Fault: TypeAlias = Literal["down", "slow", "cut", "refuse"]
_logger = logging.getLogger("werkzeug")


class Shop:
    """Serves S3 on a port of this machine.

    With a ``fault`` it answers 503, or not at all, or half of what it has, or that it will not remove what it is to.
    """

    def __init__(self) -> None:
        # Everything is asked who it comes from, and what is signed with another key is refused.
        moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        ActionAuthenticatorMixin.request_count = 0
        people = iam_backends[ACCOUNT]["aws"]
        people.create_user("aws", "mintage")
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        people.put_user_policy("mintage", "everything", json.dumps(everything))
        self._key = people.create_access_key("mintage")
        self._app = DomainDispatcherApplication(create_backend_app)
        _logger.setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self._over = threading.Event()
        self.requests: list[str] = []
        self.fault: Fault | None = None
        self.failing: Callable[[str], bool] = lambda _: True
        """Which requests the fault is for, by method and path."""

    def bucket(self, **otherwise: str) -> Bucket:
        """A new and empty one, or one that is ``otherwise``."""
        name = f"files-{uuid4().hex[:12]}"
        s3_backends[ACCOUNT][PARTITION].create_bucket(name, REGION)
        said = {
            "name": name,
            "prefix": "",
            "endpoint": f"http://127.0.0.1:{self._server.server_port}",
            "region": REGION,
            "key_id": self._key.access_key_id,
            "secret": self._key.secret_access_key,
        }
        return Bucket(**{**said, **otherwise})

    def held(self, bucket: Bucket) -> dict[str, bytes]:
        """Everything that lies in a bucket, as the store itself has it."""
        found = s3_backends[ACCOUNT][PARTITION].buckets[bucket.name].keys
        return {name: key.value for name, key in found.items()}

    def keep_versions(self, bucket: Bucket) -> None:
        s3_backends[ACCOUNT][PARTITION].put_bucket_versioning(bucket.name, "Enabled")

    def heal(self) -> None:
        self.fault = None
        self.failing = lambda _: True
        self._over.set()
        self._over = threading.Event()

    def stop(self) -> None:
        self.heal()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.requests.append(request)
        fault = self.fault if self.failing(request) else None
        if fault == "slow":
            self._over.wait(30)
        if fault in {"down", "slow"}:
            start_response("503 Slow Down", [("Content-Length", "0")])
            return ()
        if fault == "refuse":
            asked = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
            said = REFUSED.format("".join(re.findall("<Key>.*?</Key>", asked))).encode()
            start_response("200 OK", [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))])
            return (said,)
        reply: Iterable[bytes] = self._app(environ, start_response)
        if fault == "cut":
            whole = b"".join(reply)
            return (whole[: len(whole) // 2],)
        return reply


@contextmanager
def shop() -> Iterator[Shop]:
    opened = Shop()
    try:
        yield opened
    finally:
        opened.stop()
