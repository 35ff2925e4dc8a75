"""The Django admin: everything is there, and what the engine writes is only looked at."""

from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.db.models import Model
from django.urls import reverse
from langchain_core.runnables import RunnableConfig

from platform_site.access.models import ApiKey, AuditEntry, Membership, SignInLink
from platform_site.access.principal import Role
from platform_site.access.services import api_key_create, sign_in_link_create
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.loops import state_loop
from runs.models import Run, RunAttempt, RunSpan, RunStatistic
from tests.console.conftest import HOSTILE, Yard, signed_in
from threads.models import Thread, ThreadTombstone

OURS = ("access", "threads", "assistants", "runs", "crons")
EDITABLE = {"Workspace", "Membership"}
MODELS = [model for model in apps.get_models() if model._meta.app_label in OURS]


def address(model: type[Model], page: str = "changelist", *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_has_its_list(admin, yard, model):
    assert admin.get(address(model)).status_code == 200
    assert admin.get(address(model), {"q": "abc"}).status_code in (200, 302)


@pytest.mark.parametrize("model", [m for m in MODELS if m.__name__ not in EDITABLE], ids=lambda model: model.__name__)
def test_rows_of_the_engine_are_neither_added_nor_changed(admin, model):
    site = django_admin.site._registry[model]
    assert admin.get(address(model, "add")).status_code == 403
    assert not site.has_change_permission(admin.get("/admin/").wsgi_request)
    if model is not Thread:
        assert not site.has_delete_permission(admin.get("/admin/").wsgi_request)


def test_rows_can_be_looked_at(admin, yard):
    run = yard.run(yard.thread(HOSTILE), assistant=yard.assistant(HOSTILE), kwargs={"input": HOSTILE})
    RunAttempt.objects.create(run=run, number=1, worker="w", started_at=yard.now, ended_at=yard.now, reason="lost")
    RunSpan.objects.create(run=run, span_id=uuid4(), kind="node", name=HOSTILE, started_at=yard.now, ended_at=yard.now)
    RunStatistic.objects.create(
        workspace=yard.workspace, assistant_id=uuid4(), minute=yard.now, status="success", wait_bucket=1, run_bucket=1
    )
    yard.question(run, HOSTILE)
    ThreadTombstone.objects.create(thread_id=uuid4())
    for model in MODELS:
        for row in model._default_manager.all():
            answer = admin.get(address(model, "change", row.pk))
            assert answer.status_code == 200, model
            assert "<script>alert" not in answer.content.decode()
            assert "unsafe" not in answer["Content-Security-Policy"]


def test_only_staff_comes_in(member, yard):
    assert member.get("/admin/").status_code == 302
    assert member.get(address(Run)).status_code == 302


def test_a_key_s_digest_is_never_shown(admin, yard):
    key, secret = api_key_create(None, workspace=yard.workspace, name="ci")
    for path in (address(ApiKey), address(ApiKey, "change", key.pk)):
        page = admin.get(path).content.decode()
        assert key.prefix in page
        assert key.digest not in page
        assert secret not in page


def test_a_link_s_digest_is_never_shown(admin, yard):
    sign_in_link_create(yard.person("mara"))
    link = SignInLink.objects.get()
    assert link.digest not in admin.get(address(SignInLink, "change", link.pk)).content.decode()


def test_keys_are_revoked_through_their_service(admin, yard):
    key, _ = api_key_create(None, workspace=yard.workspace, name="ci")
    admin.post(address(ApiKey), {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert AuditEntry.objects.filter(action="api_key.revoked", actor="ada").exists()


def test_changes_of_people_are_in_the_audit_log(admin, yard):
    mara = yard.person("mara", role=None)
    admin.post(address(Membership, "add"), {"user": mara.pk, "workspace": yard.workspace.pk, "role": str(Role.VIEWER)})
    membership = Membership.objects.get(user=mara)
    admin.post(address(Membership, "delete", membership.pk), {"post": "yes"})
    assert list(AuditEntry.objects.filter(target="mara").order_by("pk").values_list("action", flat=True)) == [
        "membership.created", "membership.deleted",
    ]  # fmt: skip


def test_a_workspace_is_not_deleted_here(admin, yard):
    assert admin.post(address(type(yard.workspace), "delete", yard.workspace.pk), {"post": "yes"}).status_code == 403


def saved_checkpoint(thread: Thread) -> str:
    async def save() -> str:
        from langgraph.checkpoint.base import empty_checkpoint

        await checkpoints().setup()
        config: RunnableConfig = {"configurable": {"thread_id": str(thread.pk), "checkpoint_ns": ""}}
        saved = await checkpoints().saver().aput(config, empty_checkpoint(), {"source": "loop", "step": 3}, {})
        return saved["configurable"]["checkpoint_id"]

    return state_loop().submit(save()).result(10)


def test_a_thread_s_checkpoints_are_listed(admin, yard):
    thread = yard.thread()
    checkpoint = saved_checkpoint(thread)
    page = admin.get(address(Thread, "change", thread.pk)).content.decode()
    assert checkpoint in page
    assert "<td>loop</td>" in page


@pytest.mark.django_db(transaction=True)
def test_a_thread_is_deleted_with_its_runs_and_checkpoints(admin, yard: Yard):
    thread, other = yard.thread(), yard.thread()
    yard.question(yard.run(thread))
    saved_checkpoint(thread)
    confirmation = admin.post(address(Thread), {"action": "delete_selected", "_selected_action": [str(thread.pk)]})
    assert b"with its runs, open questions and checkpoints" in confirmation.content
    admin.post(address(Thread), {"action": "delete_selected", "_selected_action": [str(thread.pk)], "post": "yes"})
    assert list(Thread.objects.all()) == [other]
    assert not Run.objects.exists()
    assert state_loop().submit(checkpoints().head(thread.pk)).result(10) is None
    assert not ThreadTombstone.objects.exists()


def test_a_thread_whose_rest_is_still_to_go_says_so(admin, yard: Yard):
    thread = yard.thread()
    Thread.objects.filter(pk=thread.pk).update(workspace=None)
    assert b"(is being deleted)" in admin.get(address(Thread)).content
    assert b"The thread is being deleted." in admin.get(address(Thread, "change", thread.pk)).content


def test_staff_without_the_permission_deletes_nothing(yard):
    staff = signed_in(yard.person("sam", is_staff=True))
    thread = yard.thread()
    staff.post(address(Thread, "delete", thread.pk), {"post": "yes"})
    assert Thread.objects.filter(pk=thread.pk).exists()
