"""Pages that belong to no single resource: sign-in, overview, search, and what went wrong."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from assistants.pages.browse import assistant_choices, assistants_found
from crons.pages.browse import crons_found
from platform_site.access.brake import hashing
from platform_site.access.services import sign_in_link_use
from platform_site.console import charts
from platform_site.console.finding import as_uuid
from platform_site.console.guesses import brake_of, remember_browser
from platform_site.console.shell import (
    THEME_COOKIE,
    THEMES,
    WORKSPACE_KEY,
    PageRequest,
    page,
    places,
    render_page,
    shell,
)
from platform_site.console.statistics import RANGES, Figures, figures
from platform_site.console.wording import compact, percent, took
from platform_site.core.errors import ApiError
from runs.pages.browse import recent_runs, runs_found, waiting_for_people
from store.pages.browse import with_text
from threads.pages.browse import threads_found

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
THEME_LASTS = timedelta(days=365)


def home(request: HttpRequest) -> HttpResponse:
    return redirect("overview")


def _next(request: HttpRequest) -> str:
    """Where to go after this, if it is a page of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if ours else reverse("overview")


@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Name and password. Too many wrong ones close the door for a while, for this name from this address."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(_next(request))
    context: dict[str, Any] = {"next": _next(request)}
    if request.method != "POST":
        return render_page(request, "console/sign_in.html", context)
    # PostgreSQL refuses to look for a NUL.
    name = request.POST.get("username", "").replace("\0", "").strip()
    context["username"] = name
    brake = brake_of(request, name)
    if not brake.reserve():
        context["problem"] = "Too many wrong passwords. Wait five minutes, then try again."
        return render_page(request, "console/sign_in.html", context, status=429)
    with hashing() as has_turn:
        user = authenticate(request, username=name, password=request.POST.get("password", "")) if has_turn else None
    if not has_turn:
        brake.give_back()
        context["problem"] = "Too many people sign in at this moment. Try again."
        return render_page(request, "console/sign_in.html", context, status=503)
    if user is None:
        context["problem"] = "Name and password do not match."
        return render_page(request, "console/sign_in.html", context, status=422)
    assert isinstance(user, User)
    brake.succeeded()
    login(request, user)
    response = HttpResponseRedirect(_next(request))
    remember_browser(response, user)
    return response


@never_cache
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """A link that signs in once. Looking at it changes nothing: previews and mail scanners must not use it up."""
    if request.method != "POST":
        return render_page(request, "console/sign_in_link.html", {"token": token})
    user = sign_in_link_use(token)
    if user is None:
        return render_page(request, "console/sign_in_link.html", {"refused": True}, status=410)
    login(request, user, backend=MODEL_BACKEND)
    response = redirect("overview")
    remember_browser(response, user)
    return response


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("sign_in")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember light or dark in a cookie; anything else follows the system again."""
    response = HttpResponseRedirect(_next(request))
    wanted = request.POST.get("theme", "")
    if wanted in THEMES:
        response.set_cookie(THEME_COOKIE, wanted, max_age=THEME_LASTS, samesite="Lax", httponly=True)
    else:
        response.delete_cookie(THEME_COOKIE, samesite="Lax")
    return response


@require_POST
@page
def choose_workspace(request: PageRequest) -> HttpResponse:
    """Look into another workspace of mine; one that is not mine changes nothing."""
    allowed = {str(workspace.pk): workspace.pk for workspace, _ in places(request.user)}
    chosen = allowed.get(request.POST.get("workspace", ""))
    if chosen is not None:
        request.session[WORKSPACE_KEY] = chosen
    return redirect("overview")


@page
def overview(request: PageRequest) -> HttpResponse:
    name = request.GET.get("range", "")
    name = name if name in RANGES else "24h"
    assistant = request.GET.get("assistant", "")
    found = figures(request.principal, name, as_uuid(assistant))
    choices = assistant_choices(request.principal)
    context = {
        "nav": "overview",
        "ranges": RANGES,
        "range": name,
        "assistant": assistant,
        "assistants": choices,
        "figures": found,
        "charts": _charts(found, name),
        "by_assistant": _by_assistant(found, dict(choices)),
        "error_classes": _error_classes(found),
        "waiting": waiting_for_people(request.principal, 5),
        "recent": recent_runs(request.principal, 8),
    }
    return render_page(request, "console/overview.html", context)


def _rate(per_minute: float) -> str:
    """A rate with as many digits as it takes to be told from none."""
    if 0 < per_minute < 0.005:
        return "<0.01"
    return f"{per_minute:.1f}" if per_minute >= 0.1 or not per_minute else f"{per_minute:.2f}"


def _charts(found: Figures, name: str) -> dict[str, Any]:
    rate = found.rates
    waits, times = ([[getattr(point, what)(share) for point in found.points] for share in (0.95, 0.5)]
                    for what in ("wait", "time"))  # fmt: skip
    tokens, unit = compact(found.total.tokens)
    wait_top, time_top = charts.shared_top(*waits), charts.shared_top(*times)
    return {
        "axis": charts.axis(found.begin, found.begin + len(found.points) * found.step),
        "rate": _rate(found.per_minute),
        "rate_top": f"{max(rate):.1f}",
        "rate_line": charts.line(rate),
        "rate_area": charts.area(rate),
        "wait": took(found.total.wait(0.95)),
        "wait_half": took(found.total.wait(0.5)),
        "wait_lines": [charts.line(values, wait_top) for values in waits],
        "time": took(found.total.time(0.95)),
        "time_half": took(found.total.time(0.5)),
        "time_lines": [charts.line(values, time_top) for values in times],
        "tokens": tokens,
        "tokens_unit": unit,
        "tokens_bars": charts.stacked(
            [point.input_tokens for point in found.points], [point.output_tokens for point in found.points]
        ),
        "range_words": {"1h": "1 hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days"}[name],
    }


def _by_assistant(found: Figures, names: dict[str, str]) -> list[dict[str, Any]]:
    usual = found.total.errors / found.total.runs if found.total.runs else 0
    rows = []
    for pk, cell in sorted(found.by_assistant.items(), key=lambda pair: -pair[1].runs)[:8]:
        points = found.assistant_points[pk]
        tokens, unit = compact(cell.tokens)
        rows.append({
            "id": pk,
            "name": names.get(str(pk), "Deleted assistant"),
            "cell": cell,
            "bars": charts.spark([point.runs for point in points], [point.errors for point in points]),
            "errors": percent(cell.errors, cell.runs),
            # Red only where it is worse than the workspace's average, and not by a single run.
            "is_bad": cell.errors > 1 and cell.errors / cell.runs > usual,
            "wait": took(cell.wait(0.95)),
            "time": took(cell.time(0.95)),
            "tokens": f"{tokens} {unit}".strip(),
        })  # fmt: skip
    return rows


def _error_classes(found: Figures) -> list[tuple[str, int, float]]:
    most = found.error_classes.most_common(6)
    return [(name, count, 100 * count / most[0][1]) for name, count in most]


@page
def search(request: PageRequest) -> HttpResponse:
    """Threads, runs, assistants and crons by title, name, error or a part of their id; items of the store by text."""
    text = request.GET.get("q", "").strip()
    context: dict[str, Any] = {"q": text, "nav": "search"}
    if text:
        context |= {
            "assistants": assistants_found(request.principal, text, 6),
            "threads": threads_found(request.principal, text, 12),
            "runs": runs_found(request.principal, text, 12),
            "crons": crons_found(request.principal, text, 6),
        }
        try:
            context["items"] = with_text(request.principal, text, 6)
        except ApiError as error:
            # A store that cannot be opened must not take the rest with it.
            context["items"], context["store_problem"] = [], error.detail
        context["nothing"] = not any(context[kind] for kind in ("assistants", "threads", "runs", "crons", "items"))
    return render_page(request, "console/search.html", context)


def _failed(request: HttpRequest, status: int, title: str, sentence: str) -> HttpResponse:
    """An error in the shell where there is one to show."""
    from platform_site.console.shell import enter

    if request.user.is_authenticated and not hasattr(request, "principal"):
        enter(request)
    return render(request, "errors/error.html", shell(request) | {"title": title, "sentence": sentence}, status=status)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _failed(request, 404, "There is nothing here", "The address is wrong, or what it named has been deleted.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    sentence = str(exception) or "You may not do this. Ask an admin of the workspace."
    return _failed(request, 403, "Not allowed", sentence)


def bad_csrf(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _failed(request, 403, "Not accepted", "The form was too old. Go back, reload the page and send it again.")


def busy(request: HttpRequest, sentence: str) -> HttpResponse:
    """Without the shell, which needs the database, too."""
    context = {"title": "Not now", "sentence": f"{sentence}."}
    return render(request, "errors/error.html", context, status=503)


def server_error(request: HttpRequest) -> HttpResponse:
    """Without the shell: what failed may be what the shell needs."""
    context = {
        "title": "Something went wrong here",
        "sentence": "It has been logged. Try again, or tell an operator the id below.",
    }
    return render(request, "errors/error.html", context, status=500)
