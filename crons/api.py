"""The REST API of crons."""

from ninja import Router

router = Router(tags=["Crons"])
