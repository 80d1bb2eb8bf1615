"""Typed functions as JSON schemas, and arguments checked against them with errors that a model can mend."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Collection, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)

from ..errors import ArgumentsInvalid, UsageError
from ..protocols import Ctx, Pending
from ..steps import Bound, Step
from .values import only


class Signature:
    """What a function takes: its JSON schema, its injected parameters, and how to validate a call."""

    def __init__(self, function: Callable[..., Any], name: str, *, binds: Collection[str] = ()) -> None:
        """Read annotations and docstring; UsageError when a parameter has no type or the docstring is missing."""
        self.name = name
        self.injected: dict[str, type] = {}
        text = inspect.getdoc(function) or ""
        if not text.strip():
            raise UsageError(f"tool {name!r} has no docstring; say in its first line what the result is.")
        self.description, about = read_docstring(text)
        hints = _hints(function, name)
        self.returns = _returns(hints.get("return"))
        fields: dict[str, Any] = {}
        self._names: list[str] = []
        for parameter in inspect.signature(function).parameters.values():
            kind = self._injection(parameter, hints, name)
            if kind is not None:
                self.injected[parameter.name] = kind
                continue
            annotation = (
                _bindable(hints[parameter.name], parameter.name, name)
                if parameter.name in binds
                else hints[parameter.name]
            )
            default = ... if parameter.default is parameter.empty else parameter.default
            field = Field(default, alias=parameter.name, description=about.get(parameter.name))
            fields[f"a{len(self._names)}"] = (annotation, field)
            self._names.append(parameter.name)
        unknown = [bind for bind in binds if bind not in self._names]
        if unknown:
            raise UsageError(f"tool {name!r}: binds or paths name {unknown[0]!r}; the parameters are {self._listed()}")
        self._fields = fields
        self._partial: dict[frozenset[str], type[BaseModel]] = {}
        self.model = _model(fields, name)
        self.parameters = _plain_schema(self.model)

    @staticmethod
    def _injection(parameter: inspect.Parameter, hints: Mapping[str, Any], name: str) -> type | None:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise UsageError(
                f"tool {name!r}: parameter {parameter.name!r} cannot be given by name; make it a plain parameter."
            )
        if parameter.name not in hints:
            raise UsageError(
                f"tool {name!r}: parameter {parameter.name!r} has no annotation; write e.g. `{parameter.name}: str`."
            )
        hint = hints[parameter.name]
        return hint if hint in (Ctx, Step) else None

    def _listed(self) -> str:
        return ", ".join(self._names) or "none"

    def validate(self, args: Mapping[str, Any], *, skip: Collection[str] = ()) -> dict[str, Any]:
        """Return the arguments as the function wants them; ArgumentsInvalid lists every problem.

        Coerces gently: ``"3"`` to 3 for an integer, one value to a list of it, a 1×1 result to its value.
        ``skip`` names parameters that are not judged (values still to come, bound texts).
        """
        taken = {name: value for name, value in args.items() if name not in skip}
        judged = self.model if not skip else self._without(frozenset(skip))
        for _ in range(3):
            try:
                model = judged.model_validate(taken)
            except ValidationError as error:
                problems = [item for item in error.errors(include_url=False) if item["loc"]]
                mended = _mend(taken, problems)
                if mended is None:
                    raise ArgumentsInvalid("; ".join(self._explain(item) for item in problems)) from None
                taken = mended
            else:
                return {name: getattr(model, f"a{index}") for index, name in enumerate(self._names) if name not in skip}
        raise ArgumentsInvalid(
            f"{self.name}: the arguments {taken!r:.200} do not fit; the parameters are {self._listed()}"
        )

    def _without(self, skip: frozenset[str]) -> type[BaseModel]:
        """The model of the parameters that are not in ``skip``: those are neither missing nor unknown."""
        if skip not in self._partial:
            fields = {f"a{index}": name for index, name in enumerate(self._names)}
            self._partial[skip] = _model(
                {key: self._fields[key] for key in fields if fields[key] not in skip}, self.name
            )
        return self._partial[skip]

    def _explain(self, item: Any) -> str:
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            return f"{self.name}: argument {where!r} is unknown; the parameters are {self._listed()}"
        if item["type"] == "missing":
            return f"{self.name}: argument {where!r} is missing; the parameters are {self._listed()}"
        says = item["msg"].removeprefix("Input ").removeprefix("Value error, ")
        return f"{self.name}: argument {where!r} = {item['input']!r:.80} {says}"


def unknowable(value: Any) -> bool:
    """True when ``value`` is, or holds, a result that is not there yet."""
    if isinstance(value, Pending):
        return True
    if isinstance(value, Bound):
        return any(unknowable(item) for item in value.values.values())
    if isinstance(value, Mapping):
        return any(unknowable(item) for item in value.values())
    return isinstance(value, list | tuple) and any(unknowable(item) for item in value)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a Google docstring into its description (before the first section) and its Args by name."""
    body = re.split(
        r"\n\s*\n?(?=(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*(?:\n|$))", text
    )
    description = " ".join(body[0].split())
    about: dict[str, str] = {}
    for section in body[1:]:
        head, _, rest = section.partition("\n")
        if head.strip().rstrip(":") not in ("Args", "Arguments", "Parameters"):
            continue
        name = ""
        indent = _indent(rest)
        for line in rest.splitlines():
            match = re.match(r"\s*\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)", line)
            if match and _indent(line) <= indent:
                name, about[match[1]] = match[1], match[2].strip()
            elif name and line.strip():
                about[name] = f"{about[name]} {line.strip()}".strip()
    return description, about


def _indent(text: str) -> int:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return len(first) - len(first.lstrip())


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UsageError(
            f"tool {name!r}: the annotation {error.name!r} is not known at run time; import it at the module's top."
        ) from None


def _bindable(annotation: Any, parameter: str, name: str) -> Any:
    """Drop ``Bound`` from a union; the schema that a model sees is the plain type."""
    if get_origin(annotation) not in (Union, UnionType) or Bound not in get_args(annotation):
        raise UsageError(f"tool {name!r}: binds names {parameter!r}, so annotate it `str | Bound`.")
    rest = [arg for arg in get_args(annotation) if arg is not Bound]
    return Union[tuple(rest)]  # noqa: UP007  a union of a list that is only known now


def _returns(annotation: Any) -> dict[str, Any] | None:
    if annotation in (None, Any, type(None), inspect.Signature.empty):
        return None
    try:
        schema: dict[str, Any] = _untitled(TypeAdapter(annotation).json_schema())
    except (PydanticUserError, PydanticSchemaGenerationError):
        return None
    return schema


def _model(fields: dict[str, Any], name: str) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    try:
        model: type[BaseModel] = create_model(name, __config__=config, **fields)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise UsageError(f"tool {name!r}: {str(error).splitlines()[0]}; use JSON-like parameter types.") from None
    return model


def _plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _untitled(model.model_json_schema())
    schema.pop("description", None)
    return schema | {"properties": schema.get("properties", {})}


def _untitled(schema: Any, *, names: bool = False) -> Any:
    """Drop pydantic's titles, which only repeat names; inside ``properties`` a title is a parameter."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _untitled(value, names=key in ("properties", "$defs"))
        for key, value in schema.items()
        if names or key != "title" or not isinstance(value, str)
    }


def _mend(args: Mapping[str, Any], problems: list[Any]) -> dict[str, Any] | None:
    """Arguments with the problems coerced away, or None when a problem cannot be."""
    mended = dict(args)
    for item in problems:
        name = str(item["loc"][0])
        if name not in args or item["type"] in ("extra_forbidden", "missing"):
            return None
        value = args[name]
        if item["type"] == "list_type" and len(item["loc"]) == 1:
            mended[name] = [value]
        elif (
            isinstance(value, list)
            and len(item["loc"]) > 1
            and all(isinstance(row, Mapping) and len(row) == 1 for row in value)
        ):
            mended[name] = [next(iter(row.values())) for row in value]
        elif only(value) is not value:
            mended[name] = only(value)
        else:
            return None
    return mended
