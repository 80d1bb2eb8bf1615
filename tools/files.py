"""The files of the workspace: list, read, search, write."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from typing import Any

from ..errors import ToolError
from ..protocols import Ctx
from .render import render
from .spec import tool
from .workspace import Found, is_binary, nearest, open_read, resolve, walk, write_atomic

MAX_LISTED = 10_000
MAX_READ = 200_000
"""Bytes of text that one call returns."""
MAX_SEARCHED = 32_000_000
"""Bytes of one file that is searched; larger ones are named in an error."""
MAX_HITS = 2_000
MAX_WRITTEN = 64_000_000


async def _there(args: Mapping[str, Any], ctx: Ctx) -> list[str]:
    """Problems of a planned look into a folder or file that is not there."""
    folder, path = args.get("folder", "."), args.get("path", ".")
    if isinstance(folder, str) and not (ctx.workspace / resolve(ctx.workspace, folder)).is_dir():
        return [f"there is no folder {folder!r}; the folders are {_folders(ctx)}"]
    if isinstance(path, str) and not _exists(ctx, path):
        return [f"there is no file {path!r}; {nearest(path, walk(ctx.workspace))}"]
    return []


def _folders(ctx: Ctx) -> str:
    names = dict.fromkeys(item.path.rpartition("/")[0] or "." for item in walk(ctx.workspace))
    return ", ".join(list(names)[:12])


@tool(seconds=0.02, paths=("folder",), stability="stable", check=_there)
def list_files(ctx: Ctx, folder: str = ".", pattern: str = "*") -> list[str]:
    """Return the paths of the files in a folder and below it, as a list of text.

    Args:
        ctx: The run.
        folder: Folder to list; "." is everything.
        pattern: Glob that the name or path must match, e.g. "*.csv".
    """
    found = [item.path for item in walk(ctx.workspace, folder) if matches(item, pattern)]
    if len(found) > MAX_LISTED:
        raise ToolError(f"{len(found)} files match {pattern!r}; name a folder or a narrower pattern.")
    return found


@tool(seconds=0.02, paths=("path",), stability="stable", check=_there)
def read_file(ctx: Ctx, path: str, first: int = 1, last: int | None = None) -> str:
    """Return the text of a file.

    Args:
        ctx: The run.
        path: The file.
        first: First line wanted, counted from 1.
        last: Last line wanted; leave it out for the whole file.
    """
    if not _exists(ctx, path):
        raise ToolError(f"there is no file {path!r}; {nearest(path, walk(ctx.workspace))}")
    with open_read(ctx.workspace, path) as file:
        head = file.read(8192)
        size = file.seek(0, 2)
        if is_binary(head):
            raise ToolError(f"{path!r} is a binary file of {size} bytes; it has no text to read.")
        file.seek(0)
        if first <= 1 and last is None:
            data = file.read(MAX_READ)
            text = data.decode("utf-8", errors="replace")
            return text if size <= MAX_READ else f"{text}\n[{size} bytes in all, the first {MAX_READ} shown]"
        kept: list[bytes] = []
        room = MAX_READ
        for number, line in enumerate(file, start=1):
            if last is not None and number > last:
                break
            if number >= first:
                kept.append(line[:room])
                room -= len(line)
            if room <= 0:
                kept.append(f"\n[the first {MAX_READ} bytes of these lines shown]".encode())
                break
    return b"".join(kept).decode("utf-8", errors="replace")


@tool(seconds=0.1, paths=("folder",), stability="stable", check=_there)
def search_files(
    ctx: Ctx, text: str, pattern: str = "*", folder: str = ".", regex: bool = False
) -> list[dict[str, Any]]:
    """Return the lines that contain a text, as a list of {path, line, text}.

    Args:
        ctx: The run.
        text: What to look for; all in lower case it matches either case.
        pattern: Glob over file names, e.g. "*.log".
        folder: Folder to search in and below.
        regex: True when text is a regular expression.
    """
    if not text:
        raise ToolError("search_files needs a text to look for; an empty one is in every line.")
    chosen = [item for item in walk(ctx.workspace, folder) if matches(item, pattern)]
    huge = [item.path for item in chosen if item.size > MAX_SEARCHED]
    keep = _matcher(text, regex)
    hits: list[dict[str, Any]] = []
    for item in chosen:
        if item.path in huge:
            continue
        with open_read(ctx.workspace, item.path) as file:
            data = file.read(MAX_SEARCHED)
        if is_binary(data):
            continue
        lines = data.decode("utf-8", errors="replace").splitlines()
        hits += [{"path": item.path, "line": number, "text": lines[number - 1][:2000]} for number in keep(lines)]
        if len(hits) > MAX_HITS:
            raise ToolError(f"more than {MAX_HITS} lines contain {text!r}; narrow the text, the pattern or the folder.")
    if huge:
        raise ToolError(f"{huge[0]!r} is larger than {MAX_SEARCHED} bytes; narrow the pattern, or use query on it.")
    return hits


@tool(effect="write", idempotent=True, seconds=0.02, paths=("path",))
def write_file(ctx: Ctx, path: str, content: Any, title: str = "") -> dict[str, Any]:
    """Write a file, replacing it whole, and return {path, bytes}.

    Args:
        ctx: The run.
        path: The file to write; missing folders are made.
        content: Text, or an earlier result: rows become a table in .md and .csv files, data in .json.
        title: Heading put first in a .md file.
    """
    text = render(content, path)
    if title and path.lower().endswith((".md", ".markdown")):
        text = f"# {title}\n\n{text}"
    data = text.encode("utf-8", errors="replace")
    if len(data) > MAX_WRITTEN:
        raise ToolError(f"{len(data)} bytes are too many for {path!r}; write at most {MAX_WRITTEN}.")
    return {"path": write_atomic(ctx.workspace, path, data), "bytes": len(data)}


def matches(found: Found, pattern: str) -> bool:
    """True when a file's name or path fits the glob; ``**/`` may be left out."""
    bare = pattern.removeprefix("./").removeprefix("**/")
    name = found.path.rsplit("/", 1)[-1]
    return fnmatch.fnmatchcase(name, bare) or fnmatch.fnmatchcase(found.path, bare)


def _exists(ctx: Ctx, path: str) -> bool:
    return os.path.exists(ctx.workspace / resolve(ctx.workspace, path))


def _matcher(text: str, regex: bool) -> Any:
    if regex:
        from .duck import matching_lines

        return lambda lines: matching_lines(lines, text, ignore_case=text == text.lower())
    if text == text.lower():
        return lambda lines: [number for number, line in enumerate(lines, start=1) if text in line.lower()]
    return lambda lines: [number for number, line in enumerate(lines, start=1) if text in line]
