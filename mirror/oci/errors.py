"""The one table of what can go wrong at the wire: problem → status, OCI code, message.

Source: OCI distribution-spec, "Error Codes"; a 4xx carries one of its codes and no other. Nothing outside this module
knows the status of a refusal.
"""

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus


class Problem(Enum):
    """A row of the table: HTTP status, OCI error code, message for people."""

    BLOB_UNKNOWN = (HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to this repository")
    UPLOAD_UNKNOWN = (HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "upload unknown to this repository")
    UPLOAD_INVALID = (HTTPStatus.BAD_REQUEST, "BLOB_UPLOAD_INVALID", "upload request invalid")
    UPLOAD_BUSY = (HTTPStatus.CONFLICT, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")
    RANGE_INVALID = (
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "BLOB_UPLOAD_INVALID",
        "chunk does not continue the upload",
    )
    DIGEST_INVALID = (HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", "digest does not match or is not supported")
    CLIENT_STALLED = (HTTPStatus.REQUEST_TIMEOUT, "SIZE_INVALID", "the body stopped before its end")
    SIZE_INVALID = (HTTPStatus.BAD_REQUEST, "SIZE_INVALID", "length does not match the bytes sent")
    MANIFEST_UNKNOWN = (HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown to this repository")
    MANIFEST_INVALID = (HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", "manifest invalid")
    BLOB_TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "blob too large")
    MANIFEST_TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "manifest too large")
    MANIFEST_BLOB_UNKNOWN = (
        HTTPStatus.NOT_FOUND,
        "MANIFEST_BLOB_UNKNOWN",
        "manifest names content unknown to this repository",
    )
    NAME_INVALID = (HTTPStatus.BAD_REQUEST, "NAME_INVALID", "repository name invalid")
    NAME_UNKNOWN = (HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", "registry not configured here")
    REPOSITORY_UNKNOWN = (HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", "repository unknown to this registry")
    TAG_INVALID = (HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", "tag invalid")
    TOO_MANY_TAGS = (HTTPStatus.REQUEST_URI_TOO_LONG, "UNSUPPORTED", "too many tags in one request")
    PAGE_INVALID = (HTTPStatus.BAD_REQUEST, "UNSUPPORTED", "n must be a whole number")
    PART_INVALID = (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "no such part of the content")
    UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "authentication is needed, or was not accepted")
    TOO_MANY_LOGINS = (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many logins at once")
    IDENTITY_UNAVAILABLE = (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "who is calling cannot be told for now")
    TOO_MANY_REQUESTS = (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many requests")
    TOO_MANY_CONNECTIONS = (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many connections at once")
    TOO_MANY_UPLOADS = (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many uploads at once")
    TOO_MANY_SESSIONS = (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many uploads that were not finished")
    VERIFIER_UNAVAILABLE = (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "UNAVAILABLE",
        "whether this may be pushed cannot be told for now",
    )
    DENIED = (HTTPStatus.FORBIDDEN, "DENIED", "not allowed here")
    NOT_FOUND = (HTTPStatus.NOT_FOUND, "UNSUPPORTED", "no such endpoint")
    METHOD_NOT_ALLOWED = (HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not supported here")
    FORM_TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "form larger than 16 KiB")
    JOB_UNKNOWN = (HTTPStatus.NOT_FOUND, "UNSUPPORTED", "no such job, or a later push took its place")
    BAD_REQUEST = (HTTPStatus.BAD_REQUEST, "UNSUPPORTED", "request malformed")
    JOURNAL_FULL = (HTTPStatus.INSUFFICIENT_STORAGE, "UNAVAILABLE", "the journal's disk is full")
    JOURNAL_UNAVAILABLE = (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "the journal cannot be written")
    STORE_FULL = (HTTPStatus.INSUFFICIENT_STORAGE, "UNAVAILABLE", "the disk of the host's containerd is full")
    NO_ROOM = (HTTPStatus.INSUFFICIENT_STORAGE, "UNAVAILABLE", "no room on the disk of the host's containerd")
    TENANT_FULL = (HTTPStatus.INSUFFICIENT_STORAGE, "UNAVAILABLE", "the tenant has no room left here")
    TOO_MANY_STREAMS = (HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many event streams at once")
    DRAINING = (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "draining for maintenance")
    STOPPING = (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "the daemon is stopping")
    STORE_UNAVAILABLE = (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "the host's containerd is not answering")
    CONTENT_COMING = (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "UNAVAILABLE",
        "content that was mounted is on its way here from the upstream",
    )
    UPSTREAM_UNAVAILABLE = (HTTPStatus.BAD_GATEWAY, "UNAVAILABLE", "the upstream does not give it for now")
    INTERNAL = (HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", "internal error, see the daemon's log")

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message


class RegistryError(Exception):
    """A request is refused: what the client is told, and nothing else.

    `detail` is free text for people; `headers` are sent with the answer (`Range`, `Retry-After`).
    """

    def __init__(self, problem: Problem, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{problem.code}: {problem.message}{detail and ': '}{detail}")
        self.problem = problem
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """The JSON error body of the distribution spec."""
        error = {"code": self.problem.code, "message": self.problem.message, "detail": self.detail or None}
        return {"errors": [error]}
