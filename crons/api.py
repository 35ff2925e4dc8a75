"""REST operations on crons."""

from django.http import HttpResponse
from ninja import Router

from crons import schemas, selectors, services
from platform_site.core.database.access import in_db, read_db
from platform_site.core.http.handler import ApiRequest, empty_response, json_response, path_uuid
from platform_site.core.http.openapi import declared
from runs.configuration import webhooks_admit

router = Router(tags=["crons"])


@router.post("/threads/{thread_id}/runs/crons", response=schemas.Cron, openapi_extra=declared(errors=(409,)))
async def cron_create(request: ApiRequest, thread_id: str, body: schemas.CronCreate) -> HttpResponse:
    """Create a cron that makes runs on the thread."""
    thread = path_uuid(thread_id, "thread")
    await webhooks_admit([body.webhook])
    return json_response(await in_db(services.cron_create, request.principal, thread, body))


@router.post("/runs/crons", response=schemas.Cron, openapi_extra=declared(errors=(409,)))
async def cron_create_stateless(request: ApiRequest, body: schemas.CronCreateStateless) -> HttpResponse:
    """Create a cron each of whose runs has a thread of its own."""
    await webhooks_admit([body.webhook])
    return json_response(await in_db(services.cron_create, request.principal, None, body))


@router.post("/runs/crons/search", response=list[schemas.CronSelected])
async def cron_search(request: ApiRequest, body: schemas.CronSearch) -> HttpResponse:
    """Search crons."""
    page = await read_db(selectors.cron_search, request.principal, body)
    return json_response(page.body, headers=page.headers)


@router.post("/runs/crons/count", response=int)
async def cron_count(request: ApiRequest, body: schemas.CronCount) -> HttpResponse:
    """Count crons."""
    return json_response(await read_db(selectors.cron_count, request.principal, body))


@router.get("/runs/crons/{cron_id}", response=schemas.Cron)
async def cron_get(request: ApiRequest, cron_id: str) -> HttpResponse:
    """Get a cron."""
    return json_response(await read_db(selectors.cron_get, request.principal, path_uuid(cron_id, "cron")))


@router.patch("/runs/crons/{cron_id}", response=schemas.Cron)
async def cron_patch(request: ApiRequest, cron_id: str, body: schemas.CronPatch) -> HttpResponse:
    """Change a cron: what is not sent stays."""
    cron = path_uuid(cron_id, "cron")
    await webhooks_admit([body.webhook])
    return json_response(await in_db(services.cron_patch, request.principal, cron, body))


@router.delete("/runs/crons/{cron_id}", response={204: None})
async def cron_delete(request: ApiRequest, cron_id: str) -> HttpResponse:
    """Delete a cron; runs that it has made stay."""
    await in_db(services.cron_delete, request.principal, path_uuid(cron_id, "cron"))
    return empty_response()
