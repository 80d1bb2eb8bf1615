"""``shuntyard approve`` with edits, through the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Call
from servers import ScriptedServer

Serve = Callable[..., ScriptedServer]
TWO = '1. write_file(path="out.txt", content="hello")\n2. write_file(path="two.txt", content="bye")\n'
RULE = '[[rules]]\ntool = "write_file"\nargs = { path = "no*" }\ndecision = "deny"\nreason = "keep off"\n'


@pytest.fixture
def open_(call: Call, serve: Serve) -> dict[str, Any]:
    serve([TWO, "ANSWER: written"], toml=RULE)
    assert call("run", "write hello to out.txt and bye to two.txt", "-q").code == 5
    return {question["path"]: question for question in call("approve", "--json").json["open"]}


def test_edits_are_made_and_shown(call: Call, open_: dict[str, Any], folder: Path) -> None:
    (folder / "args.json").write_text('{"path": "c.txt", "content": "all new"}')
    edited = call("approve", open_["n1"]["id"], "--edit", "path=b.txt", "--edit", 'content="hi"')
    assert edited.code == 0 and "n1 write_file" in edited.out and "with other path, content" in edited.out, edited
    assert call("approve", open_["n2"]["id"], "--args", "args.json").code == 0
    done = call("resume", open_["n1"]["run"])
    assert done.code == 0, done
    assert (folder / "b.txt").read_text().strip() == "hi" and (folder / "c.txt").read_text().strip() == "all new"
    assert not (folder / "out.txt").exists() and not (folder / "two.txt").exists()
    shown = call("show", "last").out
    assert 'changed path="out.txt", content="hello" to path="b.txt", content="hi"' in shown
    assert 'with {"path": "b.txt", "content": "hi"}' in shown and "with all of {" in shown
    late = call("approve", open_["n1"]["id"], "--edit", "path=d.txt")
    assert late.code == 2 and "the call was made (done)" in late.err


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--edit", "pth=b.txt"], 2, "'pth' is unknown; the parameters are path, content"),
        (["--edit", 'path={"a": 1, "b": 2}'], 2, "'path' = {'a': 1, 'b': 2} should be a valid string"),
        (["--edit", "path"], 2, "is not NAME=VALUE; write it like"),
        (["--args", "[1]"], 2, "neither a JSON object nor a file"),
        (["--args", '{"path": '], 2, "not JSON"),
        (["--edit", "path=no.txt"], 3, "keep off"),
        (["--edit", "path=b.txt", "--deny"], 2, "answer one question with yes, not with --deny"),
    ],
)
def test_a_bad_edit_names_its_mend_and_leaves_the_question_open(
    call: Call, open_: dict[str, Any], flags: list[str], code: int, says: str
) -> None:
    refused = call("approve", open_["n1"]["id"], *flags)
    assert refused.code == code and says in refused.err and "Traceback" not in refused.err, refused
    assert {question["path"] for question in call("approve", "--json").json["open"]} == {"n1", "n2"}
