"""Who is looking at a page and what surrounds it: sign-in, workspace, side bar."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from platform_site.access.default_workspace import DEFAULT_WORKSPACE
from platform_site.access.models import Membership, Workspace
from platform_site.access.principal import Principal, Role
from platform_site.console.health import health

P = ParamSpec("P")

THEMES = ("light", "dark")
THEME_COOKIE = "theme"
WORKSPACE_KEY = "workspace"
VIEWER_SENTENCE = "Viewers can look at this. Ask an admin for the member role."


class PageRequest(HttpRequest):
    """A request of somebody who is signed in and has a place in a workspace."""

    user: User
    principal: Principal
    workspace: Workspace
    workspaces: list[Workspace]


def places(user: User) -> list[tuple[Workspace, Role]]:
    """The workspaces this person may look into and as what; a superuser is admin of the default one too."""
    found = [
        (row.workspace, Role(row.role))
        for row in Membership.objects.filter(user=user).select_related("workspace").order_by("workspace__name", "pk")
    ]
    if user.is_superuser and not any(workspace.slug == DEFAULT_WORKSPACE for workspace, _ in found):
        found += [(workspace, Role.ADMIN) for workspace in Workspace.objects.filter(slug=DEFAULT_WORKSPACE)]
    return found


def enter(request: HttpRequest) -> bool:
    """Put principal and workspace on the request; False if this person is in no workspace."""
    user = request.user
    assert isinstance(user, User)
    rooms = places(user)
    if not rooms:
        return False
    chosen = request.session.get(WORKSPACE_KEY)
    workspace, role = next((room for room in rooms if room[0].pk == chosen), rooms[0])
    request.workspace = workspace  # type: ignore[attr-defined]
    request.workspaces = [room for room, _ in rooms]  # type: ignore[attr-defined]
    request.principal = Principal(  # type: ignore[attr-defined]
        workspace_id=workspace.pk,
        role=role,
        identity=user.get_username(),
        display_name=user.get_full_name() or user.get_username(),
    )
    return True


def page(
    view: Callable[Concatenate[PageRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A page for people of a workspace: others are asked to sign in, or told that they have no place here."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", ""):
            # No name and no text has a NUL in it, and PostgreSQL refuses to look for one.
            raise Http404
        if not request.user.is_authenticated:
            if request.headers.get("HX-Request"):
                # A fragment cannot show a sign-in form: the whole page goes there.
                return HttpResponse(status=204, headers={"HX-Refresh": "true"})
            return redirect_to_login(request.get_full_path())
        if not enter(request):
            return render(request, "errors/no_workspace.html", shell(request), status=403)
        return view(request, *args, **kwargs)  # type: ignore[arg-type]

    return guarded  # type: ignore[return-value]


def acting(request: PageRequest) -> Principal:
    """Whoever may change what the page shows. Raises `PermissionDenied` for viewers."""
    if not request.principal.can_write:
        raise PermissionDenied(VIEWER_SENTENCE)
    return request.principal


def theme_of(request: HttpRequest) -> str:
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


def shell(request: HttpRequest) -> dict[str, Any]:
    """What the base template needs around a page."""
    theme = theme_of(request)
    context: dict[str, Any] = {
        "theme": theme,
        # Without JavaScript the switch goes round: as the system, dark, light.
        "next_theme": {"": "dark", "dark": "light", "light": "system"}[theme],
        "me": request.user if isinstance(request.user, AbstractBaseUser) else AnonymousUser(),
    }
    if hasattr(request, "principal"):
        context |= {
            "principal": request.principal,
            "workspace": request.workspace,  # type: ignore[attr-defined]
            "workspaces": request.workspaces,  # type: ignore[attr-defined]
            "health": health(request.principal),
        }
    return context


def render_page(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page in the shell; a `#name` at the end of the template gives that part of it alone."""
    return render(request, template, shell(request) | context, status=status)
