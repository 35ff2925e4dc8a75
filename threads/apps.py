from django.apps import AppConfig
from django.db.models.signals import post_migrate

from threads.search_terms import after_migrate


class ThreadsConfig(AppConfig):
    name = "threads"

    def ready(self) -> None:
        post_migrate.connect(after_migrate, sender=self)
