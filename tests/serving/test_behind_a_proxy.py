"""A reverse proxy that speaks TLS in front: forms and cookies of the pages."""

import re

import httpx

from tests.live import LiveServer
from tests.serving.conftest import Launch, wait_ok

PROXY = {"Host": "agents.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}


def sign_in_form(server: LiveServer) -> httpx.Response:
    """The answer to the sign-in form, posted as a browser does that sees the proxy."""
    with httpx.Client(base_url=server.url, headers=PROXY, timeout=60) as http:
        page = http.get("/dashboard/sign-in")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token is not None
        cookie = page.headers["set-cookie"].split(";")[0]
        return http.post(
            "/dashboard/sign-in",
            headers={"Origin": "https://agents.example.com", "Cookie": cookie},
            data={"csrfmiddlewaretoken": token[1], "username": "nobody", "password": "wrong"},
        )


def test_forms_are_taken_and_cookies_are_for_https(launch: Launch) -> None:
    server = launch(None, AUTH="keys", BEHIND_TLS_PROXY="true")
    wait_ok(server)
    assert sign_in_form(server).status_code == 422
    cookies = httpx.get(server.url + "/dashboard/sign-in", headers=PROXY, timeout=60).headers["set-cookie"]
    assert "Secure" in cookies


def test_a_forwarded_protocol_is_not_believed_unasked(launch: Launch) -> None:
    server = launch(None, AUTH="keys")
    wait_ok(server)
    assert sign_in_form(server).status_code == 403
