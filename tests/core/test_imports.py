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
