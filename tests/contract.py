"""Holds every reply to what the OpenAPI documents promise."""

import csv
import io
import json
import re
from functools import cache
from typing import Any, Final, NamedTuple

import httpx
import jsonschema_rs

from mintage.http import api_v1, server_api
from mintage.http.openapi import openapi

SILENT: Final = {"HEAD", "OPTIONS"}


@cache
def documents() -> dict[str, Any]:
    return {
        "v1": json.loads(openapi(api_v1.router(), api_v1.DIALECT)),
        "server": json.loads(openapi(server_api.router(), server_api.DIALECT)),
    }


class Promise:
    """What one operation may answer."""

    def __init__(self, document: str, method: str, path: str, operation: dict[str, Any]) -> None:
        self.name = f"{document}.{operation['operationId']}"
        self._components = closed(documents()[document]["components"])
        self._method = method.upper()
        self._path = re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "/?")
        self._responses = operation["responses"]

    def is_for(self, request: httpx.Request) -> bool:
        return request.method == self._method and self._path.fullmatch(request.url.path) is not None

    def check(self, response: httpx.Response, content: bytes) -> None:
        """Raises ``AssertionError`` if this is not one of the replies that were promised."""
        where = f"{self.name} answered {response.status_code}"
        promised = self._responses.get(str(response.status_code))
        assert promised is not None, f"{where}, which is not listed"
        if "content" not in promised:
            assert not content, f"{where} with something that is not listed"
            return
        media = response.headers["content-type"].partition(";")[0]
        assert media in promised["content"], f"{where} with {media}"
        if media == "application/json":
            assert response.headers["content-type"] == media, where
            self._check_json(response.status_code, content, where)
        elif media == "text/event-stream":
            for event in events_in(content):
                schema = closed(promised["content"][media]["x-events"][event.kind])
                validator = jsonschema_rs.Draft202012Validator(
                    {**schema, "components": self._components}, validate_formats=True
                )
                assert not [error.message for error in validator.iter_errors(event.data)], where
        else:
            assert "content-disposition" in response.headers, f"{where} with a file that has no name"
            FILES[media](content)
        for name, header in promised.get("headers", {}).items():
            described = self._components["headers"][header["$ref"].rpartition("/")[2]]
            given = response.headers.get(name)
            assert given is not None or not described.get("required"), f"{where} without {name}"
            if given is not None:
                assert jsonschema_rs.is_valid(described["schema"], given), f"{where} with {name}: {given}"

    def _check_json(self, status: int, content: bytes, where: str) -> None:
        wrong = [
            f"{'/'.join(map(str, error.instance_path))}: {error.message}"
            for error in self._validator(status).iter_errors(json.loads(content))
        ]
        assert not wrong, f"{where}: {wrong}"

    @cache  # noqa: B019 -- there are as many as there are operations
    def _validator(self, status: int) -> Any:
        schema = closed(self._responses[str(status)]["content"]["application/json"]["schema"])
        return jsonschema_rs.Draft202012Validator({**schema, "components": self._components}, validate_formats=True)


class Event(NamedTuple):
    """Of a stream of events; ``id`` is its version and its progress."""

    id: tuple[int, int]
    kind: str
    data: dict[str, Any]


def events_in(stream: bytes) -> list[Event]:
    """The events that arrived whole; fails if what arrived is no stream of events of ours."""
    *blocks, rest = stream.decode("utf-8").split("\n\n")
    events = []
    for block in blocks:
        if re.fullmatch(":.*|retry: [0-9]+", block):
            continue
        found = re.fullmatch(r"id: ([0-9]+)-([0-9]+)\nevent: ([a-z]+)\ndata: (.*)", block)
        assert found is not None, block
        events.append(Event((int(found[1]), int(found[2])), found[3], json.loads(found[4])))
    assert "\n\n" not in rest
    return events


def _is_csv(content: bytes) -> None:
    head, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
    assert len(set(head)) == len(head)
    assert all(len(row) == len(head) for row in rows)


def _is_parquet(content: bytes) -> None:
    assert content[:4] == content[-4:] == b"PAR1"


def _is_text(content: bytes) -> None:
    assert content.decode("utf-8").endswith("\n")


FILES: Final = {"text/csv": _is_csv, "application/vnd.apache.parquet": _is_parquet, "text/plain": _is_text}
"""How a file shows that it is what it is said to be."""


def closed(schema: Any) -> Any:
    """The same without room for anything that it does not name: no reply may tell more than was meant."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    below = {name: closed(one) for name, one in schema.items()}
    return (
        {**below, "additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else below
    )


@cache
def promises() -> tuple[Promise, ...]:
    return tuple(
        Promise(name, method, path, operation)
        for name, document in documents().items()
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )


class Checked(httpx.AsyncBaseTransport):
    """A transport whose every reply is checked; ``kept`` names the operations that succeeded."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.kept: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        promise = next((one for one in promises() if one.is_for(request)), None)
        if promise is not None:
            promise.check(response, await response.aread())
            if response.is_success:
                self.kept.add(promise.name)
        elif request.url.path.startswith("/api") and request.method not in SILENT:
            assert response.status_code in {404, 405}, f"{request.method} {request.url.path} is described nowhere"
        return response
