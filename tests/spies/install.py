"""Puts all spies in place; Django is set up by then."""

from tests.spies import raw_statements, statements, threads


def install() -> None:
    """Watch this process from now on."""
    statements.install()
    raw_statements.install()
    threads.install()
