"""The table of refusals, as the distribution spec wants it."""

import json
from http import HTTPStatus

import pytest

from mirror.oci.errors import Problem, RegistryError

# OCI distribution-spec, "Error Codes".
OF_THE_SPEC = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}
# What the reference implementation adds, and clients know from there.
WELL_KNOWN = {"TAG_INVALID", "UNAVAILABLE", "UNKNOWN"}


@pytest.mark.parametrize("problem", Problem)
def test_every_row_is_an_answer_of_the_spec(problem: Problem) -> None:
    """Each problem has a refusing status, a known code, and a body of code, message and detail."""
    body = json.loads(json.dumps(RegistryError(problem, "what is wrong").body()))
    assert body == {"errors": [{"code": problem.code, "message": problem.message, "detail": "what is wrong"}]}
    assert problem.status >= HTTPStatus.BAD_REQUEST
    assert problem.code in OF_THE_SPEC | WELL_KNOWN


def test_no_two_rows_are_one() -> None:
    """An Enum would silently make the second of two equal rows an alias of the first."""
    assert len(Problem) == len(Problem.__members__)


def test_without_detail() -> None:
    """A refusal that has nothing to add says null, and its text ends with the message."""
    refusal = RegistryError(Problem.BLOB_UNKNOWN)
    assert refusal.body() == {
        "errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown to this repository", "detail": None}]
    }
    assert str(refusal) == "BLOB_UNKNOWN: blob unknown to this repository"


def test_headers_are_the_refusals_own() -> None:
    """What is added to one refusal's headers does not show on another's."""
    first, second = RegistryError(Problem.INTERNAL), RegistryError(Problem.INTERNAL, headers={"Retry-After": "2"})
    first.headers["Range"] = "0-0"
    assert second.headers == {"Retry-After": "2"}
