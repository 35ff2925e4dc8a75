"""What a role and a key's scopes allow, decided from the operation: its method and its route."""

from functools import lru_cache

from platform_site.access.principal import Principal
from platform_site.core.errors import Forbidden

RESOURCES = ("assistants", "threads", "runs", "crons", "store")
# `<resource>:read` and `<resource>:write`; to write includes to read, `*` is every resource.
SCOPES = tuple(f"{resource}:{verb}" for resource in ("*", *RESOURCES) for verb in ("read", "write"))

# Operations that only read although they are POST: their arguments come in a body. Every other POST writes.
READING_POSTS = frozenset({
    "/assistants/search",
    "/assistants/count",
    "/assistants/{assistant_id}/versions",
    "/threads/search",
    "/threads/count",
    "/threads/{thread_id}/history",
    "/threads/{thread_id}/state/checkpoint",
    "/runs/crons/search",
    "/runs/crons/count",
    "/store/items/search",
    "/store/namespaces",
})  # fmt: skip


@lru_cache(maxsize=1024)
def operation(method: str, route: str) -> tuple[str, bool]:
    """Return the resource an operation is about, and whether it always writes.

    An effect that a reading operation has only on request (`cancel_on_disconnect`, `refresh_ttl`) is checked by the
    service that causes it: see `check`.
    """
    segments = [segment for segment in route.split("/") if segment]
    resource = segments[0] if segments else ""
    for inner in ("runs", "crons"):
        if inner in segments:
            resource = inner
    reads = method in ("GET", "HEAD", "OPTIONS") or (method == "POST" and route in READING_POSTS)
    return resource, not reads


def authorize(principal: Principal, method: str, route: str) -> None:
    """Raise Forbidden if the caller's role or scopes do not allow the operation."""
    if principal.can_write and not principal.permissions:
        return
    resource, writes = operation(method, route)
    if not may(principal, resource, writes=writes):
        raise Forbidden


def may(principal: Principal, resource: str, *, writes: bool) -> bool:
    """Return whether the caller's role and scopes allow reading (or writing) a resource."""
    if writes and not principal.can_write:
        return False
    return not principal.permissions or allows(principal.permissions, resource, writes)


def check(principal: Principal, resource: str, *, writes: bool) -> None:
    """Raise Forbidden, with a sentence, unless the caller may read (or write) the resource."""
    if not may(principal, resource, writes=writes):
        verb = "change" if writes else "read"
        raise Forbidden(f"This credential may not {verb} {resource}")


def allows(scopes: tuple[str, ...], resource: str, writes: bool) -> bool:
    """Whether these scopes cover reading (or writing) a resource."""
    verbs = ("write",) if writes else ("write", "read")
    return any(f"{name}:{verb}" in scopes for name in (resource, "*") for verb in verbs)
