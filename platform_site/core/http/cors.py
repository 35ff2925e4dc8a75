"""Which pages may call the API from a browser, and in open mode which requests are taken at all.

Without authentication the only guard against the web is where a request comes from. So in open mode a request must come
from this machine and not through a proxy (`core.http.peers`), must name a loopback host (DNS rebinding), and must not
come from a page on another origin, whether that shows in `Origin` (scripts, forms) or in `Sec-Fetch-Site` (what a
browser sends without `Origin`).
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers

from platform_site.core.errors import Forbidden
from platform_site.core.http.peers import open_mode_refusal

logger = logging.getLogger("switchyard.request")

_LOOPBACK = r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
_LOOPBACK_HOST = re.compile(_LOOPBACK, re.IGNORECASE)
_LOOPBACK_ORIGIN = re.compile("https?://" + _LOOPBACK, re.IGNORECASE)
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Origins of which the log tells that they are refused: a page asks again and again, and anybody can make origins up.
_MOST_TOLD, _LONGEST_TOLD = 100, 200
_EXPOSED = ("x-pagination-total", "x-pagination-next", "content-location", "location", "x-request-id")


class OriginPolicy:
    """The rules of one process: `is_open` (no authentication) and `http.cors` of langgraph.json."""

    def __init__(
        self, *, is_open: bool, cors: Mapping[str, Any] | None = None, pages: frozenset[str] = frozenset()
    ) -> None:
        """`pages`: paths that a link on another site may lead to."""
        cors = cors or {}
        origins = set(cors.get("allow_origins") or ())
        pattern = cors.get("allow_origin_regex")
        self.is_open = is_open
        self._pages = pages
        self._any = not is_open and ("*" in origins or (not origins and not pattern))
        if is_open and "*" in origins:
            logger.warning(
                'http.cors.allow_origins has "*", which needs authentication: '
                "with AUTH=open pages on other origins are still refused; name the origins, or set AUTH=keys"
            )
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins - {"*"})
        self._pattern = re.compile(pattern) if pattern else None
        self._methods = _list(cors.get("allow_methods"), _METHODS)
        self._headers = tuple(cors.get("allow_headers") or ("*",))
        self._exposed = ", ".join(dict.fromkeys((*_EXPOSED, *(cors.get("expose_headers") or ()))))
        self._credentials = bool(cors.get("allow_credentials"))
        self._told: set[str] = set()
        self._max_age = str(cors.get("max_age", 600))

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may call and read the answers."""
        if self._any or origin.lower() in self._origins:
            return True
        if self._pattern is not None and self._pattern.fullmatch(origin):
            return True
        return self.is_open and _LOOPBACK_ORIGIN.fullmatch(origin) is not None

    def check(self, request: ASGIRequest) -> HttpResponse | None:
        """The answer to a preflight, None for a request to be served; raises Forbidden for one to be refused."""
        origin = request.META.get("HTTP_ORIGIN")
        if self.is_open:
            self._check_open(request, origin)
        if origin is None or request.method != "OPTIONS" or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in request.META:
            return None
        if not self.allows(origin):
            self._tell(origin)
            raise Forbidden(f"Origin {origin!r} is not allowed")
        asked = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        headers = {
            "Access-Control-Allow-Methods": self._methods,
            "Access-Control-Max-Age": self._max_age,
        }
        allowed = asked if "*" in self._headers else ", ".join(self._headers)
        if allowed:
            headers["Access-Control-Allow-Headers"] = allowed
        return HttpResponse("OK", content_type="text/plain; charset=utf-8", headers=headers)

    def _check_open(self, request: ASGIRequest, origin: str | None) -> None:
        if (reason := open_mode_refusal(request.scope)) is not None:
            raise Forbidden(reason)
        meta = request.META
        if not _LOOPBACK_HOST.fullmatch(meta.get("HTTP_HOST", "")):
            raise Forbidden("Without authentication the host must be localhost or 127.0.0.1: set AUTH=keys for others")
        if origin is not None:
            if not self.allows(origin):
                self._tell(origin)
                raise Forbidden(
                    f"Origin {origin!r} is not allowed: name it in http.cors of langgraph.json, or set AUTH=keys"
                )
        elif meta.get("HTTP_SEC_FETCH_SITE") == "cross-site":
            # A link on another site may lead a person to a page; nothing else may come from there.
            followed = meta.get("HTTP_SEC_FETCH_MODE") == "navigate" and request.method in ("GET", "HEAD")
            if not (followed and request.path in self._pages):
                raise Forbidden("Requests from pages of other sites are refused without authentication: set AUTH=keys")

    def _tell(self, origin: str) -> None:
        """Log once what lets pages of this origin in: its author sees only that the browser got no answer."""
        origin = origin[:_LONGEST_TOLD]
        if origin in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(origin)
        logger.warning(
            "pages of the origin %s are refused; to let them in, add it to langgraph.json: "
            '"http": {"cors": {"allow_origins": ["%s"]}}%s',
            origin,
            origin,
            ", or set AUTH=keys" if self.is_open else "",
        )

    def add_headers(self, request: ASGIRequest, response: HttpResponseBase) -> None:
        """Let the page that asked read the answer, if its origin is allowed."""
        origin = request.META.get("HTTP_ORIGIN")
        if origin is None:
            return
        if not self.allows(origin):
            self._tell(origin)
            return
        any_origin = self._any and not self._credentials
        response.headers["Access-Control-Allow-Origin"] = "*" if any_origin else origin
        response.headers["Access-Control-Expose-Headers"] = self._exposed
        if self._credentials:
            response.headers["Access-Control-Allow-Credentials"] = "true"
        if not any_origin:
            patch_vary_headers(response, ["Origin"])


def _list(given: Any, default: tuple[str, ...]) -> str:
    return ", ".join(default if not given or "*" in given else given)
