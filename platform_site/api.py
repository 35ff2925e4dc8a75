"""The REST API: routers of all apps, the body parser, and how errors are answered."""

import logging
from importlib import import_module
from typing import Any

import orjson
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError, ValidationErrorContext
from ninja.parser import Parser

from platform_site import __version__
from platform_site.access.principal import Principal, Role
from platform_site.core.database.outages import AWAY, FULL, RETRY_SECONDS, outage
from platform_site.core.database.unavailable import DatabaseUnavailable
from platform_site.core.errors import NOT_STORABLE, ApiError, InvalidJSON, NotFound, Unprocessable
from platform_site.core.http.handler import error_response
from platform_site.core.validation import validation_detail
from store.operations import BadLabel

logger = logging.getLogger("switchyard.request")

# Modules with a `router`, in the order in which their routes are tried.
ROUTERS = [
    "platform_site.system.api",
    "assistants.api",
    "threads.api",
    # Before the runs, whose paths have an id where these say `crons`.
    "crons.api",
    "runs.api",
    "runs.streaming.api",
    "store.api",
]


class JsonParser(Parser):
    """Reads bodies with orjson, whatever their content type says; NaN and bad UTF-8 are errors."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            request.json = orjson.loads(request.body)  # type: ignore[attr-defined]
        except orjson.JSONDecodeError:
            raise InvalidJSON from None
        return request.json  # type: ignore[attr-defined]


class Api(NinjaAPI):
    """NinjaAPI whose validation errors keep the wrong value, so that the answer can quote it."""

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        errors: list[dict[str, Any]] = []
        for context in error_contexts:
            model = context.model
            for error in context.pydantic_validation_error.errors(include_url=False):
                steps = model.__ninja_flatten_map_reverse__.get(error["loc"], error["loc"])
                errors.append({**error, "loc": (model.__ninja_param_source__, *steps)})
        return ValidationError(errors)


api = Api(
    title="Switchyard",
    version=__version__,
    description="A self-hosted Agent Server: assistants, threads, runs and memory for LangGraph graphs.",
    # The handler authenticates before it looks for a route; the pages for people are in `api_urls`.
    docs_url=None,
    openapi_url=None,
    parser=JsonParser(),
)


@api.exception_handler(ApiError)
def _api_error(request: HttpRequest, error: ApiError) -> HttpResponse:
    principal: Principal | None = getattr(request, "principal", None)
    return error_response(error, is_admin=principal is not None and principal.role is Role.ADMIN)


@api.exception_handler(BadLabel)
def _bad_label(request: HttpRequest, error: BadLabel) -> HttpResponse:
    return HttpResponse(error.detail, content_type="text/plain; charset=utf-8", status=error.status)


@api.exception_handler(ValidationError)
def _validation_error(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return error_response(Unprocessable(validation_detail(error.errors, getattr(request, "json", None))))


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Ninja hides what the body parser raised behind an error of its own.
    if isinstance(error.__cause__, ApiError):
        return error_response(error.__cause__)
    return error_response(ApiError(str(error), status=error.status_code))


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return error_response(NotFound())


@api.exception_handler(DataError)
def _data_error(request: HttpRequest, error: DataError) -> HttpResponse:
    # PostgreSQL stores no NUL characters and no numbers out of a column's range.
    logger.info("the database refused a value: %s", error)
    return error_response(Unprocessable(NOT_STORABLE))


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
@api.exception_handler(DatabaseUnavailable)
def _database_away(request: HttpRequest, error: Exception) -> HttpResponse:
    sentence = outage(error)
    if sentence is None:
        # A statement that no database takes is a fault of ours: 500.
        raise error
    if sentence in (AWAY, FULL):
        logger.error("a request could not be answered: %s", sentence, exc_info=error)
    else:
        logger.warning("%s %s was given up: %s", request.method, request.path, error)
    return error_response(ApiError(sentence, status=503, headers={"Retry-After": str(RETRY_SECONDS)}))


@api.exception_handler(Exception)
def _unhandled(request: HttpRequest, error: Exception) -> HttpResponse:
    # Up to the handler, which logs it and answers 500.
    raise error


for _name in ROUTERS:
    api.add_router("", import_module(_name).router)
