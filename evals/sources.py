"""Which code made a row: the version says it for releases, this hash says it for a checkout that is being worked on."""

from __future__ import annotations

import hashlib
from pathlib import Path


def code_digest() -> str:
    """Return a hash of every Python file of the package, without tests and examples; about 20 ms."""
    root = Path(__file__).parents[1]
    rooms = sorted(place for place in root.iterdir() if (place / "__init__.py").is_file())
    digest = hashlib.sha256()
    for path in [*sorted(root.glob("*.py")), *(file for room in rooms for file in sorted(room.rglob("*.py")))]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
