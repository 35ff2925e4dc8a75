"""From text to vectors: what `store.index.embed` of `langgraph.json` names."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Protocol

from platform_site.core.config import Config, ConfigError, GraphSpec, spec_of
from platform_site.core.graphs.loading import describe, import_object
from platform_site.core.loops import graph_loop

# Longest time that one call of a model may take.
EMBED_SECONDS = 60.0
# Vectors are stored as numbers of 32 bits.
_LARGEST = 3.4e38
_PROVIDER = re.compile(r"(?P<provider>\w+):(?P<model>.+)")


class EmbeddingFailed(RuntimeError):
    """Text could not be turned into vectors; the message says what the model or the function did."""


class Embeddings(Protocol):
    """LangChain's interface, as far as it is used here."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]: ...

    async def aembed_query(self, text: str) -> list[float]: ...


class Embedder:
    """An embedding model whose answers are checked: one vector of `dims` finite numbers for each text.

    `fields` are the paths of an item's value that are embedded, each as a text of its own; `$` is the whole value.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        dims: int,
        name: str,
        fields: tuple[str, ...] = ("$",),
        is_on_graph_loop: bool = False,
    ) -> None:
        """`is_on_graph_loop`: the model is asked on `graph_loop`, and on the current loop otherwise."""
        self._is_on_graph_loop = is_on_graph_loop
        self.dims = dims
        self.name = name
        self.fields = fields
        self._embeddings = embeddings

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of texts to be found. Raises `EmbeddingFailed`."""
        if not texts:
            return []
        different = list(dict.fromkeys(texts))
        vectors = await self._asked(self._embeddings.aembed_documents(different))
        if len(vectors) != len(different):
            raise EmbeddingFailed(f"`{self.name}` made {len(vectors)} vectors of {len(different)} texts")
        found = dict(zip(different, map(self._checked, vectors), strict=True))
        return [found[text] for text in texts]

    async def query(self, text: str) -> list[float]:
        """The vector of a text to look for. Raises `EmbeddingFailed`."""
        return self._checked(await self._asked(self._embeddings.aembed_query(text)))

    async def _asked(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(EMBED_SECONDS):
                return await (graph_loop().run(call) if self._is_on_graph_loop else call)
        except TimeoutError:
            raise EmbeddingFailed(f"`{self.name}` did not answer in time") from None
        except Exception as error:
            raise EmbeddingFailed(f"`{self.name}` failed: {type(error).__name__}: {error}") from error

    def _checked(self, vector: Any) -> list[float]:
        try:
            numbers = [float(number) for number in vector]
        except (TypeError, ValueError):
            raise EmbeddingFailed(f"`{self.name}` made something that is no list of numbers") from None
        if len(numbers) != self.dims:
            raise EmbeddingFailed(
                f"`{self.name}` made a vector of {len(numbers)} numbers, but `store.index.dims` is {self.dims}"
            )
        if not all(abs(number) < _LARGEST for number in numbers):
            raise EmbeddingFailed(f"`{self.name}` made a vector with a number that is not finite")
        return numbers


def embedder(config: Config) -> Embedder | None:
    """What `store.index` asks for, None without it. Raises `ConfigError`.

    A new one for every event loop: clients of providers keep connections that belong to the loop. What the project
    brings is one object for all of them, so its asynchronous code is called on one loop.
    """
    index = config.store.index if config.store else None
    if index is None:
        return None
    found = find_embed(config)
    if not hasattr(found, "aembed_documents"):
        from langgraph.store.base import ensure_embeddings

        # An asynchronous function is awaited, a synchronous one is called on another thread.
        found = ensure_embeddings(found)
    fields = tuple(index.fields_ or ["$"])
    is_on_graph_loop = _function(config, index.embed) is not None and _is_asynchronous(found)
    return Embedder(found, dims=index.dims, name=index.embed, fields=fields, is_on_graph_loop=is_on_graph_loop)


def _is_asynchronous(embeddings: Any) -> bool:
    """Return whether these embeddings do more than call synchronous code in a thread."""
    from langchain_core.embeddings import Embeddings as Base
    from langgraph.store.base.embed import EmbeddingsLambda

    if isinstance(embeddings, EmbeddingsLambda):
        return hasattr(embeddings, "afunc")
    return getattr(type(embeddings), "aembed_documents", None) is not Base.aembed_documents


def check_embed(config: Config) -> None:
    """Raises `ConfigError` when `store.index.embed` names what is not there."""
    if config.store and config.store.index:
        find_embed(config)


def find_embed(config: Config) -> Any:
    """The function or the `Embeddings` object that `store.index.embed` names. Raises `ConfigError`."""
    index = config.store.index if config.store else None
    assert index is not None
    if spec := _function(config, index.embed):
        return _imported(spec, config)
    if _PROVIDER.fullmatch(index.embed):
        return _of_provider(config, index.embed)
    raise _wrong(config, f"expected `provider:model` or `path/to/file.py:name`, not {index.embed!r}")


def _function(config: Config, embed: str) -> GraphSpec | None:
    """Where a function is found; None for `provider:model`, whose provider is one word."""
    place, _, name = embed.rpartition(":")
    if ":" in place or "." not in place or not name.isidentifier():
        return None
    return spec_of(config.path, "store.index", embed)


def _imported(spec: GraphSpec, config: Config) -> Any:
    try:
        found = import_object(spec, config)
    except Exception as error:
        raise _wrong(config, describe(error, spec, config)) from error
    if not callable(found) and not hasattr(found, "aembed_documents"):
        raise _wrong(config, f"expected a function or an Embeddings object, but {spec.path} is neither")
    return found


def _of_provider(config: Config, embed: str) -> Any:
    provider = embed.partition(":")[0]
    try:
        from langchain.embeddings import init_embeddings
    except ImportError:
        raise _wrong(
            config,
            f"{embed!r} needs the package `langchain` and the one of its provider (such as `langchain-openai`); "
            "name both in `dependencies`",
        ) from None
    try:
        return init_embeddings(embed)
    except Exception as error:
        # Its messages name the missing package or key.
        raise _wrong(config, f"{embed!r} of provider {provider!r}: {error}") from error


def _wrong(config: Config, what: str) -> ConfigError:
    return ConfigError(f"{config.path}: `store.index.embed`: {what}")
