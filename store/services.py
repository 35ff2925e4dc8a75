"""Writes of the store."""

from platform_site.access.principal import Principal
from platform_site.core.quotas import require_free_disk
from store.operations import namespace_of, on_store
from store.schemas import ItemDelete, ItemPut


async def item_put(principal: Principal, body: ItemPut) -> None:
    """Store an item in the place of one of the same name.

    Raises `BadRequest`, `BadLabel`, `Unprocessable`, and `InsufficientStorage` if the disk is nearly full.
    """
    require_free_disk()
    namespace = namespace_of(body.namespace)
    # What is absent is left to `langgraph.json`.
    ttl = {"ttl": body.ttl} if "ttl" in body.model_fields_set else {}
    await on_store(principal, lambda store: store.aput(namespace, body.key, body.value, body.index, **ttl))


async def item_delete(principal: Principal, body: ItemDelete) -> None:
    """Delete an item with its vectors, if it is there."""
    namespace = namespace_of(body.namespace)
    await on_store(principal, lambda store: store.adelete(namespace, body.key))
