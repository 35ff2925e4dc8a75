"""GET /assistants/{assistant_id}"""

from uuid import uuid4

from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def test_gives_the_assistant(api: ApiClient, make: Make) -> None:
    made = await make(name="A1", context={"x": 1})
    answer = await api.get(f"/assistants/{made['assistant_id']}")
    assert (answer.status_code, answer.json()) == (200, made)


async def test_unknown(api: ApiClient) -> None:
    answer = await api.get(f"/assistants/{uuid4()}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_graph_id_is_no_assistant_id(api: ApiClient) -> None:
    answer = await api.get("/assistants/chat")
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid assistant ID: must be a UUID"})


async def test_head(api: ApiClient, make: Make) -> None:
    made = await make()
    answer = await api.head(f"/assistants/{made['assistant_id']}")
    assert (answer.status_code, answer.content) == (200, b"")
