"""What a role and a key's scopes allow, decided from the operation: its method and its route."""

from functools import lru_cache

from platform_site.access.principal import Principal
from platform_site.core.errors import Forbidden

RESOURCES = ("assistants", "threads", "runs", "crons", "store")
# `<resource>:read` and `<resource>:write`; to write includes to read, `*` is every resource.
SCOPES = tuple(f"{resource}:{verb}" for resource in ("*", *RESOURCES) for verb in ("read", "write"))

# Operations that only read although they are not GET: their arguments come in a body.
_READING_ENDINGS = (
    "/search",
    "/count",
    "/versions",
    "/history",
    "/state/checkpoint",
    "/store/namespaces",
)


@lru_cache(maxsize=1024)
def operation(method: str, route: str) -> tuple[str, bool]:
    """The resource an operation is about, and whether it writes."""
    segments = [segment for segment in route.split("/") if segment]
    resource = segments[0] if segments else ""
    for inner in ("runs", "crons"):
        if inner in segments:
            resource = inner
    writes = method not in ("GET", "HEAD", "OPTIONS") and not route.endswith(_READING_ENDINGS)
    return resource, writes


def authorize(principal: Principal, method: str, route: str) -> None:
    """Raise Forbidden if the caller's role or scopes do not allow the operation."""
    if principal.can_write and not principal.permissions:
        return
    resource, writes = operation(method, route)
    if writes and not principal.can_write:
        raise Forbidden
    if principal.permissions and not allows(principal.permissions, resource, writes):
        raise Forbidden


def allows(scopes: tuple[str, ...], resource: str, writes: bool) -> bool:
    """Whether these scopes cover reading (or writing) a resource."""
    verbs = ("write",) if writes else ("write", "read")
    return any(f"{name}:{verb}" in scopes for name in (resource, "*") for verb in verbs)
