"""The REST API of the store."""

from ninja import Router

router = Router(tags=["Store"])
