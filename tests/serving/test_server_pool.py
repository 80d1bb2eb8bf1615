"""Which models stay loaded. Engines are fakes over real HTTP; their memory is what the test says."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from fake_engine import FakeEngine, running

from shuntyard.errors import ModelUnavailable, ServerBusy, UnknownName
from shuntyard.messages import ModelInfo
from shuntyard.serving.desk import Desk
from shuntyard.serving.server import pool as module
from shuntyard.serving.server.pool import MIB, Pool
from shuntyard.serving.supervise import Running
from shuntyard.settings import ServeSettings, Settings

pytestmark = pytest.mark.anyio


class Machine:
    """Three models of 300 MiB each; ``loads`` tells in which order they were loaded."""

    def __init__(self, folder: Path, engines: list[FakeEngine]) -> None:
        self.names = [str(folder / f"{letter}.gguf") for letter in "abc"]
        for name in self.names:
            Path(name).write_bytes(b"GGUF")
        self.engines = dict(zip(self.names, engines, strict=True))
        self.loads: list[str] = []
        self.memory = dict.fromkeys(range(1, 4), 300 * MIB)

    async def connect(self, name: str) -> tuple[ModelInfo, Callable[[bool], Awaitable[Running]]]:
        self.loads.append(name)
        number = self.names.index(name) + 1
        engine = self.engines[name]
        file = Path(name).with_suffix(".json")
        found = Running(str(number), name, name, engine.url, "t", 512, 0, number, 0.0, file)

        async def again(distrust: bool) -> Running:
            return found

        return ModelInfo(name=name), again

    async def desk(self, connection: object) -> Desk:
        return Desk()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with ExitStack() as stack:
        made = Machine(tmp_path, [stack.enter_context(running(FakeEngine())) for _ in range(3)])
        monkeypatch.setattr(module, "LocalSource", lambda settings: made)
        yield made


def pool_of(machine: Machine, memory: int) -> Pool:
    serve = ServeSettings(models=tuple(machine.names), memory_mib=memory)
    return Pool(Settings(serve=serve), measure=lambda pid: machine.memory[pid])


async def use(pool: Pool, name: str) -> None:
    async with pool.using(name) as engine:
        assert engine.name == name


async def test_the_least_recently_used_goes_first(machine: Machine) -> None:
    pool = pool_of(machine, 700)
    a, b, c = machine.names
    await use(pool, a)
    await use(pool, b)
    await use(pool, a)
    assert pool.resident == (a, b)
    await use(pool, c)
    assert set(pool.resident) == {a, c}
    await use(pool, a)
    assert machine.loads == [a, b, c], "what stays is not loaded again"
    assert sum(pool.bytes().values()) <= 700 * MIB


async def test_what_is_measured_counts_and_not_what_was_guessed(machine: Machine) -> None:
    pool = pool_of(machine, 1000)
    a, b, c = machine.names
    machine.memory[1] = 800 * MIB
    await use(pool, a)
    await use(pool, b)
    assert pool.resident == (b,), "256 MiB were guessed, 800 are there"
    machine.memory[1] = 600 * MIB
    await use(pool, a)
    assert pool.resident == (a,), "800 were measured when it was loaded"
    await use(pool, c)
    assert pool.resident == (a, c)


async def test_one_in_use_is_never_evicted(machine: Machine) -> None:
    pool = pool_of(machine, 500)
    a, b, _ = machine.names
    async with pool.using(a):
        with pytest.raises(ServerBusy, match="in use"):
            await use(pool, b)
        assert pool.resident == (a,)
    await use(pool, b)
    assert pool.resident == (b,)


async def test_one_that_another_command_uses_is_never_evicted(machine: Machine) -> None:
    pool = pool_of(machine, 500)
    a, b, _ = machine.names
    await use(pool, a)
    machine.engines[a].running = 1
    with pytest.raises(ServerBusy):
        await use(pool, b)
    machine.engines[a].running = 0
    await use(pool, b)
    assert pool.resident == (b,)


async def test_a_connection_that_breaks_is_no_engine_that_died(machine: Machine) -> None:
    pool = pool_of(machine, 500)
    a, b, _ = machine.names
    await use(pool, a)
    machine.engines[a].running, machine.engines[a].drop_slots = 1, 2
    with pytest.raises(ServerBusy):
        await use(pool, b)
    assert pool.resident == (a,) and machine.engines[a].drop_slots == 0
    machine.engines[a].running, machine.engines[a].drop_slots = 0, 9
    await use(pool, b)
    assert pool.resident == (b,), "one that never answers is of no use"


async def test_one_that_never_fits_is_told(machine: Machine) -> None:
    with pytest.raises(ModelUnavailable, match="memory_mib"):
        await use(pool_of(machine, 100), machine.names[0])
    with pytest.raises(UnknownName):
        await use(pool_of(machine, 100), "/etc/passwd.gguf")


async def test_two_requests_load_a_model_once(machine: Machine) -> None:
    pool = pool_of(machine, 500)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(use, pool, machine.names[0])
    assert machine.loads == machine.names[:1]
    assert pool.default() == machine.names[0]
    await pool.close()


async def test_what_is_asked_next_is_loaded_while_the_present_model_works(machine: Machine) -> None:
    pool = pool_of(machine, 700)
    a, b, c = machine.names
    await use(pool, c)
    async with pool.using(a):
        pool.prefetch(b)
        pool.prefetch(b)
        await anyio.wait_all_tasks_blocked()
        await use(pool, b)
        assert set(pool.resident) == {a, b}, "the idle one made room"
        assert machine.loads == [c, a, b]
    async with pool.using(a), pool.using(b):
        pool.prefetch(c)
        await anyio.sleep(0.05)
        assert set(pool.resident) == {a, b}, "nothing in use is evicted for what may come"
    with pytest.raises(UnknownName):
        pool.known("gpt-7")
    await pool.close()
