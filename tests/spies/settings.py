"""The settings of a server that tests start: the project's, and the spies."""

from platform_site.settings import *  # noqa: F403
from platform_site.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.spies"]
