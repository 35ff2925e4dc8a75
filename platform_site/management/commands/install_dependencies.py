"""`manage.py install_dependencies`: what a langgraph.json names under `dependencies`, put beside our own packages."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from platform_site.core.config import ConfigError, load_config


class Command(BaseCommand):
    help = "Install the dependencies that a langgraph.json names into this environment."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", type=Path, help="Path of the langgraph.json.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            wanted = load_config(options["config"]).install_arguments
        except ConfigError as problem:
            self.stderr.write(f"switchyard: {problem}")
            sys.exit(1)
        if not wanted:
            return
        self.stdout.write(f"Installing the dependencies of {options['config']}: {' '.join(wanted)}")
        self.stdout.flush()
        status = subprocess.run([*install_command(), *wanted], check=False).returncode
        if status:
            self.stderr.write(f"switchyard: the dependencies of {options['config']} could not be installed (see above)")
            sys.exit(1)


def install_command() -> list[str]:
    """An installer for this interpreter that keeps our own packages within the ranges they need."""
    ours = ["-r", str(settings.BASE_DIR / "pyproject.toml")]
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        # pip cannot read the ranges of a pyproject.toml without building it.
        return [sys.executable, "-m", "pip", "install", "--quiet"]
    return [uv, "pip", "install", "--quiet", "--python", sys.executable, *ours]
