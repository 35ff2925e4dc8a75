from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.store.backends import backend, store  # noqa: F401
