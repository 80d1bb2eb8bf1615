"""A plan written by a person: two calls side by side, a third that joins them, and one that writes.

Nothing is compiled, so no model is asked for the plan. The guard still is: writing was allowed here.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from shuntyard import Agent, Plan, PlanBuilder
from shuntyard.settings import Settings, load

DATA = Path(__file__).parent / "data"
TASK = "Write how many kilograms were harvested per square metre."


def plan() -> Plan:
    """Two queries, their quotient, and a file."""
    p = PlanBuilder(TASK)
    kilos = p.query(sql="select sum(kg) from 'harvest.csv'", form="value")
    area = p.query(sql="select sum(area_m2) from greenhouse_beds", form="value")
    share = p.calculator(expression=p.text(kilos, " / ", area))
    p.write_file(path="yield.txt", content=p.text("kg per m2: ", share))
    return p.build()


def main(settings: Settings | None = None) -> str:
    """Run the plan on a copy of the sample files and return what was written."""
    with TemporaryDirectory() as folder:
        for name in ("harvest.csv", "greenhouse.json"):
            Path(folder, name).write_bytes((DATA / name).read_bytes())
        change = {"workspace": Path(folder), "approve": ("write_file",), "memory": False}
        agent = Agent(settings=(settings or load()).model_copy(update=change))
        result = agent.run_sync(TASK, plan=plan())
        written = Path(folder, "yield.txt")
        return written.read_text() if written.exists() else f"{result.status}: {result.answer}"


if __name__ == "__main__":
    print(main())
