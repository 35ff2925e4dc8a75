"""What a process imports before it has to."""

import subprocess
import sys


def test_a_command_waits_for_neither_langgraph_nor_an_http_client() -> None:
    program = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'platform_site.settings'; django.setup()\n"
        "print(sorted({'langgraph', 'langchain_core', 'httpx'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == "[]\n"


def test_a_server_without_redis_does_not_import_its_client() -> None:
    program = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'platform_site.settings'; django.setup()\n"
        "import platform_site.api_urls\n"
        "from platform_site.processes.background_tasks import background_tasks\n"
        "assert background_tasks()\n"
        "print(sorted({'redis', 'celery', 'kombu'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == "[]\n"
