"""The OpenAPI document, generated from the types that the API answers with."""

import re
from typing import Any, Final

import msgspec

from toolset.adapters.http.api import BASE, PAGE_DEFAULT, PAGE_LIMIT, Failed, ServicePage, ToolList, Toolsets
from toolset.adapters.http.event_stream import Revision
from toolset.core.status.snapshot import Change, ServiceStatus, Summary

PATH: Final = f"{BASE}/openapi.json"
_NAMESPACE: Final = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
_NAME: Final = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"}
_WORD: Final = {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"}
_KEY: Final = {"type": "string", "pattern": f"^({_NAMESPACE['pattern'][1:-1]}/)?{_NAME['pattern'][1:]}"}
_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.+?)(?=\n    \w+: |\Z)", re.MULTILINE | re.DOTALL)
_ANY_REQUEST: Final = (401, 403, 429, 503)
"""How any request may be refused: token, permission or host, rate, or an unreachable API server."""
_ROOT: Final = "#/components/schemas/{name}"


class Operation(msgspec.Struct, frozen=True):
    """One path that answers GET and HEAD.

    Attributes:
        path: The path, with its parameters in braces.
        summary: What it answers.
        answers: The type of the body.
        query: The schema of each query parameter, with its description.
        path_parameters: The schema of each path parameter.
    """

    path: str
    summary: str
    answers: type[msgspec.Struct]
    query: dict[str, tuple[dict[str, object], str]] = {}
    path_parameters: dict[str, dict[str, object]] = {}


OPERATIONS: Final = (
    Operation(f"{BASE}/status", "Which process answers, what needs attention, counts, and the latest changes", Summary),
    Operation(f"{BASE}/tools", "The published tools", ToolList),
    Operation(
        f"{BASE}/services",
        "The Services that are recognised, nearly recognised, or opted in or out, a page at a time",
        ServicePage,
        {
            "namespace": (dict(_WORD), "only those of this namespace"),
            "type": (dict(_WORD), "only those of this tool type"),
            "reason": (dict(_WORD), "only those with this verdict: Published, or a reason"),
            "limit": (
                {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_DEFAULT},
                "Services on one page",
            ),
            "continue": (dict(_KEY), "the value of `next` in the page before"),
        },
    ),
    Operation(
        f"{BASE}/services/{{namespace}}/{{name}}",
        "What is known of any one Service",
        ServiceStatus,
        path_parameters={"namespace": dict(_NAMESPACE), "name": dict(_NAME)},
    ),
    Operation(f"{BASE}/toolsets", "The published documents", Toolsets),
)


def document(version: str) -> dict[str, object]:
    """Return the OpenAPI document of this version of the service."""
    types = [*(each.answers for each in OPERATIONS), Failed, Change, Revision]
    _, schemas = msgspec.json.schema_components(types, ref_template=_ROOT)
    for schema in schemas.values():
        describe(schema)
    paths = {each.path: {"get": _operation(each)} for each in OPERATIONS}
    events: dict[str, object] = {
        "description": "Events `change` with a `Change`, and `status` with a `Revision` when the snapshot differs",
        "content": {"text/event-stream": {}},  # OpenAPI 3.1 has no schema for single events of a stream
    }
    paths[f"{BASE}/events"] = {"get": _answered("Changes as server-sent events", events, [], 400)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dynamic Toolset Service",
            "version": version,
            "description": "The status of the running service; read-only. HEAD is answered wherever GET is.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def describe(schema: dict[str, Any]) -> None:
    """Move the description of each attribute from the docstring of a type to the property of its schema."""
    summary, _, attributes = str(schema.get("description", "")).partition("\n\nAttributes:\n")
    schema["description"] = summary.replace("``", "`")
    for name, text in _ATTRIBUTE.findall(attributes):
        described = " ".join(text.split()).replace("``", "`")
        found = schema["properties"][name]
        # Older OpenAPI readers ignore the siblings of a reference.
        schema["properties"][name] = (
            {"allOf": [found], "description": described} if "$ref" in found else {**found, "description": described}
        )


def _operation(operation: Operation) -> dict[str, object]:
    parameters: list[object] = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in operation.path_parameters.items()
    ]
    parameters += [
        {"name": name, "in": "query", "schema": schema, "description": text}
        for name, (schema, text) in operation.query.items()
    ]
    schema = {"$ref": _ROOT.format(name=operation.answers.__name__)}
    content: dict[str, object] = {
        "description": operation.summary,
        "content": {"application/json": {"schema": schema}},
    }
    codes = (400, 404) if operation.path_parameters else (400,)
    return _answered(operation.summary, content, parameters, *codes)


def _answered(summary: str, content: dict[str, object], parameters: list[object], *codes: int) -> dict[str, object]:
    schema = {"$ref": _ROOT.format(name=Failed.__name__)}
    failed = {"description": "Refused", "content": {"application/json": {"schema": schema}}}
    responses = {"200": content} | {str(code): failed for code in sorted({*codes, *_ANY_REQUEST})}
    return {"summary": summary, "parameters": parameters, "responses": responses}
