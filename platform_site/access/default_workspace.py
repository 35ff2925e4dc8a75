"""The workspace that is there from the first start; a single team never sees another."""

from django.contrib.auth import get_user_model
from django.db import transaction

from platform_site.access.models import Membership, Workspace
from platform_site.access.principal import Role

DEFAULT_WORKSPACE = "default"
SUPERUSER = "admin"
_default_workspace_id: int | None = None


def default_workspace_id() -> int:
    """The id of the default workspace, remembered; makes the workspace and its superuser if this is the first start."""
    global _default_workspace_id
    if _default_workspace_id is None:
        found = Workspace.objects.filter(slug=DEFAULT_WORKSPACE).values_list("pk", flat=True).first()
        if found is None:
            found = ensure_first_start().pk
        _default_workspace_id = found
    return _default_workspace_id


def remembered_default_workspace_id() -> int | None:
    """The id of the default workspace if this process knows it already: no query."""
    return _default_workspace_id


def forget_default_workspace() -> None:
    global _default_workspace_id
    _default_workspace_id = None


def ensure_first_start() -> Workspace:
    """The default workspace with its superuser `admin` (who has no password), made if missing."""
    with transaction.atomic():
        workspace, _ = Workspace.objects.get_or_create(slug=DEFAULT_WORKSPACE, defaults={"name": "Default"})
        user, created = get_user_model().objects.get_or_create(
            username=SUPERUSER, defaults={"is_staff": True, "is_superuser": True}
        )
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": Role.ADMIN})
    return workspace
