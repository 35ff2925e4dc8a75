"""What the reloader lives through."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import autoreload

from platform_site.processes import reloading


class LosingOne(dict[str, Any]):
    """Modules of which one is gone as soon as all were listed, the first time."""

    is_first = True

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        if self.is_first:
            self.is_first = False
            yield "its.import.failed"


def test_a_module_whose_import_fails_while_all_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = LosingOne(sys.modules)
    monkeypatch.setattr(autoreload, "sys", SimpleNamespace(modules=modules))
    with pytest.raises(KeyError):
        reloading._djangos_module_files()
    modules.is_first = True
    assert Path(reloading.__file__).resolve() in reloading.module_files()
