#!/usr/bin/env python
"""Command-line entry point of the Switchyard project."""

import os
import sys

from platform_site.processes.command_line import apply_to_environment, keep_files_private


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
    apply_to_environment(sys.argv)
    keep_files_private(sys.argv)
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        # A wrong setting: its own sentence says all, a traceback would hide it.
        sys.exit(f"switchyard: {problem}")


if __name__ == "__main__":
    main()
