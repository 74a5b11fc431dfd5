"""The OpenAPI document and the reference page: everything that is served is in them."""

import json
import re

import pytest

from server.web.api.openapi import SECOND_MOUNT
from server.web.api.operation import as_template
from server.web.api.operations import OPERATIONS
from server.web.api.other_endpoints import MACHINE_ENDPOINTS
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker


@pytest.fixture
def document(gatepost: Gatepost) -> dict:  # type: ignore[type-arg]
    answer = gatepost.browser().get("/v1/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    return answer.get_json()  # type: ignore[no-any-return]


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(references(each) for each in value))
    return set()


def test_every_url_is_described_when_it_is_mapped(gatepost: Gatepost, document: dict) -> None:  # type: ignore[type-arg]
    for rule in gatepost.app.url_map.iter_rules():
        path = as_template(rule.rule)
        if rule.endpoint.endswith(SECOND_MOUNT):
            path = path.removeprefix("/api")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert method.lower() in document["paths"][path], (method, path)


def test_every_machine_endpoint_is_described_by_name_when_it_is_mapped(gatepost: Gatepost) -> None:
    known = {operation.endpoint for operation in OPERATIONS} | MACHINE_ENDPOINTS.keys()
    endpoints = {rule.endpoint.removesuffix(SECOND_MOUNT) for rule in gatepost.app.url_map.iter_rules()}
    assert {each for each in endpoints if each.startswith(("oauth.", "api."))} <= known


def test_both_mounts_serve_the_same_when_the_api_is_mapped(gatepost: Gatepost) -> None:
    rules = [rule for rule in gatepost.app.url_map.iter_rules() if rule.endpoint.startswith("api.")]
    first = {(rule.rule, rule.endpoint) for rule in rules if not rule.endpoint.endswith(SECOND_MOUNT)}
    second = {(rule.rule, rule.endpoint) for rule in rules if rule.endpoint.endswith(SECOND_MOUNT)}
    assert {(f"/api{path}", f"{endpoint}{SECOND_MOUNT}") for path, endpoint in first} == second
    assert len(first) > len(OPERATIONS)


def test_every_reference_is_resolved_when_the_document_is_read(document: dict) -> None:  # type: ignore[type-arg]
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert known - references(document) == set()


def test_operations_have_names_of_their_own_when_the_document_is_read(document: dict) -> None:  # type: ignore[type-arg]
    names = [each["operationId"] for item in document["paths"].values() for each in item.values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]+", name) for name in names)


def test_members_are_camel_case_when_the_schemas_are_read(document: dict) -> None:  # type: ignore[type-arg]
    for name, schema in document["components"]["schemas"].items():
        if name != "ErrorAnswer":
            assert all(re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", each) for each in schema.get("properties", {})), name


def test_permission_is_named_when_an_operation_needs_one(document: dict) -> None:  # type: ignore[type-arg]
    for operation in OPERATIONS:
        path = "/v1" + as_template(operation.path)
        described = document["paths"][path][operation.method.lower()]
        assert (operation.permission or "") in described["description"]
        assert bool(described["security"]) is operation.is_authenticated


def test_document_is_the_deployments_when_the_issuer_has_a_path(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="http://localhost:8000/tenant", organization_header="Acme-Org")
    document = gatepost.browser().get("/tenant/api/v1/openapi.json").get_json()
    assert document["servers"] == [{"url": "http://localhost:8000/tenant"}]
    assert "/v1/me" in document["paths"]
    assert "Acme-Org" in json.dumps(document["paths"]["/v1/me"])


def test_page_tells_every_operation_when_no_script_runs(gatepost: Gatepost) -> None:
    for path in ("/v1/reference", "/api/v1/reference"):
        page = gatepost.browser().get(path)
        assert (page.status_code, page.mimetype) == (200, "text/html")
        assert "<script" not in page.text
        assert page.text.count("<h1") == 1
        for operation in OPERATIONS:
            assert f'id="{operation.name}"' in page.text
            assert operation.summary.replace("'", "&#39;") in page.text
        ids = re.findall(r'id="([^"]+)"', page.text)
        assert len(ids) == len(set(ids))
