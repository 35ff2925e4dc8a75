"""`manage.py install_dependencies`: what a langgraph.json names under `dependencies`, put beside our own packages."""

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from platform_site.core.config import ConfigError, load_config
from platform_site.installation.environment import CannotInstall, install
from platform_site.installation.requirements import requirements_of


class Command(BaseCommand):
    help = "Install the dependencies that a langgraph.json names into this environment, for images. See `make serve`."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", type=Path, help="Path of the langgraph.json.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            config = load_config(options["config"])
            if wanted := requirements_of(config):
                install(config, Path(sys.executable), wanted)
        except (ConfigError, CannotInstall) as problem:
            self.stderr.write(f"switchyard: {problem}")
            sys.exit(1)
