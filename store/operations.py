"""The way to a workspace's store: on the state loop, where no graph blocks it, with the errors of the API."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from platform_site.access.principal import Principal
from platform_site.core.config import ConfigError
from platform_site.core.errors import ApiError, BadRequest, Unprocessable
from platform_site.core.loops import state_loop

if TYPE_CHECKING:
    from platform_site.core.items.store import ItemStore
    from platform_site.core.items.stores import WorkspaceStore

T = TypeVar("T")


class BadLabel(ApiError):
    """A label that no namespace has. The one error that is answered as bare text."""

    status = 422


def namespace_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels as a namespace. Raises `BadLabel`."""
    for label in labels:
        if not label or "." in label:
            raise BadLabel(f"Namespace label {label!r} must be a non-empty string without periods")
    return tuple(labels)


async def on_store(principal: Principal, work: Callable[["WorkspaceStore"], Awaitable[T]]) -> T:
    """What `work` makes of the caller's store. Raises `ApiError` for what the store refuses."""

    async def there() -> T:
        # Imported by the first call: LangGraph takes its time.
        from platform_site.core.items.configured import store_for

        return await work(store_for(principal.workspace_id))

    return await _answered(there)


async def on_items(work: Callable[["ItemStore"], Awaitable[T]]) -> T:
    """The same for what LangGraph's interface has no word for; the workspace is then the first label."""

    async def there() -> T:
        from platform_site.core.items.configured import loop_stores

        return await loop_stores().call(work)

    return await _answered(there)


async def _answered(work: Callable[[], Awaitable[T]]) -> T:
    from langgraph.store.base import InvalidNamespaceError

    from platform_site.core.items.embeddings import EmbeddingFailed
    from platform_site.core.items.filters import UnsupportedOperator
    from platform_site.core.items.store import NotStorable

    async def call() -> T:
        return await work()

    try:
        return await state_loop().run(call())
    except (InvalidNamespaceError, UnsupportedOperator) as error:
        raise BadRequest(str(error)) from error
    except NotStorable as error:
        raise Unprocessable(str(error)) from error
    except (EmbeddingFailed, ConfigError) as error:
        # Not the caller's mistake.
        raise ApiError(str(error), status=503) from error
