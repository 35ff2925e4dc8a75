"""A small URLconf that drives the API's handler and Django's own alike."""

import asyncio
from collections.abc import AsyncGenerator

import orjson
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from ninja import NinjaAPI

from platform_site.core.http.handler import stream_response

api = NinjaAPI(urls_namespace="handler-tests", docs_url=None, openapi_url=None)
# What happened inside streams, for tests to look at.
journal: list[str] = []


@api.post("/echo/{name}")
async def echo(request: HttpRequest, name: str) -> HttpResponse:
    seen = {
        "name": name,
        "path": request.path,
        "method": request.method,
        "query": dict(request.GET.lists()),
        "body": request.body.decode(),
        "header": request.headers.get("X-Test", ""),
        "length": request.headers.get("Content-Length", ""),
    }
    return HttpResponse(orjson.dumps(seen), content_type="application/json")


@api.get("/status/{int:status}")
async def status(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse(b"" if status == 204 else b"body", status=status, headers={"X-Answer": "yes"})


@api.get("/cookies")
async def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("é")
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2")
    return response


@api.get("/stream")
async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for number in range(3):
            yield f"data: {number}\r\n\r\n".encode()

    return stream_response(chunks())


@api.get("/endless")
async def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            journal.append("stream ended")

    return stream_response(chunks())


@api.get("/flood")
async def flood(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"more"
        finally:
            journal.append("flood ended")

    return stream_response(chunks())


@api.get("/broken-stream")
async def broken_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise RuntimeError("in the middle")

    return stream_response(chunks())


@api.get("/error")
async def error(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("on purpose")


@api.get("/closers")
async def closers(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("ok")
    response._resource_closers.append(lambda: journal.append("closed"))  # type: ignore[attr-defined]
    return response


urlpatterns = [path("", api.urls)]
