"""Finding rows by what a person types: a whole id, a part of one."""

from typing import Any
from uuid import UUID

from django.db.models import CharField, Q
from django.db.models.functions import Cast

# Fewer digits of an id would find half of everything.
FEWEST_DIGITS = 4


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def id_contains(field: str, text: str) -> tuple[dict[str, Any], Q]:
    """An annotation and a condition that find a UUID column by the whole id or a part of it."""
    if (whole := as_uuid(text)) is not None:
        return {}, Q(**{field: whole})
    part = text.strip().lower()
    if len(part) < FEWEST_DIGITS or set(part) - set("0123456789abcdef-"):
        return {}, Q(pk__in=[])
    # SQLite keeps the 32 digits alone, PostgreSQL writes hyphens between them.
    column = f"{field}_text"
    return {column: Cast(field, CharField())}, (
        Q(**{f"{column}__contains": part}) | Q(**{f"{column}__contains": part.replace("-", "")})
    )
