"""Takes secrets out of text before it is stored, sent or shown.

Only what is certainly a secret goes: values of the environment's own secrets, key formats with a known
prefix, and card numbers with a valid check digit. Hashes, dates, ids and ordinary numbers stay.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

SECRET_NAME = re.compile(r"(?:_|^)(?:API_?)?(?:KEY|TOKEN|PASSWD)$|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
MIN_LENGTH = 8
_KEYS = (
    r"sk-(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",
    r"github_pat_[A-Za-z0-9_]{30,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"hf_[A-Za-z0-9]{30,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
)
_CARDS = (
    r"(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|6011|65\d{2})(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?P=gap)\d{4}",
    r"3[47]\d{2}(?P<gap3>[ -]?)\d{6}(?P=gap3)\d{5}",
)
_FORMATS = (
    # An unfinished block ends at a quote at the latest, so that JSON around it stays JSON.
    r"(?P<pem>-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\")|\Z))",
    rf"(?P<key>(?<![A-Za-z0-9])(?:{'|'.join(_KEYS)}))",
    r"(?P<head>\b(?:[Bb]earer|BEARER) +)(?P<head_value>(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{16,}=*)",
    r"(?P<auth>\b[Aa]uthorization\W{1,5}(?:[Bb]asic|[Tt]oken) +)(?P<auth_value>[A-Za-z0-9._~+/-]{8,}=*)",
    r"(?P<url>://[^\s/:@\"'<>]{0,100}:)(?P<url_value>[^\s/@\"'<>]{1,200})(?=@)",
    # Not a JSON number: redacting one would leave JSON that nobody can read.
    rf"(?P<card>(?<![\d.+\[-])(?<!\d[ ,])(?<!\":)(?<!\": )(?:{'|'.join(_CARDS)})(?![-,]?\.?\d))",
)

_MARKS = (
    *("-----BEGIN", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "AKIA", "ASIA", "xox"),
    *("AIza", "hf_", "npm_", "pypi-", "k_live_", "k_test_", "eyJ", "earer ", "BEARER ", "uthorization", "://"),
)
"""Every secret but a card number has one of these, whatever stands around it."""
# A digit first and what may not stand before it after, so that the search skips from digit to digit. In JSON the
# digits of an escaped character may stand there.
_CARD_MARK = re.compile(r"[2-6](?:(?<![\d.+\[-].)|(?<=\\u[\da-fA-F]{4}.))\d{3}[ -]?\d{4,6}[ -]?\d{4,5}")
_SHORT = 24
"""Characters up to which the pattern itself is faster than the marks."""


class Redactor:
    """Replaces secrets by ``[secret:KIND]``; text without any comes back as the same object.

    The environment's secrets (``*_KEY``, ``*_TOKEN``, ``*SECRET*``, ``*PASSWORD*``, eight characters or
    more) are read once, when it is made.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Take secret values from ``environ`` (default: the process's)."""
        values = os.environ if environ is None else environ
        self._names = {
            form: name
            for name, value in values.items()
            if SECRET_NAME.search(name) and len(value.strip()) >= MIN_LENGTH and not os.path.exists(value.strip())
            for form in _forms(value.strip())
        }
        self._marks = (*_MARKS, *self._names)
        # Longest first: a secret that contains another must go as a whole.
        own = "|".join(re.escape(form) for form in sorted(self._names, key=len, reverse=True))
        parts = [f"(?P<own>{own})", *_FORMATS] if own else _FORMATS
        self._pattern = re.compile("|".join(parts))

    def suspects(self, text: str) -> bool:
        """Return whether there may be a secret in ``text``, plain or as JSON; false is certain, and found fast."""
        for mark in self._marks:
            if mark in text:
                return True
        return _CARD_MARK.search(text) is not None

    def text(self, text: str) -> str:
        """Return ``text`` without secrets."""
        if len(text) > _SHORT and not self.suspects(text):
            return text
        return self._pattern.sub(self._replace, text)

    def value(self, value: Any) -> Any:
        """Return JSON data without secrets in its strings and keys; numbers and structure stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(part) for part in value]
        # Before the instance check, which is slow for a class that anything may be registered with.
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(key) if isinstance(key, str) else key: self.value(part) for key, part in value.items()}
        return value

    def _replace(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        if groups.get("own"):
            return f"[secret:{self._names[match.group()]}]"
        if groups["card"]:
            return "[secret:card]" if luhn(match.group()) else match.group()
        for lead, kind in (("head", "bearer"), ("auth", "authorization"), ("url", "password")):
            if groups[lead]:
                return f"{groups[lead]}[secret:{kind}]"
        return "[secret:private key]" if groups["pem"] else "[secret:key]"


def _forms(secret: str) -> tuple[str, ...]:
    """``secret`` as it stands in text, and in JSON with and without escapes of its letters."""
    return secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]


def luhn(digits: str) -> bool:
    """Return whether the check digit of a card number is right; blanks and dashes are skipped."""
    numbers = [int(char) for char in reversed(digits) if char.isdigit()]
    doubled = [sum(divmod(number * 2, 10)) for number in numbers[1::2]]
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0
