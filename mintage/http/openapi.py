"""Each document as OpenAPI 3.1, made from what serves it: the routes, the bodies they decode, the views they encode."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata, resources
from typing import Any, Final

import msgspec
from litestar import Router

from mintage.application.once import KeyReused
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.fields import InvalidFields
from mintage.domain.registration.decider import PersonUnknown
from mintage.http.bodies import CONTROLS, OPAQUE
from mintage.http.components import FILE, FORM, HEADERS, IDEMPOTENCY_KEY, LAST_EVENT, STATUS_HEADERS, Schema
from mintage.http.failures import ANSWERS, DETAILS, INTERNAL, TOO_LARGE, Answer
from mintage.http.languages import Text
from mintage.http.operations import Data, Endpoint, Operation, endpoints
from mintage.http.queries import NUMBER_MAX
from mintage.http.refusals import Forbidden, NoSuchPath, Unauthorized

REF: Final = "#/components/schemas/{name}"
ID: Final[Schema] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX},
        {"type": "string", "format": "uuid"},
    ]
}
SAMPLES: Final[Mapping[str, Any]] = {
    "uuid": "018cc251-f400-7a3b-8f00-0123456789ab",
    "date-time": "2024-01-01T00:00:00Z",
    "date": "2024-01-01",
    "integer": 1,
    "url": "https://example.com/image.jpg",
    "string": "…",
    "boolean": False,
    "object": {},
    "array": [],
    "null": None,
}
"""What stands in an example where the document shows nothing, by format or type; urls are what has a pattern."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one document puts things: its envelopes as schemas, and the status and the words that it gives an answer.

    ``examples`` are the document's own, by method and path: the ``body`` it shows, and the whole ``reply``.
    """

    title: str
    description: str
    success: Callable[[str, Schema | None], Schema]
    failure: Callable[[Answer, Schema], Schema]
    status: Callable[[Answer], int]
    message: Callable[[Answer], Text]
    examples: Mapping[str, Mapping[str, Any]]


def examples_of(package: str) -> Mapping[str, Mapping[str, Any]]:
    """What ``examples.json`` of a document's package holds."""
    examples: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(
        (resources.files(package) / "examples.json").read_bytes()
    )
    return examples


def openapi(router: Router, dialect: Dialect) -> bytes:
    """The OpenAPI document of everything below a router, as JSON."""
    return msgspec.json.encode(_Writer(dialect).document(endpoints(router)))


class _Writer:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._schemas: dict[str, Schema] = {}
        self._operations: list[tuple[Endpoint, Operation]] = []

    def document(self, served: list[Endpoint]) -> Schema:
        described = [(endpoint, endpoint.operation) for endpoint in served]
        operations = [(endpoint, operation) for endpoint, operation in described if operation is not None]
        self._operations = operations
        self._collect(operation for _, operation in operations)
        paths: dict[str, Schema] = {}
        for endpoint, operation in operations:
            paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = self._operation(endpoint, operation)
        tags = dict.fromkeys(tag for endpoint, _ in operations for tag in endpoint.controller.tags or ())
        return {
            "openapi": "3.1.0",
            "info": {
                "title": self._dialect.title,
                "description": self._dialect.description,
                "version": metadata.version("mintage"),
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": tag} for tag in tags],
            "security": [{"bearer": []}],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
                "parameters": {"IdempotencyKey": IDEMPOTENCY_KEY},
                "headers": HEADERS,
            },
        }

    def _collect(self, operations: Iterable[Operation]) -> None:
        """Every struct that any operation takes or gives, as a component."""
        types: list[Any] = []
        bodies: dict[Any, None] = {}
        for operation in operations:
            for data in (operation.reply, operation.accepted):
                types += data.values() if isinstance(data, dict) else [data]
            types += operation.events.values()
            if operation.body is not None:
                bodies[operation.body.kind] = None
        kinds = [kind for kind in dict.fromkeys(types) if kind is not None]
        _, self._schemas = msgspec.json.schema_components([*kinds, *bodies], ref_template=REF)
        for kind in bodies:
            _forbid_controls(self._schemas[kind.__name__])

    def _operation(self, endpoint: Endpoint, operation: Operation) -> Schema:
        written: Schema = {
            "operationId": endpoint.id,
            "summary": operation.summary,
            "tags": list(endpoint.controller.tags or ()),
            "parameters": list(self._parameters(endpoint, operation)),
            "responses": self._responses(endpoint, operation),
        }
        if endpoint.function.__doc__:
            written["description"] = endpoint.function.__doc__
        if operation.public:
            written["security"] = []
        if operation.body is not None:
            content: Schema = {"schema": _ref(operation.body.kind.__name__)}
            if "body" in self._shown(endpoint):
                content["example"] = self._shown(endpoint)["body"]
            written["requestBody"] = {"required": True, "content": {"application/json": content}}
            if operation.upload:
                written["requestBody"]["content"]["multipart/form-data"] = FORM
        return written

    def _parameters(self, endpoint: Endpoint, operation: Operation) -> Iterator[Schema]:
        for name in endpoint.parameters:
            yield {"name": name, "in": "path", "required": True, "schema": ID}
        for parameter in operation.query:
            for name, schema in parameter.schemas.items():
                yield {"name": name, "in": "query", "schema": schema}
        if operation.repeatable:
            yield {"$ref": "#/components/parameters/IdempotencyKey"}
        if operation.events:
            yield LAST_EVENT

    def _responses(self, endpoint: Endpoint, operation: Operation) -> Schema:
        done = self._success("成功", endpoint, operation, operation.reply)
        shown = self._shown(endpoint)
        content = done["content"].get("application/json")
        if content is not None:
            content["example"] = self._example(content["schema"], shown.get("reply"), shown.get("body"))
        responses = {"200": done}
        if links := self._links(endpoint, operation):
            done["links"] = links
        if operation.accepted is not None:
            responses["202"] = self._success("已受理，仍在处理", endpoint, operation, operation.accepted)
        if operation.events:
            responses["204"] = {"description": "已无后续事件。Nothing more is to come."}
        told: dict[str, list[Answer]] = {}
        for answer in _answers(endpoint, operation):
            told.setdefault(str(self._dialect.status(answer)), []).append(answer)
        for status, answers in sorted(told.items()):
            responses[status] = self._failure(status, answers)
        return responses

    def _success(self, description: str, endpoint: Endpoint, operation: Operation, data: Data) -> Schema:
        content: Schema = dict.fromkeys(operation.files, FILE)
        if operation.events:
            # OpenAPI 3.1 has no words of its own for the events of a stream.
            kinds = {name: self._data(kind) for name, kind in operation.events.items()}
            content["text/event-stream"] = {"schema": {"type": "string"}, "x-events": kinds}
        if data is not None or not content:
            schema = self._dialect.success(endpoint.method, None if data is None else self._data(data))
            content["application/json"] = {"schema": schema}
        response: Schema = {"description": description, "content": content}
        if operation.repeatable:
            response["headers"] = {"Idempotency-Replayed": {"$ref": "#/components/headers/IdempotencyReplayed"}}
        if operation.files:
            response["headers"] = {"Content-Disposition": {"$ref": "#/components/headers/ContentDisposition"}}
        return response

    def _links(self, endpoint: Endpoint, operation: Operation) -> Schema:
        """What can be done with something that was just made: a ``TaskView`` has the ``task_id`` of other paths."""
        if endpoint.method != "POST" or not isinstance(operation.reply, type):
            return {}
        parameter = f"{operation.reply.__name__.removesuffix('View').lower()}_id"
        return {
            other.id: {"operationId": other.id, "parameters": {parameter: "$response.body#/data/id"}}
            for other, _ in self._operations
            if other.parameters == (parameter,)
        }

    def _failure(self, status: str, answers: Sequence[Answer]) -> Schema:
        for answer in answers:
            if answer.error not in self._schemas:
                self._schemas[answer.error] = self._dialect.failure(answer, _details(answer.error))
        schemas = [_ref(error) for error in dict.fromkeys(answer.error for answer in answers)]
        told = dict.fromkeys(f"{answer.error}: {self._dialect.message(answer).zh}" for answer in answers)
        response: Schema = {
            "description": " · ".join(told),
            "content": {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}},
        }
        if status in STATUS_HEADERS:
            name = STATUS_HEADERS[status]
            response["headers"] = {name: {"$ref": f"#/components/headers/{name.replace('-', '')}"}}
        return response

    def _data(self, data: Data) -> Schema:
        if isinstance(data, dict):
            return object_of({name: self._data(kind) for name, kind in data.items()})
        (schema,), _ = msgspec.json.schema_components([data], ref_template=REF)
        return schema

    def _shown(self, endpoint: Endpoint) -> Mapping[str, Any]:
        return self._dialect.examples.get(endpoint.key, {})

    def _example(self, schema: Schema, shown: Any, asked: Any) -> Any:
        """What the document shows, with what it leaves out: from the request if that has it, else a sample."""
        if "$ref" in schema:
            return self._example(self._schemas[schema["$ref"].rpartition("/")[2]], shown, asked)
        if schema.get("type") == "object" and "properties" in schema:
            shown, asked = (part if isinstance(part, dict) else {} for part in (shown, asked))
            return {
                name: self._example(below, shown.get(name, asked.get(name)), asked)
                for name, below in schema["properties"].items()
            }
        if schema.get("type") == "array":
            return [self._example(schema["items"], one, asked) for one in shown or [None]]
        if shown is not None and (shown != "uuid" or schema.get("format") != "uuid"):
            return shown
        return _sample(schema)


def object_of(properties: Mapping[str, Schema]) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _answers(endpoint: Endpoint, operation: Operation) -> Iterator[Answer]:
    """Every failure that an operation can be answered with."""
    if operation.body is not None or operation.query or operation.repeatable or operation.events:
        yield ANSWERS[InvalidFields]
    if not operation.public:
        yield ANSWERS[Unauthorized]
        yield ANSWERS[PersonUnknown]
    if endpoint.guarded:
        yield ANSWERS[Forbidden]
    if endpoint.parameters:
        yield ANSWERS[NoSuchPath]
    if operation.body is not None or operation.repeatable:
        yield TOO_LARGE
    if operation.repeatable:
        yield ANSWERS[KeyReused]
        yield ANSWERS[OutcomeUnknown]
    yield from (ANSWERS[refusal] for refusal in operation.refusals)
    yield INTERNAL
    yield ANSWERS[Unavailable]


def _details(error: str) -> Schema:
    if error not in DETAILS:
        return {}
    _, components = msgspec.json.schema_components([DETAILS[error]])
    return {key: components[DETAILS[error].__name__][key] for key in ("type", "properties", "required")}


def _forbid_controls(body: Schema) -> None:
    for name, schema in body["properties"].items():
        for one in schema.get("anyOf", [schema]):
            if one.get("type") == "string" and name not in OPAQUE and "pattern" not in one:
                one["pattern"] = f"^[^{CONTROLS[1:]}*$"


def _sample(schema: Schema) -> Any:
    for choice in ("const", "default"):
        if choice in schema:
            return schema[choice]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return None if {"type": "null"} in schema["anyOf"] else _sample(schema["anyOf"][0])
    return SAMPLES["url"] if "pattern" in schema else SAMPLES[schema.get("format") or schema["type"]]


def _ref(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}
