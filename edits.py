"""What a person changed of a call before it was made."""

from __future__ import annotations

import re

from .messages import Frozen


class Edit(Frozen):
    """Arguments that a person put in the place of planned ones."""

    by: str
    before: str
    """Digest of the planned call."""
    after: str
    """Digest of the call that was made."""
    was: str
    """The changed arguments as planned, one a line, redacted and shortened."""
    now: str
    """The same as the person gave them."""

    def replaced(self, file: str) -> bool:
        """True when the planned arguments name ``file``, wherever it was to lie, and those of the person do not."""
        name = re.compile(rf"(?<![\w.-]){re.escape(file.rpartition('/')[2])}(?![\w-]|\.\w)", re.IGNORECASE)
        return name.search(self.was) is not None and name.search(self.now) is None
