"""The app that a server started by tests has in addition: it brings the spies with it."""

from django.apps import AppConfig


class Spies(AppConfig):
    name = "tests.spies"
    label = "spies"

    def ready(self) -> None:
        from tests.spies.install import install

        install()
