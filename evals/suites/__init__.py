"""The suites that come with Shuntyard: one module each, with cases, solvers and a scorer under the name ``SUITE``.

``evals/registry.py`` finds them by name; data is read only when a suite runs.
"""

__all__ = ()
