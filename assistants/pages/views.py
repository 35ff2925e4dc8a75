"""The assistant pages."""

from django.http import HttpResponse

from assistants.pages import browse
from platform_site.console.shell import PageRequest, page, render_page
from platform_site.core.graphs import registry


@page
def assistant_list(request: PageRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip()
    found, rows = browse.assistants_page(request.principal, text, request.GET.get("page", "1"))
    context = {"nav": "assistants", "q": text, "found": found, "rows": rows, "broken": registry().failures.keys()}
    return render_page(request, "assistants/list.html", context)
