"""The serializers of checkpoints: which types they rebuild, and how large a state may be."""

from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from platform_site.core.checkpoints.interface import Allowlist
from platform_site.core.config import config
from platform_site.core.errors import StateTooLarge

if TYPE_CHECKING:
    from platform_site.core.serialization.types import TypeRules


def require_state_size(size: int) -> None:
    """Raise `StateTooLarge` if a packed state, or a part of one, has more bytes than it may have."""
    if size > (limit := settings.MAX_STATE_BYTES) > 0:
        raise StateTooLarge(size, limit)


@cache
def _serde(allowlist: frozenset[tuple[str, ...]], rules: "TypeRules") -> Any:
    from platform_site.core.serialization.serializer import CheckpointSerializer
    from platform_site.core.serialization.types import AllowedTypes

    class BoundedSerializer(CheckpointSerializer):
        """A serializer that packs no value that is larger than a state may be."""

        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            packed = super().dumps_typed(obj)
            require_state_size(len(packed[1]))
            return packed

    return BoundedSerializer(AllowedTypes(allowlist, rules), json_types=rules.json_names)


def serializer(allowlist: Allowlist, rules: "TypeRules | None" = None) -> Any:
    """Return the serializer that rebuilds the project's types and those of the allowlist, made once for each.

    `rules` are those of the configuration that this process serves, unless they are given.
    """
    return _serde(frozenset(allowlist), config().type_rules if rules is None else rules)
