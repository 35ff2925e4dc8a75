"""Methods of every documented path: HEAD beside GET, OPTIONS and others refused, slashes redirected."""

import httpx
import pytest

from tests import live
from tests.contract.coverage import server_document
from tests.contract.test_bad_input import Things, make_things

pytestmark = pytest.mark.usefixtures("not_the_reference")

PATHS = {
    path: frozenset(method.upper() for method in operations)
    for path, operations in server_document().content["paths"].items()
    if "{cron_id}" not in path
}
READ = [path for path, methods in PATHS.items() if "GET" in methods]
# What an operation does not answer without.
NEEDED = {"/store/items": "?namespace=n&key=k"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def things(server: live.LiveServer | live.RunningServer) -> Things:
    with httpx.Client(base_url=server.url, timeout=30) as http:
        return make_things(http)


def filled(path: str, things: Things) -> str:
    ids = {"assistant_id": "a", "thread_id": "t", "run_id": "r"}
    for name, key in ids.items():
        path = path.replace(f"{{{name}}}", things.ids[key])
    return path.replace("{checkpoint_id}", "x").replace("{namespace}", "child")


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_its_body(http: httpx.Client, things: Things, path: str) -> None:
    url = filled(path, things) + NEEDED.get(path, "")
    answer = http.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    with http.stream("GET", url) as got:
        assert got.status_code == 200
        assert got.headers["content-type"] == answer.headers["content-type"]


@pytest.mark.parametrize("path", list(PATHS))
def test_other_methods_are_refused_with_those_that_are_not(http: httpx.Client, things: Things, path: str) -> None:
    for method in {"OPTIONS", *METHODS} - PATHS[path]:
        answer = http.request(method, filled(path, things))
        assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"}), method
        assert set(answer.headers["allow"].split(", ")) == PATHS[path]


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/"])
def test_a_slash_at_the_end_is_redirected(http: httpx.Client, things: Things, path: str) -> None:
    url = filled(path, things)
    for method in PATHS[path]:
        answer = http.request(method, f"{url}/?a=b", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, f"{url}?a=b")


@pytest.mark.parametrize("path", ["/nowhere", "/threads/x/y/z", "/assistants//graph", "/nowhere/"])
@pytest.mark.parametrize("method", [*METHODS, "OPTIONS"])
def test_other_paths_are_not_found(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path, follow_redirects=False)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
