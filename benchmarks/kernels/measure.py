"""The package's engine and builds of one's own on the same work, one after the other in every round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ...errors import ModelUnavailable, UsageError
from ...serving.fetch import ensure
from ...serving.kernels import kernels, usable
from ...serving.knobs.knobs import Knobs, threads_of
from ...serving.knobs.lone import Lone, lone
from ...serving.supervise import engines_folder
from ...settings import Settings, load
from ..sharing.engines import words

NAME = "kernels"
DEFAULT = "package"
"""The engine that every build is compared with."""


def run(
    *,
    models: str = "smollm2-135m,qwen2.5-coder-0.5b,qwen2.5-coder-1.5b",
    engine: str = "",
    prompt: int = 1200,
    tokens: int = 48,
    slots: int = 8,
    rounds: int = 3,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compare the builds in the folders ``engine`` (with commas; none: that of ``engine_path``) with the package's.

    Per model a prompt of about ``prompt`` tokens, an answer of ``tokens``, and ``slots`` answers at once; of ``rounds``
    rounds the median counts. Raises UsageError without a build, ModelUnavailable for one that fails the engine's check.
    """
    settings, say = load({}), say or (lambda text: None)
    named = [Path(folder).expanduser().absolute() for folder in engine.split(",") if folder]
    builds = named or [path.expanduser().absolute() for path in [settings.engine_path] if path is not None]
    if not builds:
        raise UsageError("engine='' names no build to compare; write engine=FOLDER or set engine_path.")
    names = {DEFAULT: "", **{str(build): str(build) for build in builds}}
    found: dict[str, Any] = {"prompt": prompt, "tokens": tokens, "slots": slots, "threads": threads_of(settings)}
    found["engines"] = {name: kernels(build).model_dump(mode="json") for name, build in names.items()}
    found["models"] = {}
    for model in models.split(","):
        weights = ensure(model, settings)[0]
        _prove(weights, builds, settings)
        knobs = Knobs(threads=threads_of(settings))
        with _engines(partial(lone, weights, knobs), names) as engines:
            measured = {
                "prompt": _rounds(engines, rounds, partial(_prompt, prompt)),
                "answer": _rounds(engines, rounds, partial(_answer, tokens)),
            }
        with _engines(partial(lone, weights, knobs, plain=slots), names) as engines:
            measured["answers"] = _rounds(engines, rounds, partial(_answers, slots, tokens))
        found["models"][model] = measured
        say(f"{model}: {measured}")
    return found


def _prove(weights: Path, builds: list[Path], settings: Settings) -> None:
    why: list[str] = []
    for build in builds:
        if not usable(build, weights, engines_folder(settings), threads=threads_of(settings), tell=why.append):
            raise ModelUnavailable(f"{why[-1]}; nothing is measured with it.")


@contextmanager
def _engines(start: Callable[..., Any], names: Mapping[str, str]) -> Iterator[dict[str, Lone]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(start(build=build)) for name, build in names.items()}


def _rounds(engines: dict[str, Lone], rounds: int, work: Callable[[Lone, int], float]) -> dict[str, dict[str, float]]:
    """CPU milliseconds a token by every engine, and how many times less than by the package's in the same round."""
    took: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds):
        for name, engine in engines.items():
            took[name].append(work(engine, turn))
    return {
        name: {
            "ms": round(1000 * median(spent), 2),
            "ratio": round(median(usual / mine for usual, mine in zip(took[DEFAULT], spent, strict=True)), 2),
        }
        for name, spent in took.items()
    }


def _prompt(tokens: int, engine: Lone, turn: int) -> float:
    """CPU seconds a token of a prompt that is new in every round."""
    prompt = engine.read((("user", words(tokens, f"row {turn}")),))
    begin = engine.cpu()
    engine.answer(prompt, 1)
    return (engine.cpu() - begin) / len(prompt)


def _answer(tokens: int, engine: Lone, turn: int) -> float:
    prompt = engine.read((("user", f"Write a long story about town {turn}."),))
    engine.answer(prompt, 0)
    begin = engine.cpu()
    engine.answer(prompt, tokens, ignore_eos=True)
    return (engine.cpu() - begin) / tokens


def _answers(slots: int, tokens: int, engine: Lone, turn: int) -> float:
    """CPU seconds a token when every slot writes."""
    prompts = [engine.read((("user", f"Write a long story about town {turn}-{slot}."),)) for slot in range(slots)]
    for slot, prompt in enumerate(prompts):
        engine.answer(prompt, 0, id_slot=slot)
    with ThreadPoolExecutor(slots) as pool:
        begin = engine.cpu()
        asked = [
            pool.submit(engine.answer, prompt, tokens, id_slot=slot, ignore_eos=True)
            for slot, prompt in enumerate(prompts)
        ]
        for one in asked:
            one.result()
        return (engine.cpu() - begin) / (slots * tokens)
