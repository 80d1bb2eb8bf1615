"""A model behind a URL: `python examples/remote_model.py http://127.0.0.1:8080/v1 NAME [KEY_ENV]`.

Any server with OpenAI's interface will do. A provider that litellm knows needs no URL:
`RemoteModel(model="anthropic/claude-sonnet-4-5")`. Keys stay in the environment.
"""

import sys
from decimal import Decimal
from pathlib import Path

from shuntyard import Agent
from shuntyard.settings import RemoteModel, load
from shuntyard.steps import Limits

DATA = Path(__file__).parent / "data"


def main(url: str, name: str, key_env: str = "") -> str:
    """Ask the model at ``url`` for a plan, and spend at most five cents on the task."""
    remote = RemoteModel(url=url, model=name, key_env=key_env, input_price=Decimal(1), output_price=Decimal(4))
    settings = load({"workspace": DATA, "models": {"there": remote}, "model": "there", "memory": False})
    result = Agent(settings=settings).run_sync(
        "Which crop has the highest price per kilo?", limits=Limits(max_cost=Decimal("0.05"))
    )
    return f"{result.answer}\n({result.status}, {result.usage.total} tokens, ${result.cost:f})"


if __name__ == "__main__":
    print(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
