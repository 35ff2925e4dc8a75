"""The ASGI application: the API on the lean handler, pages on Django's own, lifespan for servers that have it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")

import django

django.setup(set_prefix=False)

import asyncio  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

from django.conf import settings  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.signals import request_finished  # noqa: E402
from django.db import connections  # noqa: E402

from platform_site import api_urls  # noqa: E402
from platform_site.access.authentication import authenticate, check_settings  # noqa: E402
from platform_site.access.authorization import authorize  # noqa: E402
from platform_site.core.config import config  # noqa: E402
from platform_site.core.http.bodies import PAGES, is_below  # noqa: E402
from platform_site.core.http.cors import OriginPolicy  # noqa: E402
from platform_site.core.http.handler import ApiHandler, Receive, Send  # noqa: E402
from platform_site.core.http.page_door import PageDoor  # noqa: E402
from platform_site.processes import serving  # noqa: E402


class PageHandler(ASGIHandler):
    """Django's handler for pages. It makes a thread for each request, whose connections must not outlive it."""


def _close_connections(**_: Any) -> None:
    connections.close_all()


request_finished.connect(_close_connections, sender=PageHandler)


class Application:
    """Hands every connection to what serves it."""

    def __init__(self, start: Callable[[], None]) -> None:
        """`start` makes the process ready to work; it runs before the first request or at lifespan's start."""
        check_settings()
        self._start: Callable[[], None] | None = start
        http = config().http
        is_open = settings.AUTH == "open"
        self._pages = PageDoor(PageHandler(), is_open=is_open)
        self._api = ApiHandler(
            api_urls,
            origins=OriginPolicy(
                is_open=is_open,
                cors=http.cors.model_dump() if http.cors else None,
                pages=frozenset({"/ok", *(http.mount_prefix + path for path in api_urls.PUBLIC)}),
            ),
            authenticate=authenticate,
            authorize=authorize,
            public=api_urls.PUBLIC,
            prefix=http.mount_prefix,
            without=http.disabled,
        )
        # The documentation needs static files, too.
        self._page_paths: tuple[str, ...] = ("/static",) if http.disable_ui else PAGES

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                if self._start is not None:
                    await self._make_ready()
                is_page = is_below(scope["path"], self._page_paths)
                await (self._pages if is_page else self._api)(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                # Closed before it was accepted: servers answer the handshake with 403.
                await receive()
                await send({"type": "websocket.close", "code": 1008})

    async def _make_ready(self) -> None:
        if self._start is not None:
            # Not on this loop: it migrates and opens databases.
            await asyncio.to_thread(self._start)
            self._start = None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._make_ready()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


application = Application(serving.ensure_started)
