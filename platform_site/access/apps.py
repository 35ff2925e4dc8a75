from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccessConfig(AppConfig):
    name = "platform_site.access"
    verbose_name = "Access"

    def ready(self) -> None:
        from platform_site.access import authentication, default_workspace

        # Rows may have gone (a flushed or freshly made database): what is remembered of them must go too.
        post_migrate.connect(lambda **_: default_workspace.forget_default_workspace(), sender=self, weak=False)
        post_migrate.connect(lambda **_: authentication.forget_keys(), sender=self, weak=False)
