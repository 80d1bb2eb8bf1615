import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import Behaviour, entry
from hub_server import hub as serve

from shuntyard.errors import DownloadFailed, ModelFileBad, PathRefused, StoreUnwritable, UnknownName, UsageError
from shuntyard.serving import fetch, hub, part, registry
from shuntyard.settings import Settings

CONTENT = b"GGUF" + os.urandom(1_500_000)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `tiny` the only registered model, and retries quick."""
    pause = hub._wait
    monkeypatch.setattr(hub, "_wait", lambda part, seconds: pause(part, seconds / 50))

    def register(content: bytes = CONTENT, **changes: object) -> None:
        monkeypatch.setattr(registry, "MODELS", (entry(content, **changes),))
        monkeypatch.setattr(fetch, "MODELS", registry.MODELS)

    register()
    return register


def pull(settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch, **more: object) -> Path:
    monkeypatch.setenv("SHUNTYARD_HF_URL", url)
    return fetch.pull("tiny", settings, **more)[0]


def files(settings: Settings) -> set[str]:
    return {path.name for path in fetch.models_folder(settings).iterdir() if not path.name.endswith(".lock")}


def test_a_file_comes_through_a_redirect_with_progress(settings, tiny, monkeypatch):
    seen = []
    with serve(Behaviour(CONTENT, redirect=True)) as url:
        path = pull(settings, url, monkeypatch, on_progress=lambda done, total: seen.append((done, total)))
        assert path.read_bytes() == CONTENT
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert files(settings) == {"tiny.gguf", "tiny.gguf.ok.json"}
    # The server is gone: the cache answers.
    assert pull(settings, url, monkeypatch) == path


def test_the_pinned_revision_is_asked_for(settings, tiny, monkeypatch):
    behaviour = Behaviour(CONTENT)
    with serve(behaviour) as url:
        pull(settings, url + "/", monkeypatch)
    assert behaviour.requests == [("/org/tiny/resolve/0123abc/tiny.gguf", "")]


def test_truncation_is_resumed_by_ranges(settings, tiny, monkeypatch):
    behaviour = Behaviour(CONTENT, cut_after=400_000)
    with serve(behaviour) as url:
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT
    assert [ranges for _, ranges in behaviour.requests][:3] == ["", "bytes=400000-", "bytes=800000-"]
    assert behaviour.sent == len(CONTENT)


def test_a_server_without_ranges_begins_again(settings, tiny, monkeypatch):
    behaviour = Behaviour(CONTENT, ranges=False, cut_after=400_000, cuts=2)
    with serve(behaviour) as url:
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT
    assert len(behaviour.requests) == 3


def test_a_wrong_range_is_not_appended(settings, tiny, monkeypatch):
    with serve(Behaviour(CONTENT, cut_after=400_000, cuts=1, wrong_range=True)) as url:
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT


def test_a_server_that_always_cuts_at_once_ends_in_an_error(settings, tiny, monkeypatch):
    behaviour = Behaviour(CONTENT, ranges=False, status=503)
    with serve(behaviour) as url, pytest.raises(DownloadFailed, match="HTTP 503"):
        pull(settings, url, monkeypatch)
    assert len(behaviour.requests) == hub.TRIES


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_retried_and_names_the_mend(settings, tiny, monkeypatch, status):
    behaviour = Behaviour(CONTENT, status=status)
    with serve(behaviour) as url, pytest.raises(DownloadFailed, match=f"HTTP {status}") as caught:
        pull(settings, url, monkeypatch)
    assert "shuntyard models pull tiny --source wheels" in caught.value.message
    assert "SHUNTYARD_CACHE" in caught.value.message
    assert len(behaviour.requests) == 1


def test_nothing_reachable_is_a_clear_error(settings, tiny, monkeypatch):
    with pytest.raises(DownloadFailed, match=r"no source was reachable.*--source wheels"):
        pull(settings, "http://127.0.0.1:9", monkeypatch)
    with pytest.raises(DownloadFailed, match="SHUNTYARD_HF_URL"):
        pull(settings, "not a url", monkeypatch)


def test_the_wrong_bytes_are_refused_and_leave_nothing(settings, tiny, monkeypatch):
    tiny(CONTENT, sha256="0" * 64)
    with serve(Behaviour(CONTENT)) as url, pytest.raises(ModelFileBad, match="hash"):
        pull(settings, url, monkeypatch)
    assert not fetch.installed("tiny", settings)
    assert "tiny.gguf" not in files(settings)
    assert fetch.show("tiny", settings).partial == 0


@pytest.mark.parametrize("content", [CONTENT + b"x", CONTENT[:-1]])
def test_another_length_is_refused_before_the_download(settings, tiny, monkeypatch, content):
    behaviour = Behaviour(content)
    with serve(behaviour) as url, pytest.raises(ModelFileBad, match=f"offers {len(content)} bytes"):
        pull(settings, url, monkeypatch)
    assert not fetch.installed("tiny", settings)


def test_a_damaged_part_is_fetched_again(settings, tiny, monkeypatch):
    folder = fetch.models_folder(settings)
    folder.mkdir(parents=True)
    (folder / "tiny.gguf.part").write_bytes(b"?" * 500_000)
    with serve(Behaviour(CONTENT)) as url:
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT


def test_a_part_that_is_complete_needs_no_network(settings, tiny, monkeypatch):
    folder = fetch.models_folder(settings)
    folder.mkdir(parents=True)
    (folder / "tiny.gguf.part").write_bytes(CONTENT)
    assert pull(settings, "http://127.0.0.1:9", monkeypatch).read_bytes() == CONTENT


SCRIPT = """
import sys
from pathlib import Path
from shuntyard.serving import fetch, registry
from shuntyard.settings import Settings
sys.path.insert(0, sys.argv[1])
from hub_server import entry
made = entry(Path(sys.argv[2]).read_bytes())
registry.MODELS = fetch.MODELS = (made,)
print(fetch.pull("tiny", Settings(cache=Path(sys.argv[3])))[0], flush=True)
"""


def other_process(tmp_path: Path, settings: Settings, url: str) -> subprocess.Popen[str]:
    (tmp_path / "content").write_bytes(CONTENT)
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT, here, str(tmp_path / "content"), str(settings.cache)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SHUNTYARD_HF_URL": url},
    )


def test_a_killed_download_leaves_no_bad_file_and_is_resumed(settings, tiny, monkeypatch, tmp_path):
    behaviour = Behaviour(CONTENT, delay=0.03)
    partial = fetch.models_folder(settings) / "tiny.gguf.part"
    with serve(behaviour) as url:
        with other_process(tmp_path, settings, url) as process:
            while not (partial.exists() and partial.stat().st_size > 200_000):
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        assert not fetch.installed("tiny", settings)
        assert fetch.show("tiny", settings).partial > 200_000
        behaviour.delay = 0
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT
    assert behaviour.requests[-1][1].startswith("bytes=")


def test_two_processes_fetch_once(settings, tiny, monkeypatch, tmp_path):
    behaviour = Behaviour(CONTENT, delay=0.01)
    seen = []
    with serve(behaviour) as url:
        with other_process(tmp_path, settings, url) as process:
            while not behaviour.requests:
                assert process.poll() is None
                time.sleep(0.01)
            path = pull(settings, url, monkeypatch, on_progress=lambda done, total: seen.append(done))
            assert process.stdout is not None
            assert process.stdout.read().strip() == str(path)
    assert path.read_bytes() == CONTENT
    assert len(behaviour.requests) == 1
    assert seen, "the one who waits shows progress too"


def test_progress_may_stop_the_download_and_what_came_is_kept(settings, tiny, monkeypatch):
    class Enough(Exception):
        pass

    def stop(done: float, total: float) -> None:
        if done > 300_000:
            raise Enough

    with serve(Behaviour(CONTENT)) as url:
        with pytest.raises(Enough):
            pull(settings, url, monkeypatch, on_progress=stop)
        assert fetch.show("tiny", settings).partial > 300_000
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT


def test_damage_on_the_disk_is_found_and_the_mend_works(settings, tiny, monkeypatch):
    with serve(Behaviour(CONTENT)) as url:
        path = pull(settings, url, monkeypatch)
        with path.open("r+b") as stream:
            stream.seek(1000)
            stream.write(b"damage")
        with pytest.raises(ModelFileBad, match="shuntyard models rm tiny"):
            fetch.ensure("tiny", settings)
        with path.open("r+b") as stream:
            stream.truncate(1000)
        with pytest.raises(ModelFileBad, match="1000 bytes instead of"):
            fetch.ensure("tiny", settings)
        assert fetch.remove("tiny", settings) >= 1000
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT


def test_silent_damage_is_found_by_verify_only(settings, tiny, monkeypatch):
    with serve(Behaviour(CONTENT)) as url:
        path = pull(settings, url, monkeypatch)
    assert fetch.verify("tiny", settings)
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"damage")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    fetch.ensure("tiny", settings)
    with pytest.raises(ModelFileBad):
        fetch.verify("tiny", settings)
    with pytest.raises(ModelFileBad):
        fetch.ensure("tiny", settings)


def test_a_file_put_there_by_hand_is_checked_once(settings, tiny, monkeypatch):
    folder = fetch.models_folder(settings)
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(CONTENT)
    seen = []
    fetch.ensure("tiny", settings, on_progress=lambda done, total: seen.append(done))
    assert seen[-1] == len(CONTENT)
    seen.clear()
    fetch.ensure("tiny", settings, on_progress=lambda done, total: seen.append(done))
    assert seen == []


def test_a_disk_too_small_is_told_before_the_download(settings, tiny, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(part.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    behaviour = Behaviour(CONTENT)
    with serve(behaviour) as url, pytest.raises(StoreUnwritable, match="SHUNTYARD_CACHE"):
        pull(settings, url, monkeypatch)
    assert behaviour.requests == []


def test_a_disk_that_fills_up_keeps_the_part(settings, tiny, monkeypatch):
    write = part.Part.write

    def fill_up(self: part.Part, chunk: bytes) -> None:
        if self.size > 600_000:
            with part.writing(self.target.parent):
                raise OSError(errno.ENOSPC, "No space left on device")
        write(self, chunk)

    with serve(Behaviour(CONTENT)) as url:
        with monkeypatch.context() as patch:
            patch.setattr(part.Part, "write", fill_up)
            with pytest.raises(StoreUnwritable, match="full"):
                pull(settings, url, monkeypatch)
        assert fetch.show("tiny", settings).partial > 600_000
        assert pull(settings, url, monkeypatch).read_bytes() == CONTENT


def test_a_cache_that_is_a_file_is_a_clear_error(settings, tiny, monkeypatch):
    assert settings.cache is not None
    settings.cache.write_text("in the way")
    with pytest.raises(StoreUnwritable, match="SHUNTYARD_CACHE"):
        pull(settings, "http://127.0.0.1:9", monkeypatch)


def test_a_model_without_a_hub_names_the_wheels(settings, tiny, monkeypatch):
    tiny(CONTENT, repo="")
    with pytest.raises(DownloadFailed, match="--source wheels"):
        pull(settings, "http://127.0.0.1:9", monkeypatch)


def test_names(settings, tmp_path):
    with pytest.raises(UnknownName, match=r"qwen2\.5-coder-1\.5b"):
        fetch.show("qwen2.5-coder-15b", settings)
    with pytest.raises(PathRefused, match=r"nowhere\.gguf"):
        fetch.show("./nowhere.gguf", settings)
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelFileBad, match="not a GGUF"):
        fetch.show(str(tmp_path / "text.gguf"), settings)
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    assert fetch.ensure(str(own), settings) == (own,)
    assert fetch.installed(str(own), settings)
    with pytest.raises(UsageError, match="yours"):
        fetch.pull(str(own), settings)
    with pytest.raises(UsageError, match="yours"):
        fetch.remove(str(own), settings)
    assert {item.entry.name for item in fetch.list_models(settings)} == {
        "qwen2.5-coder-1.5b",
        "qwen2.5-coder-0.5b",
        "smollm2-135m",
        "all-minilm-l6-v2",
    }


def test_the_parts_of_every_registered_file_add_up():
    for model in registry.MODELS:
        for file in model.files:
            source = file.wheels
            if source.parts > 1:
                assert 0 < file.bytes - source.part_bytes * (source.parts - 1) <= source.part_bytes
