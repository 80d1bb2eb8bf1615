"""Decides whether a call may happen with these values from these sources, and says why.

The first rule that matches decides; what no rule allows is denied; a guard that fails denies. A call that
needs a person waits for exactly that person's yes to exactly these arguments. Secrets never leave in text.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .approve import FlagApprover
    from .gate import PolicyGate, guarded
    from .redact import Redactor
    from .rules import Rule, default_rules, rules_from

__all__ = ["FlagApprover", "PolicyGate", "Redactor", "Rule", "default_rules", "guarded", "rules_from"]

__getattr__ = lazy(
    __name__,
    {
        "FlagApprover": ".approve",
        "PolicyGate": ".gate",
        "Redactor": ".redact",
        "Rule": ".rules",
        "default_rules": ".rules",
        "guarded": ".gate",
        "rules_from": ".rules",
    },
)
