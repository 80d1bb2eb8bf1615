"""``shuntyard models predict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import out
from .options import Options, takes
from .root import single

if TYPE_CHECKING:
    from ..serving.predict import Asked, Predictor

app = single()


@app.command()
@takes(Options)
def predict(
    options: Options,
    name: Annotated[str, typer.Argument(help="Name of a local model, or the path of a GGUF file.")],
    prompt: Annotated[int, typer.Option("--prompt", metavar="N", help="Tokens of the prompt.")] = 512,
    output: Annotated[int, typer.Option("--output", metavar="N", help="Tokens of the answer.")] = 64,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Equal calls at once.")] = 1,
    cached: Annotated[int, typer.Option("--cached", metavar="N", help="Prompt tokens that the engine knows.")] = 0,
    kv: Annotated[str, typer.Option("--kv", metavar="TYPE", help="Type of keys/values, such as q8_0 or f16.")] = "",
    deadline: Annotated[float | None, typer.Option("--deadline", metavar="S", help="Say what fits it.")] = None,
    itl: Annotated[float | None, typer.Option("--itl", metavar="S", help="Say how many calls at once keep it.")] = None,
    memory: Annotated[float | None, typer.Option("--memory", metavar="MIB", help="Say which context fits it.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show where the time goes, by operator.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Measure this model, also where it is known.")] = False,
) -> int:
    """Predict what a call takes; at first use the machine is measured for as long as a long prompt takes."""
    from functools import partial

    import anyio

    from ..serving.predict import Asked
    from ..serving.predict import measured as opened
    from ..serving.predict.predict import kv_type_of

    for key, value in (("--deadline", deadline), ("--itl", itl), ("--memory", memory)):
        if value is not None and not value > 0:
            raise UsageError(f"{key} {value!r} is not above 0; give a positive number.")
    asked = Asked(prompt, output, batch, cached)
    kv_type = kv_type_of(kv) if kv else ""
    settings = options.settings()
    predictor, anew = anyio.run(partial(opened, name, settings, asked=asked, anew=measure, say=out.note))
    if kv_type:
        predictor = predictor.with_kv(kv_type)
    body: dict[str, Any] = {"name": name, "measured": anew, **predictor.predict(asked).model_dump()}
    body |= {"quantisation": {kind: round(share, 3) for kind, share in predictor.shape.mix.items()}}
    body |= {"fits": _fits(predictor, asked, deadline, itl, memory)}
    if explain:
        body |= {"operators": [bound.model_dump() for bound in predictor.explain(asked)]}
    if options.json:
        out.result_json(body)
    else:
        out.result(_text(body))
    return 0


def _fits(
    predictor: Predictor, asked: Asked, deadline: float | None, itl: float | None, memory: float | None
) -> dict[str, Any]:
    setup = predictor.setup
    found: dict[str, Any] = {"knee": predictor.knee(prompt=asked.prompt), "slots": setup.slots}
    found["context"] = setup.context
    if deadline is not None:
        found |= {
            "deadline": deadline,
            "longest_prompt": predictor.longest_prompt(deadline=deadline, output=asked.output, batch=asked.batch),
            "longest_output": predictor.longest_output(
                deadline=deadline, prompt=asked.prompt, batch=asked.batch, cached=asked.cached
            ),
        }
    if itl is not None:
        found |= {"itl": itl, "largest_batch": predictor.largest_batch(itl=itl, prompt=asked.prompt)}
    if memory is not None:
        found |= {"memory_mib": memory, "longest_context": predictor.longest_context(memory_mib=memory)}
    return found


def _worth(fits: Mapping[str, Any]) -> str:
    more = f"; the engine has {fits['slots']} slots" if fits["knee"] > fits["slots"] else ""
    return f"one more would add less than 10 % of tokens per second{more}"


def _text(body: Mapping[str, Any]) -> str:
    fits = body["fits"]
    rows = [
        ("first token", f"{body['ttft']:.2f} s", body["ttft_binds"]),
        ("between tokens", f"{body['itl'] * 1000:.1f} ms", body["itl_binds"]),
        ("whole answer", f"{body['seconds']:.2f} s", f"{body['binds']}, give or take {body['spread']:.0%}"),
        ("engine's processor", f"{body['cpu']:.2f} s", ""),
        ("memory", f"{body['memory_mib']:.0f} MiB", "keys and values for the whole context included"),
        ("worth at once", f"{fits['knee']} calls", _worth(fits)),
    ]
    if "deadline" in fits:
        within = f"within {fits['deadline']:g} s"
        rows.append(("longest prompt", f"{fits['longest_prompt']} tokens", f"{within}, with this answer"))
        rows.append(("longest answer", f"{fits['longest_output']} tokens", f"{within}, with this prompt"))
    if "itl" in fits:
        within = f"with {fits['itl']:g} s between tokens"
        if fits["largest_batch"] > fits["slots"]:
            within += f", had it so many slots: it has {fits['slots']}, further calls wait"
        rows.append(("largest batch", f"{fits['largest_batch']} calls", within))
    if "memory_mib" in fits:
        within = f"in {fits['memory_mib']:g} MiB"
        if fits["longest_context"] > fits["context"]:
            within += f", were it started with so many: it has {fits['context']}"
        rows.append(("longest context", f"{fits['longest_context']} tokens", within))
    text = out.table(rows, header=("", "", ""))
    if "operators" not in body:
        return text
    operators = [
        (
            item["phase"],
            item["operator"],
            item["binds"],
            f"{item['gflop']:.2f}",
            f"{item['gb']:.3f}",
            f"{item['seconds']:.3f}",
            f"{item['share']:.0%}",
        )
        for item in body["operators"]
    ]
    header = ("PHASE", "OPERATOR", "BOUND BY", "GFLOP", "GB", "SECONDS", "SHARE")
    return f"{text}\n\n{out.table(operators, header=header)}"
