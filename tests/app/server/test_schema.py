"""What the server answers is what its OpenAPI document says: schemathesis asks every route for what should not be."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import positive_data_acceptance

from served import BOX, begun, disc, uploaded

OURS = ("/api/",)


@pytest.fixture(scope="module")
def document(address):
    """The description, as a server on a socket gives it."""
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_every_route_is_described(address):
    document = httpx.get(f"{address}/openapi.json", timeout=300).json()
    assert document["openapi"].startswith("3.")
    for path, methods in document["paths"].items():
        assert path.startswith(OURS), path
        for method, told in methods.items():
            assert told.get("description") or told.get("summary"), (method, path)
            assert "application/problem+json" in told["responses"]["default"]["content"], (method, path)


@pytest.fixture(scope="module")
def known(address) -> dict[str, str]:
    """Ids that are there, so that not every question ends at a door."""
    with httpx.Client(base_url=address, timeout=300) as client:
        image = uploaded(client, disc())
        session = begun(client, image)
        job = client.post(f"/api/sessions/{session}/prompts", json={"prompts": [BOX]}, params={"wait": 0}).json()["id"]
        assert client.get(f"/api/jobs/{job}", params={"wait": 300}).json()["state"] == "done"
    return {"images": image, "sessions": session, "jobs": job}


BOUNDED = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def test_no_route_answers_but_as_it_is_described(document, known, threshold):
    """No status, media type or body that is not described; no error of the server; what is wrong is refused.

    Left out is one check: that whatever fits the schema is accepted. Bytes may be no image, a place may lie outside it.
    """

    def holds(case):
        parameters = case.path_parameters or {}
        there = known.get(case.path.split("/")[2])
        if "id" in parameters and there is not None:
            ends = case.method == "DELETE" and "{number}" not in case.path
            parameters["id"] = "f" * 32 if ends else there
        case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=300)

    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        BOUNDED(given(case=operation.as_strategy())(holds))()
