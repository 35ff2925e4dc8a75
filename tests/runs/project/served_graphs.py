"""The graphs of the tests as a project of a user, for `langgraph.json`: the tests and the server share the objects."""

from tests.runs.graphs import *  # noqa: F403
