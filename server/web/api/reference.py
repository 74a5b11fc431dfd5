"""`/v1/openapi.json` and `/v1/reference`: the API described for programs, and for people without a line of script."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import current_app, make_response, render_template
from flask.wrappers import Response
from pydantic import BaseModel

from server.web.api.openapi import MOUNT, openapi_of, query_parameters
from server.web.api.operation import Operation, as_template
from server.web.api.operations import OPERATIONS
from server.web.context import current_gatepost

_MAX_AGE: Final = 3600
_EXTENSION: Final = "gatepost.openapi"


@dataclass(frozen=True)
class Member:
    """One member of a JSON object, or one parameter, as the page shows it."""

    name: str
    type: str
    is_required: bool
    description: str


@dataclass(frozen=True)
class Entry:
    """One operation as the page shows it."""

    operation: Operation
    path: str
    query: list[Member]
    body: list[Member]
    answer: list[Member]


def openapi_document() -> Response:
    """The document; the same for everybody while the process lives."""
    if _EXTENSION not in current_app.extensions:
        document = openapi_of(current_gatepost().runtime.settings, current_app.url_map)
        current_app.extensions[_EXTENSION] = json.dumps(document).encode()
    response = Response(cast(bytes, current_app.extensions[_EXTENSION]), mimetype="application/json")
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    return response


def show_reference() -> Response:
    """The page."""
    groups: dict[str, list[Entry]] = {}
    for operation in OPERATIONS:
        groups.setdefault(operation.tag or "Verification", []).append(_entry(operation))
    settings = current_gatepost().runtime.settings
    page = render_template(
        "api/reference.html", groups=groups, base=settings.issuer + MOUNT, header=settings.organization_header
    )
    response = make_response(page)
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    return response


def _entry(operation: Operation) -> Entry:
    query = [
        Member(each["name"], _type(each["schema"], {}), each["required"], each.get("description", ""))
        for each in query_parameters(operation)
    ]
    path = MOUNT + as_template(operation.path)
    return Entry(operation, path, query, _members(operation.body), _members(operation.answer))


def _members(model: type[BaseModel] | None) -> list[Member]:
    if model is None:
        return []
    schema = model.model_json_schema(mode="serialization")
    required = schema.get("required", [])
    return [
        Member(name, _type(each, schema.get("$defs", {})), name in required, each.get("description", ""))
        for name, each in schema.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The type in words, as in: array of string, or null."""
    if "anyOf" in schema:
        return " or ".join(_type(each, definitions) for each in schema["anyOf"])
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        return f"object ({', '.join(named.get('properties', {}))})"
    if "enum" in schema or "const" in schema:
        return " | ".join(str(each) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}), definitions)}"
    kind = str(schema.get("type", "any"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind
