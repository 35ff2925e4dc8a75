from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        # Connects the receiver of `threads_deleting`.
        from runs import services  # noqa: F401
