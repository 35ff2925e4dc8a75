"""Flags of `serve` and `runserver` that settings need to know.

Settings read the environment once, when they are imported, which is before Django hands a command its arguments. So
`manage.py` reads these flags first and puts them into the environment: a flag and its variable are one thing.
"""

import argparse
import os
from collections.abc import Sequence

from platform_site.core.database.data_directory import keep_private

SERVING_COMMANDS = ("serve", "runserver")


def add_environment_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that stand for an environment variable; `dest` is the name of the variable."""
    parser.add_argument("--host", dest="HOST", help="Address to listen on (127.0.0.1; environment: HOST).")
    parser.add_argument("--port", dest="PORT", help="Port to listen on, 0 for any free one (2024; PORT).")
    parser.add_argument(
        "--config", dest="LANGGRAPH_CONFIG", metavar="PATH", help="Your langgraph.json (LANGGRAPH_CONFIG)."
    )
    parser.add_argument(
        "--data-dir",
        dest="DATA_DIR",
        metavar="PATH",
        help="Where everything is kept (.switchyard beside the langgraph.json; DATA_DIR).",
    )


def keep_files_private(argv: Sequence[str]) -> None:
    """Have the files that a command makes readable by their owner only: databases, keys, dumps.

    Packages are for every user of the machine, so the command that installs them is left alone.
    """
    if argv[1:2] != ["install_dependencies"]:
        keep_private()


def _address(text: str) -> tuple[str, str]:
    """Django's `[host:]port` as host and port, either of them possibly empty."""
    if text.isdigit():
        return "", text
    host, _, port = text.rpartition(":")
    return host.strip("[]"), port


def apply_to_environment(argv: Sequence[str]) -> None:
    """Put the flags of a serving command into the environment; other commands are left alone."""
    if len(argv) < 2 or argv[1] not in SERVING_COMMANDS:
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_environment_flags(parser)
    if argv[1] == "runserver":
        parser.add_argument("addrport", nargs="?", default="")
    # What is wrong with the flags is for the command's own parser to say: it knows all of them.
    parser.exit_on_error = False
    try:
        found, _ = parser.parse_known_args(argv[2:])
    except (argparse.ArgumentError, SystemExit):
        return
    given = {name: value for name, value in vars(found).items() if name.isupper() and value is not None}
    if getattr(found, "addrport", ""):
        host, port = _address(found.addrport)
        given |= {name: value for name, value in (("HOST", host), ("PORT", port)) if value}
    if os.environ.get("LANGGRAPH_CONFIG", "").lstrip().startswith("{") and "LANGGRAPH_CONFIG" in given:
        # There it is the default config of runs, which stays.
        given["LANGGRAPH_CONFIG_PATH"] = given.pop("LANGGRAPH_CONFIG")
    os.environ.update(given)
