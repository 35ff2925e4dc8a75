"""Who asks: the one argument that every service and selector takes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, or the anonymous superuser of the default workspace in open mode.

    `identity` is empty for an anonymous caller; `user` is what a graph sees as `langgraph_auth_user`.
    """

    workspace_id: int
    role: Role = Role.ADMIN
    identity: str = ""
    display_name: str = ""
    permissions: tuple[str, ...] = ()
    user: Mapping[str, Any] | None = None

    @property
    def configurable(self) -> dict[str, Any]:
        """Return the keys of a graph's `configurable` that say who calls."""
        return {
            "langgraph_auth_user": dict(self.user) if self.user is not None else None,
            "langgraph_auth_user_id": self.identity,
            "langgraph_auth_permissions": list(self.permissions),
        }

    @property
    def can_write(self) -> bool:
        return self.role is not Role.VIEWER
