"""The served OpenAPI document against the node: every answer is one that it names, and a failure
of ours is none of them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.client import Api
from tests.node_process import ADMIN_TOKEN, NodeProcess

ACCOUNT_TOKEN = "alice-token"
EXAMPLES = 200 if os.environ.get("FASTILP_SOAK") else 6
# A stream of events does not end, and a drained node takes no packets for the tests after it: only
# their refusals are asked for.
REFUSED_ONLY = ("/accounts/{username}/events", "/drain")
# What no receiver can be found for is answered 500, as Interledger.rs does.
ORDER = "POST /accounts/{username}/payments"

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("schema") / "node", "") as process:
        client = Api(process)
        client.create("alice", ilp_over_http_incoming_token=ACCOUNT_TOKEN)
        client.close()
        yield process


def test_answers_are_documented(node: NodeProcess) -> None:
    document = schemathesis.openapi.from_url(f"http://{node.http}/openapi.json")
    operations = [operation.ok() for operation in document.get_all_operations()]
    asked = {f"{operation.method.upper()} {operation.path}" for operation in operations}
    assert asked == everything()
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _ask(operation, mode)


def everything() -> set[str]:
    """Methods and paths of docs/api.md, as the document writes them."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
    calls = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /\S*)`", page)
    return {re.sub(r"<(\w+)>", r"{\1}", call) for call in calls}


def _ask(operation: Any, mode: GenerationMode) -> None:
    tokens = ("wrong",) if operation.path in REFUSED_ONLY else (ADMIN_TOKEN, "wrong", ACCOUNT_TOKEN)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        for token in tokens:
            if token == ACCOUNT_TOKEN and "username" in case.path_parameters:
                case.path_parameters["username"] = "alice"
            response = case.call(headers={"Authorization": f"Bearer {token}"})
            checks = CHECKS
            if (
                f"{operation.method.upper()} {operation.path}" == ORDER
                and response.status_code == 500
            ):
                assert response.json()["detail"].startswith("Error sending SPSP payment: ")
                checks = CHECKS[1:]
            case.validate_response(response, checks=checks)

    try:
        ask()
    except Unsatisfiable:
        # Nothing can be wrong about a call without parameters.
        assert mode is GenerationMode.NEGATIVE
