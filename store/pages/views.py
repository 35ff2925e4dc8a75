"""The store pages: namespaces, items, one item, all at one address."""

from typing import Any

import orjson
from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST
from pydantic import ValidationError

from platform_site.console.shell import VIEWER_SENTENCE, PageRequest, acting, page, render_page
from platform_site.console.wording import TOO_DEEP
from platform_site.core.errors import ApiError
from store import services
from store.operations import BadLabel
from store.pages import browse
from store.schemas import ItemDelete, ItemPut
from store.selectors import StoreItem

WAYS = ("text", "meaning")


@page
def store(request: PageRequest) -> HttpResponse:
    """`?in=` is the namespace, `?key=` the item in it, `?q=` what is looked for, `?by=` how."""
    try:
        return render_page(request, "store/store.html", _context(request))
    except BadLabel:
        raise Http404 from None
    except ApiError as error:
        # A store that cannot be opened: the settings are wrong, or its database is away.
        closed = {"nav": "store", "view": "list", "search_problem": error.detail, "viewer_sentence": VIEWER_SENTENCE}
        return render_page(request, "store/store.html", closed, status=error.status)


def _context(request: PageRequest) -> dict[str, Any]:
    namespace, key = browse.namespace_of(request.GET.get("in", "")), request.GET.get("key")
    item = browse.item(request.principal, namespace, key) if key is not None and namespace else None
    if key is not None and item is None:
        raise Http404
    branches, more = browse.tree(request.principal, namespace)
    context: dict[str, Any] = {
        "nav": "store",
        "namespace": namespace,
        "crumbs": [(label, browse.place(namespace[: at + 1])) for at, label in enumerate(namespace)],
        "branches": branches,
        "more_branches": more,
        "has_index": browse.has_index(),
        "viewer_sentence": VIEWER_SENTENCE,
        "q": request.GET.get("q", "").strip(),
        "new": "new" in request.GET and request.principal.can_write,
    }
    context |= _found(request, context["q"]) if context["q"] else _listed(request, namespace)
    if item is not None:
        context |= _item_context(request, item)
    elif context["new"]:
        context["form"] = {"in": ".".join(namespace), "key": "", "value": "{}", "ttl": ""}
    context["view"] = "one" if item or context["new"] else _view(namespace, context)
    return context


def _view(namespace: browse.Namespace, context: dict[str, Any]) -> str:
    """What a small screen shows of what is beside each other on a large one."""
    if context["q"]:
        return "list"
    leads_on = any(branch.is_current and branch.has_more for branch in context["branches"])
    return "tree" if not namespace else "both" if leads_on else "list"


def _listed(request: PageRequest, namespace: browse.Namespace) -> dict[str, Any]:
    if not namespace:
        return {"rows": []}
    found, rows = browse.items(request.principal, namespace, request.GET.get("page", "1"))
    return {"found": found, "rows": rows}


def _found(request: PageRequest, text: str) -> dict[str, Any]:
    by = request.GET.get("by", "text")
    by = by if by in WAYS and browse.has_index() else "text"
    try:
        rows = browse.with_meaning(request.principal, text) if by == "meaning" else browse.with_text(
            request.principal, text
        )  # fmt: skip
    except ApiError as error:
        return {"rows": [], "by": by, "search_problem": error.detail}
    return {"rows": rows, "by": by, "most": browse.FOUND_SHOWN}


def _item_context(request: PageRequest, item: StoreItem) -> dict[str, Any]:
    text = _as_text(item)
    context: dict[str, Any] = {
        "item": item,
        "left": browse.time_left(item),
        "text": text,
        "as_json": request.GET.get("show") == "json",
    }
    if "edit" in request.GET and request.principal.can_write:
        minutes = "" if item.ttl_minutes is None else f"{item.ttl_minutes:g}"
        context["form"] = {"in": ".".join(item.namespace), "key": item.key, "value": text, "ttl": minutes}
    return context


def _as_text(item: StoreItem) -> str:
    return orjson.dumps(item.value, option=orjson.OPT_INDENT_2).decode()


def _sent(request: PageRequest) -> dict[str, str]:
    given = {name: str(request.POST.get(name, "")).replace("\x00", "") for name in ("in", "key", "value", "ttl")}
    return given | {"value": given["value"].replace("\r\n", "\n"), "ttl": given["ttl"].strip()}


@require_POST
@page
def item_save(request: PageRequest) -> HttpResponse:
    """Put an item. What somebody else has put meanwhile is not overwritten unseen."""
    principal, form = acting(request), _sent(request)
    namespace = browse.namespace_of(form["in"].strip())
    seen = request.POST.get("seen", "")
    try:
        body = _body(namespace, form)
        now = browse.item(principal, namespace, form["key"])
        if seen != (now.created_at.isoformat() if now else ""):
            raise ValueError(
                "Somebody has changed this item meanwhile. Your text is still here; open the item beside it to compare."
                if seen else "There is an item with this key already. Open it to change it."
            )  # fmt: skip
        if now is not None:
            # What its program did not want embedded is not embedded by an edit.
            body = body.model_copy(update={"index": now.index})
        async_to_sync(services.item_put)(principal, body)
    except ApiError as error:
        return _show_again(request, form, seen, error.detail)
    except ValueError as error:
        return _show_again(request, form, seen, str(error))
    except RecursionError:
        return _show_again(request, form, seen, TOO_DEEP)
    messages.success(request, "Saved.")
    return redirect(f"{reverse('store')}?{browse.place(namespace, form['key'])}")


def _body(namespace: browse.Namespace, form: dict[str, str]) -> ItemPut:
    """The request of the API. Raises `ValueError` with a sentence."""
    if not namespace or not form["key"]:
        raise ValueError("An item has a namespace and a key.")
    try:
        value = orjson.loads(form["value"])
    except orjson.JSONDecodeError as error:
        raise ValueError(f"Not JSON: {error.msg}, line {error.lineno}, column {error.colno}.") from None
    if not isinstance(value, dict):
        raise ValueError("A value is a JSON object: it begins with { and ends with }.")
    try:
        minutes = float(form["ttl"]) if form["ttl"] else None
        return ItemPut(namespace=list(namespace), key=form["key"], value=value, ttl=minutes)
    except (ValidationError, ValueError):
        raise ValueError("A time to live is a number of minutes, more than 0; empty for ever.") from None


def _show_again(request: PageRequest, form: dict[str, str], seen: str, problem: str) -> HttpResponse:
    namespace = browse.namespace_of(form["in"].strip())
    try:
        branches, more = browse.tree(request.principal, namespace)
        found, rows = browse.items(request.principal, namespace, "1") if namespace else (None, [])
    except BadLabel:
        namespace, found, rows = (), None, []
        branches, more = browse.tree(request.principal, namespace)
    context = {
        "nav": "store", "namespace": namespace, "branches": branches, "more_branches": more, "found": found,
        "rows": rows, "has_index": browse.has_index(), "view": "one", "form": form, "new": not seen, "seen": seen,
        "crumbs": [(label, browse.place(namespace[: at + 1])) for at, label in enumerate(namespace)],
        "problem": problem, "viewer_sentence": VIEWER_SENTENCE,
    }  # fmt: skip
    return render_page(request, "store/store.html", context, status=422)


@require_POST
@page
def item_delete(request: PageRequest) -> HttpResponse:
    principal, form = acting(request), _sent(request)
    namespace = browse.namespace_of(form["in"])
    try:
        async_to_sync(services.item_delete)(principal, ItemDelete(namespace=list(namespace), key=form["key"]))
    except ApiError as error:
        messages.error(request, f"Nothing was deleted: {error.detail}")
    else:
        messages.success(request, f"{form['key']} was deleted.")
    return redirect(f"{reverse('store')}?{browse.place(namespace)}")
