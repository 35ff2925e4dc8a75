"""What pages read of assistants, always through the principal. Part of the roof: it looks at runs for the last one."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from assistants.models import Assistant
from assistants.selectors import assistants_listed
from platform_site.access.principal import Principal
from platform_site.console.finding import id_contains
from runs.models import Run

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class AssistantRow:
    """An assistant as a list shows it; `last_run_at` is when its newest run in this workspace was made."""

    assistant: Assistant
    last_run_at: datetime | None
    last_run_id: UUID | None


def _assistants(principal: Principal) -> QuerySet[Assistant]:
    """Return the assistants that lists show, with `last_run`. `is_default` holds for changed ones as well."""
    newest = Run.objects.filter(assistant_id=OuterRef("assistant_id"), workspace_id=principal.workspace_id)
    system = Assistant.objects.filter(assistant_id=OuterRef("assistant_id"), workspace=None)
    return (
        assistants_listed(principal)
        .defer("config", "context", "metadata")
        .annotate(last_run=Subquery(newest.order_by("-sequence").values("sequence")[:1]), is_default=Exists(system))
    )


def _rows(assistants: list[Assistant]) -> list[AssistantRow]:
    last = [assistant.last_run for assistant in assistants if assistant.last_run]  # type: ignore[attr-defined]
    runs = {run.pk: run for run in Run.objects.filter(pk__in=last).only("run_id", "created_at")}
    rows = []
    for assistant in assistants:
        run = runs.get(assistant.last_run)  # type: ignore[attr-defined]
        rows.append(AssistantRow(assistant, run.created_at if run else None, run.run_id if run else None))
    return rows


def assistants_page(principal: Principal, text: str, page: str) -> tuple[Page[Assistant], list[AssistantRow]]:
    """One page of the assistants this workspace sees, by name."""
    found = Paginator(_narrowed(_assistants(principal), text).order_by("name", "pk"), PER_PAGE).get_page(page)
    return found, _rows(list(found))


def assistants_found(principal: Principal, text: str, count: int) -> list[AssistantRow]:
    """Assistants whose id, name or graph has this text in it."""
    return _rows(list(_narrowed(_assistants(principal), text).order_by("name", "pk")[:count]))


def _narrowed(assistants: QuerySet[Assistant], text: str) -> QuerySet[Assistant]:
    if not text:
        return assistants
    annotation, condition = id_contains("assistant_id", text)
    named = Q(name__icontains=text) | Q(graph_id__icontains=text)
    return assistants.annotate(**annotation).filter(condition | named)


def assistant_choices(principal: Principal, count: int = 200) -> list[tuple[str, str]]:
    """Ids and names for a menu."""
    found = assistants_listed(principal).order_by("name", "assistant_id").values_list("assistant_id", "name")[:count]
    return [(str(assistant_id), name) for assistant_id, name in found]
