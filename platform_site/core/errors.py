"""Errors that the API answers with a status and `{"detail": "<sentence>"}`: the one table of them."""

from collections.abc import Mapping

NOT_STORABLE = "A value is out of range or holds a character that cannot be stored"


class ApiError(Exception):
    """Raised anywhere below a view; the caller gets `status` and `{"detail": detail}`."""

    status = 500
    default_detail = "Internal Server Error"

    def __init__(
        self, detail: str | None = None, *, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.detail = self.default_detail if detail is None else detail
        self.status = status or self.status
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    def detail_for(self, *, is_admin: bool) -> str:
        """Return what the caller is told. Subclasses that know more than is for everybody tell it to admins."""
        return self.detail


class BadRequest(ApiError):
    status = 400
    default_detail = "Bad Request"


class Unauthorized(ApiError):
    status = 401
    default_detail = "Unauthorized"


class Forbidden(ApiError):
    status = 403
    default_detail = "Forbidden"


class NotFound(ApiError):
    status = 404
    default_detail = "Not Found"


class MethodNotAllowed(ApiError):
    status = 405
    default_detail = "Method Not Allowed"


class Conflict(ApiError):
    status = 409
    default_detail = "Conflict"


class TooLarge(ApiError):
    status = 413
    default_detail = "Request body is too large"


class UnsupportedMediaType(ApiError):
    status = 415
    default_detail = "Unsupported Media Type"


class Unprocessable(ApiError):
    status = 422
    default_detail = "Unprocessable Content"


class InvalidJSON(Unprocessable):
    default_detail = "Invalid JSON in request body"


class TooManyRequests(ApiError):
    status = 429
    default_detail = "Too Many Requests"


class ServiceUnavailable(ApiError):
    status = 503
    default_detail = "Service Unavailable"


class InsufficientStorage(ApiError):
    status = 507
    default_detail = "Insufficient Storage"


class StateTooLarge(TooLarge):
    """A state, or what a node returned, is larger than `MAX_STATE_BYTES`. Nothing of it was stored."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"A state has at most {limit} bytes as it is stored, and this would have {size}; nothing of it was stored. "
            "Keep less in the state, or set MAX_STATE_BYTES."
        )
