"""All that this server does without being asked, in one list; `core/background.py` keeps it alive."""

from platform_site.core.background import Task


def background_tasks() -> list[Task]:
    """The tasks of a serving process."""
    return []
