"""Spies on the whole test suite: who reaches what belongs to another tenant is found by any test that does it.

`violations.py` is where spies tell what they saw; a test during which one was told fails. `statements.py` looks at SQL
on Django's connections, `raw_statements.py` at that of savers and stores, `threads.py` at the threads that a saver is
asked for. `exceptions.py` names the code that may do otherwise, each with its reason. `install.py` puts all in place,
in the process of the tests and, by `settings.py`, in every server that the tests start.
"""
