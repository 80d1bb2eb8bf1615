"""Settings: defaults, then ``shuntyard.toml``, then ``SHUNTYARD_*``, then flags; later wins.

The file is looked for in the working folder and its parents. Unknown keys are errors, because a
misspelt limit that is silently ignored costs money.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from .errors import SettingsInvalid
from .messages import Frozen
from .wording import wrong

FILE = "shuntyard.toml"


class TokenSettings(Frozen):
    """How the token-level engine answers; the table ``[models.NAME.tokens]``."""

    method: Literal["plain", "lookahead", "entropy"] = "plain"
    """One token per pass; several from what was seen before; the large model where the small one is unsure."""
    large: str = ""
    """Local model, or GGUF path, that ``entropy`` changes to; of the same vocabulary."""
    entropy: Annotated[float, Field(ge=0)] = 0.6
    """Mean entropy in nats above which the large model speaks."""
    window: Annotated[int, Field(gt=0, le=256)] = 5
    """Tokens of that mean."""
    run: Annotated[int, Field(gt=0, le=256)] = 4
    """Tokens that a model speaks at least."""
    drafts: Annotated[int, Field(gt=0, le=64)] = 32
    """Most guesses of ``lookahead`` per pass; it makes as many as pay."""
    branches: Annotated[int, Field(gt=0, le=15)] = 4
    abort: bool = False
    """Stop an answer that goes round in circles; it then ends as if it were too long."""
    abort_floor: float | None = None
    """With ``abort``: the mean log-probability of 32 tokens below which an answer is hopeless; None: never."""
    context: Annotated[int, Field(ge=256, le=131072)] = 4096


class RemoteModel(Frozen):
    """A model behind a URL or a provider, or a local one on the token-level engine."""

    model: str = ""
    """Its name there; for providers the litellm name, e.g. ``anthropic/claude-sonnet-4-5``. Empty: the table's own
    name; without a URL that must then be such a name (``[models."anthropic/claude-sonnet-4-5"]``), and say so with
    ``through = "litellm"`` where it has no slash (``[models.gpt-4o]``)."""
    url: str = ""
    """OpenAI-compatible base URL, e.g. ``http://127.0.0.1:8080/v1``; empty means a provider through litellm."""
    through: Literal["", "http", "shuntyard", "litellm"] = ""
    """How to reach it; empty: ``http`` (plain OpenAI wire format) when there is a URL, else ``litellm``. ``shuntyard``
    tells a shuntyard server from the first call on where calls stand; ``http`` does once the server has said that it
    is one."""
    key_env: str = ""
    """Environment variable that holds the key; keys themselves never stand in the file."""
    tier: Literal["tiny", "small", "medium", "large"] = "large"
    context: int = 32768
    input_price: Decimal | None = None
    """Dollars per million prompt tokens; None takes the provider's list price."""
    output_price: Decimal | None = None
    engine: Literal["", "tokens"] = ""
    """``tokens``: ``model`` is a local model, run by the token-level engine."""
    tokens: TokenSettings = TokenSettings()

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number
            good = False
        if url and (not good or " " in url):
            raise ValueError("is no address of a server; write one like 'http://127.0.0.1:8080/v1'")
        return url

    @model_validator(mode="after")
    def _engine_fits(self) -> RemoteModel:
        if not self.engine:
            if "tokens" in self.model_fields_set:
                raise ValueError("the table 'tokens' needs engine = 'tokens'")
            if self.through in ("http", "shuntyard") and not self.url:
                raise ValueError(f"through = {self.through!r} needs 'url', the address of the server")
            return self
        if not self.model:
            raise ValueError("engine = 'tokens' needs 'model', the name of a local model or a GGUF path")
        if self.url or self.through or self.key_env:
            raise ValueError("engine = 'tokens' runs on this machine; leave out 'url', 'through' and 'key_env'")
        if (self.tokens.method == "entropy") != bool(self.tokens.large):
            raise ValueError("method 'entropy' and 'large' go together; give both or none")
        return self


class RuleSettings(Frozen):
    """One policy rule; the first that matches decides."""

    tool: str = "*"
    """Glob over tool names."""
    args: dict[str, str] = {}
    """Glob per argument that must match its text; an absent argument never matches."""
    effect: Literal["read", "write", "external", "*"] = "*"
    decision: Literal["allow", "deny", "ask"]
    reason: str = ""
    name: str = ""


class ServeSettings(Frozen):
    """The server; the table ``[serve]``."""

    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs a key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8800
    """0 takes a free one."""
    key_env: str = "SHUNTYARD_API_KEY"
    """Environment variable that holds the key which clients must send; not set: none is asked for."""
    models: tuple[str, ...] = ()
    """Models that are offered, also GGUF paths; empty offers the local ones and those by a URL without a key."""
    concurrency: Annotated[int, Field(gt=0, le=4096)] = 8
    """Requests being answered at once."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 128
    """Requests waiting; one more is told to come back later."""
    body_mib: Annotated[float, Field(gt=0)] = 8.0
    """Largest request."""
    memory_mib: Annotated[int, Field(ge=0)] = 0
    """Memory that engines may have together; 0 takes three quarters of the machine's."""
    drain: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that running answers get to end when the server is told to stop."""
    stream_interval: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Seconds for which tokens of a stream that come faster wait for each other; 0: each is sent by itself."""
    programs: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Programs that are over and may still be asked for; the oldest go first."""
    program_minutes: Annotated[float, Field(ge=0)] = 60.0
    """How long they may be."""


class EngineSettings(Frozen):
    """The engine of local models; the table ``[engine]``. Nothing set: the profile of ``models tune``, if any."""

    threads_batch: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads that read prompts; 0: as many as write answers (``threads``)."""
    batch: Annotated[int, Field(ge=1, le=8192)] = 256
    """Prompt tokens computed in one go; a running answer waits for as many."""
    ubatch: Annotated[int, Field(ge=0, le=8192)] = 0
    """Of those, how many in one pass; 0: all."""
    kv_keys: Literal["f16", "q8_0", "q4_0"] = "f16"
    """Type of keys in memory; one with fewer bits is used only when the model's answers stay what they were."""
    kv_values: Literal["f16", "q8_0", "q4_0"] = "f16"
    """Type of values in memory, likewise."""
    flash: Literal["auto", "on", "off"] = "auto"
    """Flash attention."""
    speculation: Literal["off", "ngram_mod", "ngram_map_k", "ngram_simple", "draft", "auto"] = "off"
    """How tokens are guessed ahead; ``auto`` measures where it pays, with a second engine beside the first."""
    guess: Annotated[int, Field(ge=1, le=64)] = 3
    """Most tokens that ``ngram_*`` guess at once; ``auto`` chooses itself."""
    draft: str = ""
    """Small model of ``speculation = "draft"``, with the vocabulary of the large one."""
    slots: Annotated[int, Field(ge=0, le=64)] = 0
    """Answers written at once; 0: 3, and up to 8 where their whole contexts take no more than 1 GiB of memory."""
    tuned: bool = True
    """Whether a profile of ``models tune`` is used."""

    @model_validator(mode="after")
    def _together(self) -> EngineSettings:
        if self.kv_values != "f16" and self.flash == "off":
            raise ValueError(
                f"kv_values = {self.kv_values!r} needs flash attention, and flash = 'off'; set flash = 'auto'"
            )
        if (self.speculation == "draft") != bool(self.draft):
            raise ValueError(f"speculation = {self.speculation!r} with draft = {self.draft!r}; give both or none")
        if self.ubatch > self.batch:
            raise ValueError(f"ubatch = {self.ubatch} is more than batch = {self.batch}; lower it")
        return self


class FleetSettings(Frozen):
    """Several engines of each local model; the table ``[fleet]``."""

    instances: Annotated[int, Field(ge=1, le=64)] = 1
    """Engines of a model; each holds the whole model in memory and gets its share of the threads."""
    migrate: bool = True
    """Answers may move from one engine to another while they are written."""
    urgent: Annotated[float, Field(ge=0)] = 0.0
    """Calls with at least this much of their critical path to come (``Place.priority``) go first; 0: none do."""
    roles: tuple[Literal["mixed", "prefill", "decode"], ...] = ()
    """What each engine is for: prompts and answers, prompts only, answers; empty: all ``mixed``."""

    @model_validator(mode="after")
    def _one_role_each(self) -> FleetSettings:
        if self.roles and len(self.roles) != self.instances:
            raise ValueError(f"{len(self.roles)} roles for {self.instances} instances; name one for each")
        if self.roles and all(role == "prefill" for role in self.roles):
            raise ValueError("nobody writes answers; make one of the roles 'decode' or 'mixed'")
        return self


class Settings(Frozen):
    """Everything that can be set; the names are those of the TOML keys and, upper-cased, of ``SHUNTYARD_*``."""

    home: Path | None = None
    """Folder of the database; None takes the platform's data folder."""
    cache: Path | None = None
    """Folder of model files; None takes the platform's cache folder."""
    workspace: Path = Path()
    model: str = ""
    """Model for every role; empty lets the router choose."""
    fallback: tuple[str, ...] = ()
    """Models to try after the chosen one, in order."""
    planner: Literal["dag", "react", "fill", "program", "outline", "reuse", "auto"] = "dag"
    """How tasks are planned: ``planner/strategies.py`` says what each does; ``auto`` chooses for every task."""
    tools: tuple[str, ...] = ()
    """Files (``tools.py``) or modules with ``@tool`` functions."""
    allow_http: tuple[str, ...] = ()
    """Hosts that ``http_get`` may fetch from, as globs; none by default."""
    approve: tuple[str, ...] = ()
    """Tool names whose ``ask`` is answered with yes; ``*`` for all."""
    max_cost: Annotated[Decimal, Field(ge=0)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    deadline: Annotated[float, Field(ge=0)] | None = None
    concurrency: Annotated[int, Field(gt=0, le=1024)] = 16
    max_nodes: Annotated[int, Field(gt=0)] = 10_000
    """Calls of maps and bodies that a plan may come to while it runs."""
    limit: dict[str, Annotated[int, Field(gt=0)]] = {}
    """Calls at once, by the name of a tool or of a resource that tools declare."""
    speculate: Annotated[float, Field(ge=0)] = 2.0
    """Seconds of reads that a run may make in vain, because they start before their condition is known; 0: none."""
    executor: Literal["inprocess", "processes", "ray"] = "inprocess"
    """Where tools run: in this process, in worker processes (for tools that compute), on a Ray cluster."""
    workers: Annotated[int, Field(ge=0, le=4096)] = 0
    """Most workers of ``processes`` and ``ray``; 0 takes the cores of the machine or the CPUs of the cluster."""
    ray_address: str = ""
    """Ray cluster: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``; empty starts one on this machine."""
    memory: bool = True
    """Recall earlier tasks and learn from this one."""
    flush: bool = False
    """Flush every finished step to the disk, so that a power cut loses none; the end of a process never does."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the local engine; 0 takes the number of cores, at most 8."""
    engine_path: Path | None = None
    """Folder with a build of the engine for this machine; it is used once it has passed a check (docs/kernels.md)."""
    idle_minutes: Annotated[float, Field(gt=0)] = 10
    """The local engine stops after this much idleness."""
    state_mib: Annotated[int, Field(ge=0)] = 512
    """Disk for the states of long prompt beginnings, which a local engine then need not read again; 0 keeps none."""
    long_inputs: Literal["", "segments", "pages"] = ""
    """How a local model reads what is beyond its context: all in segments, or a constant number of pages."""
    reuse_answers: bool = True
    """Equal calls of a local model at temperature 0 are computed once per process."""
    models: dict[str, RemoteModel] = {}
    serve: ServeSettings = ServeSettings()
    engine: EngineSettings = EngineSettings()
    fleet: FleetSettings = FleetSettings()
    rules: tuple[RuleSettings, ...] = ()

    @field_validator("models")
    @classmethod
    def _each_is_somewhere(cls, models: dict[str, RemoteModel]) -> dict[str, RemoteModel]:
        for name, model in models.items():
            # A name with a slash is one of litellm's, PROVIDER/MODEL; of others only the table can say so.
            if not model.url and not model.model and "/" not in name and model.through != "litellm":
                raise ValueError(
                    f"[models.{name}] says neither where nor what it is; give 'url', the address of a server, or "
                    "'model', a name that litellm knows, such as 'anthropic/claude-sonnet-4-5'"
                )
        return models

    @model_validator(mode="after")
    def _one_engine_is_measured(self) -> Settings:
        if self.fleet.instances > 1 and self.engine.speculation == "auto":
            raise ValueError("engine.speculation = 'auto' compares two engines itself; set fleet.instances = 1")
        return self


def load(overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> Settings:
    """Return the settings in force in ``folder`` (default: the working folder).

    Raises SettingsInvalid, naming the file or variable, the key, the value and what would be right.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    path = _find(folder or Path.cwd())
    if path is not None:
        for key, value in _read(path).items():
            values[key] = value
            origin[key] = str(path)
    for key in Settings.model_fields:
        text = os.environ.get(f"SHUNTYARD_{key.upper()}")
        if text is not None:
            values[key] = _from_text(key, text)
            origin[key] = f"SHUNTYARD_{key.upper()}"
    for key, value in (overrides or {}).items():
        if value is not None:
            values[key] = value
            origin[key] = f"--{key.replace('_', '-')}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsInvalid(_explain(error, origin)) from None


def _find(folder: Path) -> Path | None:
    for place in (folder, *folder.resolve().parents):
        if (place / FILE).is_file():
            return place / FILE
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path}: not valid TOML: {error}; mend that line.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: cannot be read: {error}; mend or remove the file.") from None


def _from_text(key: str, text: str) -> Any:
    annotation = str(Settings.model_fields[key].annotation)
    if annotation.startswith("tuple[str"):
        return [part.strip() for part in text.split(",") if part.strip()]
    if annotation.startswith(("dict", "tuple", "<class 'shuntyard.")):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise SettingsInvalid(
                f"SHUNTYARD_{key.upper()}={text!r} is not a TOML value: {error}; put it into {FILE} instead."
            ) from None
    return text


def _explain(error: ValidationError, origin: Mapping[str, str]) -> str:
    parts = []
    for item in error.errors():
        key = str(item["loc"][0]) if item["loc"] else ""
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            import difflib

            table = Settings.model_fields[key].annotation if len(item["loc"]) > 1 else Settings
            known = list(getattr(table, "model_fields", {}))
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            mend = f"did you mean {near[0]!r}?" if near else "remove it."
            parts.append(f"{origin.get(key, FILE)}: unknown key {where!r}; {mend}")
        else:
            parts.append(f"{origin.get(key, FILE)}: {wrong(f'{where} = ' if where else '', item)}")
    return " ".join(parts)


def home(settings: Settings) -> Path:
    """Return the folder of the database: ``settings.home`` or the platform's data folder."""
    if settings.home is not None:
        return settings.home.expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("shuntyard", appauthor=False)


def cache(settings: Settings) -> Path:
    """Return the folder of model files: ``settings.cache`` or the platform's cache folder."""
    if settings.cache is not None:
        return settings.cache.expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("shuntyard", appauthor=False)
