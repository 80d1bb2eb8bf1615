"""Every number that Shuntyard claims, measured again by ``shuntyard bench NAME``: one module or folder per benchmark.

Each has ``NAME``, ``run(...)``, which returns plain JSON values, and ``describe(result)``, which makes a table of them.
"""
