"""The cron pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

import orjson
from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from assistants.pages.browse import assistant_choices
from crons import services
from crons.models import Cron
from crons.pages import browse
from crons.pages.forms import CronForm, create_body, form_of, new_form, patch_body, typed
from crons.schedule import ScheduleError, parse
from platform_site.console.shell import VIEWER_SENTENCE, PageRequest, acting, page, render_page
from platform_site.console.wording import TOO_DEEP
from platform_site.core.errors import ApiError
from runs.configuration import webhooks_admit

DUES_SHOWN = 5


@page
def cron_list(request: PageRequest) -> HttpResponse:
    state = request.GET.get("state", "") if request.GET.get("state") in browse.STATES else ""
    assistant, text = request.GET.get("assistant", ""), request.GET.get("q", "").strip()
    found, rows = browse.crons_page(request.principal, state, assistant, text, request.GET.get("page", "1"))
    active, paused = browse.crons_counted(request.principal)
    context = {
        "nav": "crons",
        "state": state,
        "states": browse.STATES,
        "assistant": assistant,
        "assistants": assistant_choices(request.principal),
        "q": text,
        "filtered": bool(state or assistant or text),
        "active": active,
        "paused": paused,
        "found": found,
        "rows": rows,
        "viewer_sentence": VIEWER_SENTENCE,
    }
    return render_page(request, "crons/list.html", context)


def _cron(request: PageRequest, cron_id: UUID) -> Cron:
    cron = browse.find_cron(request.principal, cron_id)
    if cron is None:
        raise Http404
    return cron


@page
def cron_detail(request: PageRequest, cron_id: UUID) -> HttpResponse:
    cron = _cron(request, cron_id)
    before = _moment(request.GET.get("before", ""))
    ticks, more = browse.ticks_page(request.principal, cron, before)
    context = {
        "nav": "crons",
        "cron": cron,
        "name": browse.cron_name(cron),
        "zone": cron.timezone or "UTC",
        **_dues(cron),
        "ticks": ticks,
        "tick_count": cron.ticks.count(),
        "before": before,
        "more": more,
        "has_input": cron.payload.get("input") is not None,
        "input": cron.payload.get("input"),
        "webhook": cron.payload.get("webhook"),
        "options": browse.options(cron),
        "metadata": {name: value for name, value in cron.metadata.items() if name != "name"},
        "viewer_sentence": VIEWER_SENTENCE,
    }
    return render_page(request, "crons/cron.html", context)


def _dues(cron: Cron) -> dict[str, Any]:
    """When a cron is due next, or what is wrong with its schedule by now."""
    try:
        schedule = parse(cron.schedule, cron.timezone)
    except ScheduleError as error:
        return {"dues": [], "schedule_problem": str(error)}
    return {"dues": browse.dues(schedule, cron.ends_at, DUES_SHOWN) if cron.enabled else []}


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


@page
def cron_new(request: PageRequest) -> HttpResponse:
    """The form of a new cron, and what it makes. `?assistant=` and `?thread=` fill it in."""
    if request.method != "POST":
        form = new_form(request.GET.get("assistant", ""), request.GET.get("thread", ""))
        return _show_form(request, form, None)
    principal = acting(request)
    form = typed(request.POST, new_form())
    body = create_body(form) if "look" not in request.POST else None
    if body is None:
        return _show_form(request, form, None)

    def create() -> UUID:
        async_to_sync(webhooks_admit)([body[1].webhook])
        return UUID(orjson.loads(services.cron_create(principal, *body))["cron_id"])

    cron_id = _tried(form, create)
    if cron_id is None:
        return _show_form(request, form, None)
    messages.success(request, "The cron was made.")
    return redirect("cron", cron_id)


@page
def cron_edit(request: PageRequest, cron_id: UUID) -> HttpResponse:
    cron = _cron(request, cron_id)
    if request.method != "POST":
        return _show_form(request, form_of(cron), cron)
    principal = acting(request)
    form = typed(request.POST, form_of(cron))
    body = patch_body(form, cron) if "look" not in request.POST else None
    if body is None:
        return _show_form(request, form, cron)

    def patch() -> UUID:
        if body.model_fields_set:
            async_to_sync(webhooks_admit)([body.webhook])
            services.cron_patch(principal, cron_id, body)
        return cron_id

    if _tried(form, patch) is None:
        return _show_form(request, form, cron)
    messages.success(request, "Saved." if body.model_fields_set else "Nothing was changed.")
    return redirect("cron", cron_id)


def _tried(form: CronForm, work: Callable[[], UUID]) -> UUID | None:
    try:
        return work()
    except ApiError as error:
        form.errors["form"] = error.detail
    except RecursionError:
        form.errors["input"] = TOO_DEEP
    return None


def _show_form(request: PageRequest, form: CronForm, cron: Cron | None) -> HttpResponse:
    context = {
        "nav": "crons",
        "form": form,
        "cron": cron,
        "name": browse.cron_name(cron) if cron else "",
        "assistants": _choices(request, form.values["assistant"]),
        "zones": _zones(),
        "viewer_sentence": VIEWER_SENTENCE,
        **_preview(form),
    }
    return render_page(request, "crons/form.html", context, status=422 if form.errors else 200)


def _choices(request: PageRequest, chosen: str) -> list[tuple[str, str]]:
    """The menu of assistants, with the chosen one also where there are too many for a menu."""
    found = assistant_choices(request.principal)
    return found if not chosen or any(pk == chosen for pk, _ in found) else [*found, (chosen, chosen)]


@lru_cache(maxsize=1)
def _zones() -> list[str]:
    """Zones to choose from; others of the IANA are taken, too."""
    return ["UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))]


@page
def cron_preview(request: PageRequest) -> HttpResponse:
    """When a schedule will be due, for the form that is being filled in."""
    return render_page(request, "crons/form.html#preview", _preview(typed(request.GET, new_form())))


def _preview(form: CronForm) -> dict[str, Any]:
    schedule, ends_at = form.read_schedule(), form.read_end()
    zone = _city(form.values["zone"])
    return {
        "form": form,
        "preview_zone": zone,
        "preview": browse.dues(schedule, ends_at, DUES_SHOWN) if schedule else [],
        "preview_problem": form.errors.get("zone") or form.errors.get("schedule") or form.errors.get("ends") or "",
    }


def _city(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ") or "UTC"


@require_POST
@page
def cron_act(request: PageRequest, cron_id: UUID, act: str) -> HttpResponse:
    """Run now, pause, resume or delete; then back to where the button was."""
    cron = _cron(request, cron_id)
    principal, name = acting(request), browse.cron_name(cron)
    try:
        if act == "run":
            made = services.cron_run_now(principal, cron_id)
            messages.success(request, f"{name}: run {str(made.run_id)[-8:]} was started.")
        elif act == "pause":
            services.cron_pause(principal, cron_id)
            messages.success(request, f"{name} is paused.")
        elif act == "resume":
            services.cron_resume(principal, cron_id)
            messages.success(request, f"{name} goes on at its next due time.")
        else:
            services.cron_delete(principal, cron_id)
            messages.success(request, f"{name} was deleted.")
            return redirect("crons")
    except ApiError as error:
        messages.error(request, f"{name}: {error.detail}")
    return redirect("crons") if request.POST.get("from") == "list" else redirect("cron", cron_id)
