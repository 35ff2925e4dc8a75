"""The assistant pages."""

from django.http import HttpResponse

from assistants.pages import browse
from platform_site.access.principal import Role
from platform_site.console.shell import PageRequest, page, render_page
from platform_site.core.graphs.registry import registry


@page
def assistant_list(request: PageRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip()
    found, rows = browse.assistants_page(request.principal, text, request.GET.get("page", "1"))
    failures = dict(registry().failures)
    is_admin = request.principal.role is Role.ADMIN
    context = {
        "nav": "assistants",
        "q": text,
        "found": found,
        "rows": rows,
        # The reasons are texts of exceptions, which may hold anything.
        "broken": {graph_id: reason if is_admin else "" for graph_id, reason in failures.items()},
    }
    return render_page(request, "assistants/list.html", context)
