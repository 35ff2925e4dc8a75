"""The ASGI application: the API on the lean handler, pages on Django's own, lifespan for servers that have it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")

import django  # noqa: E402

django.setup(set_prefix=False)

from typing import Any  # noqa: E402

from django.conf import settings  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.signals import request_finished  # noqa: E402
from django.db import connections  # noqa: E402

from platform_site import api_urls  # noqa: E402
from platform_site.access.authentication import authenticate, check_settings  # noqa: E402
from platform_site.access.authorization import authorize  # noqa: E402
from platform_site.core.cors import OriginPolicy  # noqa: E402
from platform_site.core.handler import ApiHandler, Receive, Send  # noqa: E402

PAGES = ("/dashboard", "/admin", "/static")


class PageHandler(ASGIHandler):
    """Django's handler for pages. It makes a thread for each request, whose connections must not outlive it."""


def _close_connections(**_: Any) -> None:
    connections.close_all()


request_finished.connect(_close_connections, sender=PageHandler)


class Application:
    """Hands every connection to what serves it."""

    def __init__(self) -> None:
        check_settings()
        self._pages = PageHandler()
        self._api = ApiHandler(
            api_urls,
            origins=OriginPolicy(is_open=settings.AUTH == "open", pages=api_urls.PUBLIC),
            authenticate=authenticate,
            authorize=authorize,
            public=api_urls.PUBLIC,
        )

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                path = scope["path"]
                is_page = path.startswith(PAGES) and any(path == page or path.startswith(page + "/") for page in PAGES)
                await (self._pages if is_page else self._api)(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                # Closed before it was accepted: servers answer the handshake with 403.
                await receive()
                await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


application = Application()
