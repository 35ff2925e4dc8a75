"""What holds for all samples."""

import subprocess
import sys

from platform_site.core.config import load_config
from platform_site.core.graphs.registry import GraphRegistry

LOAD = """
import sys
from platform_site.core.config import load_config
from platform_site.core.graphs.registry import GraphRegistry
assert "langgraph" not in sys.modules, "the registry must not import langgraph before graphs are loaded"
registry = GraphRegistry(load_config(None))
registry.load()
assert not registry.failures, registry.failures
heavy = {"langchain", "openai", "anthropic", "numpy", "pandas"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_they_load_without_warnings_and_say_what_they_show() -> None:
    config = load_config(None)
    registry = GraphRegistry(config)
    registry.load()
    assert registry.failures == {}
    assert config.warnings == []
    assert all(spec.description for spec in config.graphs.values())


def test_they_import_no_heavy_package() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


async def test_they_have_schemas_and_drawings() -> None:
    registry = GraphRegistry(load_config(None))
    for graph_id in registry.ids:
        schemas = await registry.schemas(graph_id, {})
        assert schemas["input_schema"]
        assert schemas["output_schema"]
        assert schemas["state_schema"]
        assert len((await registry.drawing(graph_id, {}, True))["nodes"]) > 2
    assert (await registry.schemas("slow", {}))["context_schema"]["properties"].keys() == {"steps", "delay"}
