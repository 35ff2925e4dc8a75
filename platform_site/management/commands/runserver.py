"""`manage.py runserver`: the same as `serve` on Daphne, starting again when code changes."""

import argparse
import os
from typing import Any

from daphne.management.commands.runserver import Command as DaphneCommand
from daphne.management.commands.runserver import get_default_application
from django.conf import settings

from platform_site.management.commands.serve import banner, take_possession
from platform_site.processes import serving
from platform_site.processes.command_line import add_environment_flags
from platform_site.processes.http.daphne import LimitedServer
from platform_site.processes.reloading import watch
from platform_site.processes.serving import CannotStart


class Command(DaphneCommand):
    help = "Serve everything on Daphne and start again when code changes. For development."
    default_addr = settings.HOST
    default_port = str(settings.PORT)
    server_cls = LimitedServer

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        add_environment_flags(parser)

    def run(self, **options: Any) -> None:
        watch()
        super().run(**options)

    def inner_run(self, *args: Any, **options: Any) -> None:
        # Only the process that serves comes here: under the reloader that is the child.
        try:
            listener, url = take_possession()
        except CannotStart as reason:
            self.stderr.write(f"switchyard: {reason}")
            self.stderr.flush()
            # Under the reloader this is not the main thread: nothing else would end the process.
            os._exit(1)
        listener.close()
        serving.ensure_started()
        self.stdout.write(banner(url))
        self.stdout.flush()
        super().inner_run(*args, **options)

    def get_application(self, options: dict[str, Any]) -> Any:
        # Static files come from the application itself, with and without DEBUG.
        return get_default_application()
