"""Nothing leaves a run with a secret in it, wherever in an event the secret stands."""

import pytest

from shuntyard.agents.clean import redacted
from shuntyard.agents.run import Tally, emitter
from shuntyard.events import Event, Guarded, Progress, StepDone, StepStarted
from shuntyard.guard.redact import Redactor
from shuntyard.steps import Failure, Verdict

KEY = "sk-proj-abcDEF1234567890abcdef"
REDACTOR = Redactor({})


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass


def done(**more: object) -> StepDone:
    return StepDone.model_validate(
        {"run": "r", "at": 1.0, "path": "n1", "name": "read", "kind": "tool", "status": "done", **more}
    )


@pytest.mark.parametrize("before", ["", "\n", "\t", " ", '"'])
def test_a_secret_goes_whatever_stands_before_it(before: str) -> None:
    failure = Failure(code="x", message=f"denied:{before or ' '}{KEY}")
    verdict = Verdict(decision="deny", rule="r", reason=f"not{before or ' '}{KEY}")
    for event in (
        done(summary=f"{before}{KEY}"),
        done(failure=failure),
        Guarded(run="r", at=1.0, path="n1", tool="read", verdict=verdict),
        Progress(run="r", at=1.0, what=f"see{before or ' '}{KEY}"),
    ):
        heard = Heard()
        emitter([heard], REDACTOR, Tally())(event)
        (shown,) = heard.events
        assert KEY not in shown.model_dump_json() and "[secret:key]" in shown.model_dump_json()
        assert KEY not in redacted(event, REDACTOR).model_dump_json()


def test_what_is_clean_is_handed_on_as_the_same_object() -> None:
    heard = Heard()
    emit = emitter([heard], REDACTOR, Tally())
    events = [done(summary="42 rows"), StepStarted(run="r", at=1.0, path="n1", name="read", kind="tool")]
    for event in events:
        emit(event)
    assert all(one is two for one, two in zip(events, heard.events, strict=True))
