"""The OpenAPI 3.1 document: built from the table of operations, their pydantic models, and the URL map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Map, Rule

from server.config import Settings
from server.web.api.authentication import CSRF_HEADER
from server.web.api.documents import ErrorAnswer
from server.web.api.idempotency import HEADER as IDEMPOTENCY_KEY
from server.web.api.operation import Operation, arguments_of, as_template
from server.web.api.operations import OPERATIONS
from server.web.api.other_endpoints import MACHINE_ENDPOINTS, OtherEndpoint, page_endpoint
from server.web.session_cookie import cookie_name

MOUNT: Final = "/v1"
#: What the second mount's endpoints end in; the document tells of it as another server.
SECOND_MOUNT: Final = "_at_api"
_ARGUMENT: Final = {"type": "string", "minLength": 1, "maxLength": 100}
_ARGUMENTS: Final = {"path": {"type": "string", "minLength": 1}}
_REF: Final = "#/components/schemas/{model}"
_ANY_STATUS: Final = {"description": "What went wrong."}
_DESCRIPTIONS: Final[dict[int, str]] = {
    200: "Done.",
    201: "Made.",
    204: "Done; there is nothing to tell.",
    303: "Go on there.",
    400: "The request is malformed, or a member is unknown, missing or wrong.",
    401: "The credential is missing, malformed, expired or revoked.",
    403: "The credential may not do this.",
    404: "There is no such thing, or not in this organization and environment.",
    409: "It contradicts what is there.",
    410: "It was good once.",
    413: "The request is too large.",
    415: "The body is no JSON.",
    429: "Too many requests; `Retry-After` says when to come again.",
    503: "The database does not answer; `Retry-After` says when to come again.",
}
_INTRODUCTION: Final = """\
The API of organizations: their people, roles, API keys, OAuth applications and audit log.

Send an API key or an access token as `Authorization: Bearer …`. Members are camelCase; unknown ones are refused.
Errors are `{"error", "message", "request_id"}`. Lists take `limit` and `cursor`. A `POST` with an `Idempotency-Key` may
be sent again for a day and acts once. `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` tell what is left
of the minute. All of it stands under `/api/v1` too."""


def openapi_of(settings: Settings, url_map: Map) -> dict[str, Any]:
    """The document of one deployment."""
    known = {operation.endpoint: operation for operation in OPERATIONS}
    references, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(url_map.iter_rules(), key=lambda each: each.rule):
        if rule.endpoint.endswith(SECOND_MOUNT):
            continue
        item = paths.setdefault(as_template(rule.rule.removeprefix(settings.issuer_path)), {})
        for method in _methods(rule):
            operation = known.get(rule.endpoint)
            described = (
                _operation(settings, operation, method, references) if operation is not None else _other(rule, method)
            )
            item[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{settings.issuer_name} API", "version": "1", "description": _INTRODUCTION},
        "servers": [{"url": settings.issuer}],
        "tags": [{"name": tag} for tag in _tags(paths)],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _security_schemes(settings)},
    }


def _methods(rule: Rule) -> list[str]:
    """Those that mean something of their own; HEAD and OPTIONS are HTTP's."""
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def _tags(paths: dict[str, dict[str, Any]]) -> list[str]:
    own = [operation.tag for operation in OPERATIONS]
    others = [each["tags"][0] for item in paths.values() for each in item.values()]
    return [tag for tag in dict.fromkeys([*own, *sorted(others)]) if tag]


def _schemas() -> tuple[dict[type[BaseModel], dict[str, Any]], dict[str, Any]]:
    """What refers to each model, and all models by name."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ErrorAnswer, "serialization")]
    for operation in OPERATIONS:
        if operation.body is not None:
            wanted.append((operation.body, "validation"))
        if operation.answer is not None:
            wanted.append((operation.answer, "serialization"))
    found, document = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    references = {cast(type[BaseModel], model): schema for (model, _), schema in found.items()}
    return references, _without_titles(dict(sorted(document["$defs"].items())))


def _without_titles(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas without the names that pydantic makes up for people: `Expiresin`."""
    for schema in schemas.values():
        schema.pop("title", None)
        for each in schema.get("properties", {}).values():
            each.pop("title", None)
    return schemas


def _operation(
    settings: Settings, operation: Operation, method: str, references: dict[type[BaseModel], dict[str, Any]]
) -> dict[str, Any]:
    suffix = "" if method == operation.method else f"_by_{method.lower()}"
    described: dict[str, Any] = {
        "operationId": _camel(operation.name + suffix),
        "summary": operation.summary,
        "tags": [operation.tag or "Verification"],
        "description": _description(operation),
        "parameters": [*path_parameters(operation.path), *query_parameters(operation), *_headers(settings, operation)],
        "responses": _responses(operation, references),
        "security": [{"bearer": []}, {"session": [], "csrf": []}] if operation.is_authenticated else [],
    }
    if operation.body is not None:
        content = {"application/json": {"schema": references[operation.body]}}
        needs = any(field.is_required() for field in operation.body.model_fields.values())
        described["requestBody"] = {"required": needs, "content": content}
    return described


def _description(operation: Operation) -> str:
    said = [operation.description] if operation.description else []
    if operation.permission is not None:
        said.append(f"Needs the permission `{operation.permission}`.")
    if operation.is_dangerous:
        said.append("A session at our own pages must have signed in within 15 minutes.")
    return " ".join(said)


def path_parameters(path: str) -> list[dict[str, Any]]:
    """The arguments of a path of the URL map."""
    return [
        {"name": name, "in": "path", "required": True, "schema": _ARGUMENTS.get(converter, _ARGUMENT)}
        for converter, name in arguments_of(path)
    ]


def query_parameters(operation: Operation) -> list[dict[str, Any]]:
    """The parameters of the query, as its model says."""
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema()
    parameters = []
    for name, each in schema.get("properties", {}).items():
        described = {key: value for key, value in each.items() if key not in {"title", "description", "anyOf"}}
        # There is no null on the wire: what may be null may be left out.
        described |= next((one for one in each.get("anyOf", []) if one.get("type") != "null"), {})
        if described.get("default", "") is None:
            del described["default"]
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": described}
        parameters.append(parameter | ({"description": each["description"]} if "description" in each else {}))
    return parameters


def _headers(settings: Settings, operation: Operation) -> list[dict[str, Any]]:
    if not operation.is_authenticated:
        return []
    organization = {
        "name": settings.organization_header,
        "in": "header",
        "required": False,
        "description": "The id or slug of the organization that the credential is used for.",
        "schema": {"type": "string"},
    }
    key = {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "required": False,
        "description": "The same key with the same request acts once within a day.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    return [organization, key] if operation.method == "POST" else [organization]


def _responses(operation: Operation, references: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    schema = references[operation.answer] if operation.answer is not None else {}
    done: dict[str, Any] = {"description": _DESCRIPTIONS[operation.status]}
    if operation.status != 204:
        done["content"] = {media_type: {"schema": schema} for media_type in operation.media_types}
    error = {"application/json": {"schema": references[ErrorAnswer]}}
    refused = {
        str(status): {"description": operation.refusals.get(status, _DESCRIPTIONS[status]), "content": error}
        for status in sorted({*_refusals(operation), *operation.refusals})
    }
    return {str(operation.status): done, **refused}


def _refusals(operation: Operation) -> Iterable[int]:
    yield from (400, 401, 403, 429, 503)
    if "<" in operation.path or operation.query is not None:
        yield 404
    if not operation.only_reads:
        yield from (409, 413)
    if operation.body is not None:
        yield 415


def _other(rule: Rule, method: str) -> dict[str, Any]:
    """What stands beside the table: protocol endpoints, and pages for people."""
    known = MACHINE_ENDPOINTS.get(rule.endpoint) or page_endpoint(rule.endpoint)
    described: dict[str, Any] = {
        "operationId": _camel(f"{method.lower()}_{rule.endpoint.replace('.', '_')}"),
        "summary": known.summary,
        "tags": [known.tag],
        "parameters": path_parameters(rule.rule),
        "responses": {
            **{str(status): {"description": _DESCRIPTIONS[status]} for status in known.statuses},
            "default": _ANY_STATUS,
        },
        "security": [],
    }
    if method in {"POST", "PUT"} and known.is_posted_to:
        described["requestBody"] = {"content": _posted(known)}
    elif known.form:
        described["parameters"] += [
            {"name": name, "in": "query", "required": index < known.required, "schema": {"type": "string"}}
            for index, name in enumerate(known.form)
        ]
    return described


def _posted(known: OtherEndpoint) -> dict[str, Any]:
    if known.takes_json:
        return {"application/json": {"schema": {"type": "object"}}}
    schema: dict[str, Any] = {"type": "object", "properties": {name: {"type": "string"} for name in known.form}}
    if known.required:
        schema["required"] = list(known.form[: known.required])
    return {"application/x-www-form-urlencoded": {"schema": schema}}


def _security_schemes(settings: Settings) -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or an access token."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie_name(settings),
            "description": "The session of a person at our own pages.",
        },
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": CSRF_HEADER,
            "description": "Proves that the request comes from a page of ours; together with the session alone.",
        },
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
