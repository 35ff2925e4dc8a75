"""For whom the SDK acts inside a graph: the principal that asked for the run."""

import pytest

from platform_site.access.principal import Principal, Role
from platform_site.core.database.access import in_db
from runs.engine.caller import caller_of
from tests.runs.conftest import claim, create

USER = {"identity": "ann", "display_name": "Ann", "is_authenticated": True, "permissions": ["runs:write"]}


@pytest.mark.parametrize("role", Role)
async def test_caller_of_a_run_is_who_asked_for_it(principal: Principal, role: Role) -> None:
    asker = Principal(principal.workspace_id, role, "ann", "Ann", ("runs:write",), USER)
    run = await in_db(create, asker, "log", input={"log": []})
    assert caller_of(await in_db(claim, run)) == asker


async def test_caller_of_an_anonymous_run_is_the_anonymous_caller(principal: Principal) -> None:
    anonymous = Principal(principal.workspace_id)
    run = await in_db(create, anonymous, "log", input={"log": []})
    assert caller_of(await in_db(claim, run)) == anonymous


async def test_request_cannot_choose_the_caller(principal: Principal) -> None:
    asker = Principal(principal.workspace_id, Role.MEMBER, "ann", "Ann", (), USER | {"permissions": []})
    forged = {"langgraph_auth_user_id": "eve", "langgraph_auth_user": {"identity": "eve"}, "role": "admin"}
    run = await in_db(create, asker, "log", input={"log": []}, config={"configurable": forged}, metadata=forged)
    assert caller_of(await in_db(claim, run)) == asker


async def test_anonymous_caller_that_is_no_admin_is_none_in_the_run_either(principal: Principal) -> None:
    asker = Principal(principal.workspace_id, Role.MEMBER)
    run = await in_db(create, asker, "log", input={"log": []})
    assert caller_of(await in_db(claim, run)) == asker


async def test_run_of_somebody_without_a_role_may_only_read(principal: Principal) -> None:
    asker = Principal(principal.workspace_id, Role.ADMIN, "ann", "Ann", (), USER)
    claimed = await in_db(claim, await in_db(create, asker, input={"log": []}))
    del claimed.kwargs["role"]
    assert caller_of(claimed).role is Role.VIEWER


async def test_graph_that_changes_its_user_does_not_change_its_caller(principal: Principal) -> None:
    asker = Principal(principal.workspace_id, Role.MEMBER, "ann", "Ann", (), USER)
    claimed = await in_db(claim, await in_db(create, asker, "log", input={"log": []}))
    caller = caller_of(claimed)
    claimed.configurable["langgraph_auth_user"]["permissions"].append("*:write")
    assert caller.user == USER
