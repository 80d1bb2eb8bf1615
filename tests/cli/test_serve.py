import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from cli_parts import Call
from servers import ScriptedServer

from shuntyard.errors import RequestRefused, SettingsInvalid
from shuntyard.settings import ServeSettings, load


def test_help_and_wrong_settings(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHUNTYARD_API_KEY", raising=False)
    help = call("serve", "--help").out
    assert "127.0.0.1" in help and f"else {ServeSettings().port} " in help
    open_ = call("serve", "--host", "0.0.0.0", "--port", "0")
    assert open_.code == 2 and "SHUNTYARD_API_KEY" in open_.err
    assert call("serve", "--model", "gpt-7").code == 2
    assert call("serve", "--model", "all-minilm-l6-v2").code == 2
    assert call("serve", "--port", "99999").code == 2
    (folder / "shuntyard.toml").write_text("[serve]\nprt = 3\n")
    wrong = call("serve")
    assert wrong.code == 2 and "serve.prt" in wrong.err


def test_a_missing_extra_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from shuntyard.cli import serve

    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    told = call("serve")
    assert told.code == 6 and "shuntyard[serve]" in told.err


def test_it_says_where_it_is_and_ends_when_told(folder: Path) -> None:
    with ScriptedServer(["Good day."]) as upstream:
        (folder / "shuntyard.toml").write_text(upstream.toml())
        command = [sys.executable, "-P", "-m", "shuntyard", "serve", "--port", "0", "--json", "--model", "scripted"]
        env = {**os.environ, "SHUNTYARD_API_KEY": "secret"}
        with subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            text = ""
            for line in process.stdout:
                text += line
                if line == "}\n":
                    break
            told = json.loads(text)
            assert told["models"] == ["scripted"] and told["key"] is True
            example = process.stderr.readline()
            assert example.startswith("try: curl http://127.0.0.1:") and "$SHUNTYARD_API_KEY" in example
            asked = {"messages": [{"role": "user", "content": "Hello."}]}
            url = f"{told['url']}/v1/chat/completions"
            transport = httpx.HTTPTransport(retries=50)
            with httpx.Client(transport=transport, timeout=30) as client:
                answer = client.post(url, json=asked, headers={"Authorization": "Bearer secret"})
            assert answer.json()["choices"][0]["message"]["content"] == "Good day."
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) in (0, -signal.SIGTERM)
            said = process.stderr.read()
            assert "stopping\n" in said and "Traceback" not in said


def test_what_it_says_first_names_every_model(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shuntyard.serving import server

    (folder / "shuntyard.toml").write_text('[models.mine]\nurl = "http://127.0.0.1:9/v1"\n')
    # What is said before it serves; the rest is not run.
    monkeypatch.setattr(server, "serve", lambda settings, listener, **more: listener.close())
    told = call("serve", "--port", "0", "--model", "mine").out
    assert told.startswith("serving mine, and all-minilm-l6-v2 for embeddings, on http://127.0.0.1:")


def test_settings_of_the_server_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shuntyard.toml").write_text("[serve]\nport = 9000\nqueue = 3\n")
    assert load().serve == ServeSettings(port=9000, queue=3)
    monkeypatch.setenv("SHUNTYARD_SERVE", "{port = 9001, models = ['a']}")
    assert load().serve == ServeSettings(port=9001, models=("a",))
    monkeypatch.setenv("SHUNTYARD_SERVE", "port")
    with pytest.raises(SettingsInvalid, match="TOML value"):
        load()


def test_the_router_chooses_among_what_is_offered(folder: Path) -> None:
    from shuntyard.agents.serving import chooser

    (folder / "shuntyard.toml").write_text(
        "[models.tiny]\nurl = 'http://127.0.0.1:9/v1'\ntier = 'tiny'\ninput_price = 0\noutput_price = 0\n"
        "[models.small]\nurl = 'http://127.0.0.1:9/v1'\ntier = 'small'\ninput_price = 0\noutput_price = 0\n"
    )
    settings = load()
    assert chooser(settings, ["tiny", "small"])(None) == "small", "the smallest that suffices for an answer"
    assert chooser(settings, ["tiny"])(None) == "tiny", "only what is offered"
    assert chooser(settings.model_copy(update={"model": "tiny"}), ["tiny", "small"])(None) == "tiny"
    with pytest.raises(RequestRefused, match="name one"):
        chooser(settings, ["elsewhere"])(None)
