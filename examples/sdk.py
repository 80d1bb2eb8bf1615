"""A tool of your own beside the built-in ones: `python examples/sdk.py` in a checkout."""

from pathlib import Path

from shuntyard import Agent, tool
from shuntyard.settings import Settings, load

DATA = Path(__file__).parent / "data"


@tool
def pounds(kilograms: float) -> float:
    """Return a weight in pounds.

    Args:
        kilograms: The weight.
    """
    return round(kilograms * 2.20462, 2)


def main(settings: Settings | None = None) -> str:
    """Ask a question that needs the tool."""
    agent = Agent(tools=[pounds], settings=settings or load({"workspace": DATA}))
    result = agent.run_sync("How many pounds of radish were harvested in all?")
    return f"{result.answer}\n({result.status}, {result.usage.total} tokens, {result.seconds:.1f} s)"


if __name__ == "__main__":
    print(main())
