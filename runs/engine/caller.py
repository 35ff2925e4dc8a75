"""Who asked for a run, as stored with it: for this caller the run's graph may use the API (`core.loopback`)."""

from copy import deepcopy
from typing import Any

from platform_site.access.principal import Principal, Role
from runs.engine.claim import Claim


def caller_of(claim: Claim) -> Principal:
    """Return the principal that made the run, or the owner of the cron that did, with the rights of that moment.

    Everything comes from what only the server writes: the workspace of the row, the role, the keys of `configurable`
    that no request can give. A caller without a name and a role is the superuser of open mode.
    """
    configurable = claim.configurable
    identity = configurable.get("langgraph_auth_user_id") or ""
    user: dict[str, Any] | None = configurable.get("langgraph_auth_user")
    return Principal(
        workspace_id=claim.workspace_id,
        role=Role(claim.kwargs.get("role", Role.VIEWER if identity else Role.ADMIN)),
        identity=identity,
        display_name=(user or {}).get("display_name") or "",
        permissions=tuple(configurable.get("langgraph_auth_permissions") or ()),
        # A copy, because the graph is given the stored object and may change it.
        user=deepcopy(user),
    )
