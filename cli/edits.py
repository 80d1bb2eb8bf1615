"""Arguments as a person types them: ``NAME=VALUE``, or a JSON object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import EditInvalid
from ..protocols import Edited


def read_edit(text: str) -> tuple[str, Any]:
    """Read ``path="b.txt"``: a name and a JSON value; what is no JSON is text as it stands. Raises EditInvalid."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise EditInvalid(f"{text!r} is not NAME=VALUE; write it like 'path=\"b.txt\"'.")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value.strip()


def read_edited(edits: Sequence[str], args: str, *, by: str) -> Edited | None:
    """Return the arguments that the flags give, None when they give none. Raises EditInvalid."""
    if not edits and not args:
        return None
    given = _object(args) if args else {}
    return Edited({**given, **dict(read_edit(edit) for edit in edits)}, whole=bool(args), by=by)


def _object(text: str) -> dict[str, Any]:
    where = ""
    if not text.lstrip().startswith("{"):
        where = f"{text}: "
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EditInvalid(f"--args {text!r} is neither a JSON object nor a file to read: {error}.") from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise EditInvalid(f"--args: {where}not JSON: {error}; write all arguments as one object.") from None
    if not isinstance(value, dict):
        raise EditInvalid(f'--args: {where}{value!r:.80} is no object; write all arguments as {{"name": value}}.')
    return value
