"""schemathesis makes requests from OpenAPI documents, ours and the standard's; the answers must be as the document says.

open_inference_rest.yaml is the standard's (the KServe authors', Apache-2.0, unchanged).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import schemathesis.openapi
from hypothesis import HealthCheck, given, settings
from ruamel.yaml import YAML
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.conformance.serving import Served

STANDARD = Path(__file__).with_name("open_inference_rest.yaml")
EXAMPLES = 25
BOUNDED = settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
AS_DOCUMENTED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
MODELS = {"MODEL_NAME": "echo", "MODEL_VERSION": "2"}

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]
Check = Callable[[AnyCase], None]

pytestmark = pytest.mark.integration


def checks(names: tuple[str, ...]) -> list[Any]:
    return CHECKS.get_by_names(list(names))


def operations(document: dict[str, Any]) -> dict[str, Operation]:
    """By method and path."""
    schema = schemathesis.openapi.from_dict(document)
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    assert len(found) == sum(len(methods.keys() - {"parameters"}) for methods in document["paths"].values())
    return {operation.label: operation for operation in found}


def standard_document() -> dict[str, Any]:
    """Its paths have `${NAME}` where OpenAPI has `{NAME}`."""
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(STANDARD.read_text().replace("${", "{"))
    return document


STANDARD_OPERATIONS = operations(standard_document())
OF_MODELS = [label for label in STANDARD_OPERATIONS if "{MODEL_NAME}" in label]


def try_all(operation: Operation, mode: GenerationMode, check: Check, **fixed: Any) -> None:
    """EXAMPLES requests, always the same ones."""

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode, **fixed))
    def each(case: AnyCase) -> None:
        check(case)

    each()


# ---- the standard's document


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("label", STANDARD_OPERATIONS)
def test_a_model_answers_as_the_standard_documents(served: Served, label: str, mode: GenerationMode) -> None:
    def check(case: AnyCase) -> None:
        case.call_and_validate(base_url=served.url, checks=checks(AS_DOCUMENTED))

    operation = STANDARD_OPERATIONS[label]
    if operation.body or mode is GenerationMode.POSITIVE:  # without a body nothing can be wrong
        try_all(operation, mode, check, path_parameters=dict(MODELS) if label in OF_MODELS else None)


@pytest.mark.parametrize("label", OF_MODELS)
def test_any_other_model_is_404_with_the_standard_s_error_object(served: Served, label: str) -> None:
    def check(case: AnyCase) -> None:
        answer = case.call(base_url=served.url)
        assert answer.status_code in (400, 404), answer.content
        assert isinstance(answer.json()["error"], str)

    try_all(STANDARD_OPERATIONS[label], GenerationMode.POSITIVE, check)


# ---- ours


@pytest.fixture(scope="module")
def own_operations(served: Served) -> dict[str, Operation]:
    import requests

    document = requests.get(f"{served.url}/openapi.json", timeout=10).json()
    for path in document["paths"].values():
        for operation in path.values():
            each_size_of_any_value(operation["responses"])
    return operations(document)


def each_size_of_any_value(schema: Any) -> None:
    """schemathesis 4.32 takes prefixItems in answers for an older draft's and stops: they say less to it."""
    if isinstance(schema, dict):
        if "prefixItems" in schema:
            schema["items"] = {"type": "integer"}
            del schema["prefixItems"]
        schema = list(schema.values())
    for each in schema if isinstance(schema, list) else []:
        each_size_of_any_value(each)


def test_the_document_describes_every_path_of_both_protocols(
    own_operations: dict[str, Operation],
) -> None:
    documented = {operation.path for operation in own_operations.values()}
    assert {"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v1/models"} <= documented
    for path in ("/v2/models/echo", "/v2/models/iris/infer", "/v1/models/iris:predict", "/v1/models/iris"):
        assert path in documented


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_operation_answers_as_the_document_says(
    served: Served, own_operations: dict[str, Operation], mode: GenerationMode
) -> None:
    def check(case: AnyCase) -> None:
        case.call_and_validate(base_url=served.url, checks=checks(AS_DOCUMENTED))

    for operation in own_operations.values():
        if operation.body or mode is GenerationMode.POSITIVE:  # without a body nothing can be wrong
            try_all(operation, mode, check)
