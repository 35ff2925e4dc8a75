"""What a statement asks for: its tables, whether it names a workspace, and which of its parameters are keys."""

import re
from functools import cache, lru_cache
from typing import Any, NamedTuple

# A column before a parameter; those by which rows are found are `key_columns`.
KEYS = re.compile(r'"?(\w*_id|id|sequence)"?\s*(?:=\s*ANY\s*\(|=|IN\s*\((?:\s*%s\s*,)*)\s*$')
_TABLES = re.compile(r'\b(?:FROM|JOIN|UPDATE|INTO)\s+"?(\w+)"?')
_WORKSPACE = re.compile(r'"?workspace_id"?\s*(?:=|IN\s*\((?:\s*%s\s*,)*)\s*$')
_OTHER_FORMS = re.compile(r'"?workspace_id"?\s+IS\s+NULL|"?workspace_id"?\s+IN\s*\(\s*SELECT')
_INSERT = re.compile(
    r'INSERT\s+(?:OR \w+ )?INTO\s+"?(\w+)"?\s*\(([^)]*)\)\s*VALUES\s*(.*?)(?:\sON\s|\sRETURNING\s|$)', re.S
)


class Shape(NamedTuple):
    """A statement on tenants' tables; `keys` and `workspaces` are places of parameters."""

    tables: frozenset[str]
    is_insert: bool
    names_workspace: bool
    workspaces: tuple[int, ...]
    keys: tuple[int, ...]
    # Of an insert: the places of the keys of its rows.
    made: tuple[int, ...]
    # The place of the workspace in the rows that are found, if it is asked for.
    owner: int | None


@cache
def tenant_tables() -> dict[str, frozenset[str]]:
    """The tables whose rows belong to a workspace, by a column of their own or through another row; their keys."""
    from django.apps import apps
    from django.db.models import ForeignKey, UUIDField

    from platform_site.access.models import Workspace

    found: set[type] = {Workspace}
    models = apps.get_models(include_auto_created=True)
    while True:
        more = {
            model
            for model in models
            if model not in found
            and any(isinstance(field, ForeignKey) and field.related_model in found for field in model._meta.fields)
        }
        if not more:
            break
        found |= more
    tables = {
        model._meta.db_table: frozenset(
            str(field.column)
            for field in model._meta.fields
            if field.primary_key or (field.unique and isinstance(field, UUIDField))
        )
        for model in models
        if model in found - {Workspace}
    }
    return tables | {"threads_threadtombstone": frozenset({"thread_id"})}


@cache
def key_columns() -> frozenset[str]:
    """The columns by which a row of a tenant's table is found: its own keys, and those of the row it belongs to."""
    from django.apps import apps

    names = {name for own in tenant_tables().values() for name in own} | {"run_id", "thread_id"}
    for model in apps.get_models():
        if model._meta.db_table in tenant_tables():
            for field in model._meta.fields:
                target: Any = field.related_model
                if target is not None and target._meta.db_table in tenant_tables():
                    names.add(str(field.column))
    return frozenset(names)


@lru_cache(maxsize=4096)
def shape(sql: str) -> Shape | None:
    """The shape of a statement of Django's connections; None if no tenant's table is read or changed."""
    tables = frozenset(_TABLES.findall(sql)) & tenant_tables().keys()
    if not tables:
        return None
    is_insert = sql.lstrip().startswith("INSERT")
    # An upsert also changes, by the key that it inserts.
    where = 0 if is_insert else max(sql.find("WHERE"), 0)
    workspaces, keys = [], []
    for place, mark in enumerate(re.finditer("%s", sql)):
        if mark.start() < where:
            continue
        before = sql[max(0, mark.start() - 40_000) : mark.start()]
        if _WORKSPACE.search(before):
            workspaces.append(place)
        elif (column := KEYS.search(before)) and column[1] in key_columns():
            keys.append(place)
    names_workspace = bool(workspaces) or _OTHER_FORMS.search(sql, where) is not None
    made = _made(sql) if is_insert else ()
    return Shape(tables, is_insert, names_workspace, tuple(workspaces), tuple(keys), made, _owner(sql))


def _owner(sql: str) -> int | None:
    found = re.match(r"\s*SELECT\s+(?:DISTINCT\s+)?(.*?)\sFROM\s", sql, re.S)
    columns = re.sub(r"\([^()]*\)", "", found[1]).split(",") if found else []
    names = [column.strip().rpartition(".")[2].strip('"') for column in columns]
    return names.index("workspace_id") if "workspace_id" in names else None


def _made(sql: str) -> tuple[int, ...]:
    found = _INSERT.match(sql.lstrip())
    if found is None:
        return ()
    table, columns, values = found.groups()
    names = [name.strip().strip('"') for name in columns.split(",")]
    own = tenant_tables().get(table, frozenset())
    made, place = [], 0
    for row in re.findall(r"\(([^()]*)\)", values):
        for name, value in zip(names, row.split(","), strict=False):
            if "%s" in value:
                if name in own:
                    made.append(place)
                place += 1
    return tuple(made)
