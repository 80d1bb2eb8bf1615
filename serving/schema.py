"""JSON schemas as grammars, and the check of what a grammar should have ensured."""

from __future__ import annotations

import json
from typing import Any

from ..errors import OutputMalformed, UsageError


def compact(schema: dict[str, Any]) -> str:
    """Return a grammar for JSON without optional blanks: weak models otherwise emit them to the limit."""
    strict = {**schema, "x-guidance": {"whitespace_flexible": False}}
    return f"%llguidance {{}}\nstart: %json {json.dumps(strict)}"


def conforms(text: str, schema: dict[str, Any], model: str) -> None:
    """Check an answer: a schema that the engine cannot compile is silently not enforced.

    Raises OutputMalformed, and UsageError for what is no schema.
    """
    import jsonschema

    try:
        jsonschema.validate(json.loads(text), schema)
    except ValueError as error:
        raise OutputMalformed(
            f"the answer of {model!r} is not JSON ({error}): {text[:80]!r}; simplify the JSON schema."
        ) from None
    except jsonschema.ValidationError as error:
        raise OutputMalformed(
            f"the answer of {model!r} breaks the JSON schema ({error.message[:200]}): {text[:80]!r}; simplify it."
        ) from None
    except jsonschema.SchemaError as error:
        raise UsageError(f"the JSON schema is not valid: {error.message[:200]}; correct it.") from None
