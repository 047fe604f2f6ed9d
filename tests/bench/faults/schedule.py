"""What breaks, and when: drawn from the seed, mended again before the seed ends."""

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from router.inference.reservations.accounts import LIFE_S
from tests.bench.faults.world import World
from tests.processes import ServerProcess
from tests.proxy import TcpProxy

LONG_OUTAGE_S = 60.0


def _kill_router(world: World, chance: random.Random) -> None:
    router = chance.choice(world.routers)
    router.kill()
    time.sleep(chance.uniform(0, 0.3))
    router.start()


def _kill_routers(world: World, chance: random.Random) -> None:
    """Back at once, as after the machine was."""
    for router in world.routers:
        router.kill()
    with ThreadPoolExecutor(len(world.routers)) as pool:
        list(pool.map(ServerProcess.start, world.routers))


def _kill_router_twice(world: World, chance: random.Random) -> None:
    """The second death may come before the journal of the first life is read."""
    router = chance.choice(world.routers)
    router.kill()
    router.start()
    router.kill()
    router.start()


def _full_disk(world: World, chance: random.Random) -> None:
    number = chance.randrange(len(world.routers))
    world.restart_on_full_disk(number)
    time.sleep(chance.uniform(0.2, 0.6))
    world.make_room(number)


def _cut(line: TcpProxy, chance: random.Random, longest_s: float) -> None:
    line.cut()
    time.sleep(chance.uniform(0.1, longest_s))
    line.mend()


def _cut_database(world: World, chance: random.Random) -> None:
    _cut(world.database_line, chance, 1.2)


def _cut_database_and_kill_router(world: World, chance: random.Random) -> None:
    """The rows of the outage are only in the journal when the router dies."""
    world.database_line.cut()
    time.sleep(chance.uniform(0.2, 0.6))
    router = chance.choice(world.routers)
    router.kill()
    world.database_line.mend()
    router.start()


def _cut_database_and_kill_routers(world: World, chance: random.Random) -> None:
    """One of them stays away for longer than what it holds: of its spend nobody has rows until it is back."""
    world.database_line.cut()
    time.sleep(chance.uniform(0.2, 0.6))
    for router in world.routers:
        router.kill()
    world.database_line.mend()
    first, second = chance.sample(world.routers, 2)
    first.start()
    time.sleep(LIFE_S + chance.uniform(0, 1.5))
    second.start()


def _flush_redis(world: World, chance: random.Random) -> None:
    world.flush_redis()


def _cut_redis(world: World, chance: random.Random) -> None:
    _cut(world.redis_line, chance, 0.8)


def _hang_redis(world: World, chance: random.Random) -> None:
    world.redis_line.hang()
    time.sleep(chance.uniform(0.1, 1.2))
    world.redis_line.mend()


def _restart_redis(world: World, chance: random.Random) -> None:
    """It comes back with nothing."""
    world.redis_line.cut()
    world.flush_redis()
    time.sleep(chance.uniform(0, 0.5))
    world.redis_line.mend()


def _flush_redis_and_kill_router(world: World, chance: random.Random) -> None:
    router = chance.choice(world.routers)
    router.kill()
    world.flush_redis()
    router.start()


def _cut_engine(world: World, chance: random.Random) -> None:
    _cut(chance.choice(world.engines).line, chance, 0.8)


def _kill_engine(world: World, chance: random.Random) -> None:
    chance.choice(world.engines).kill()


def _kill_engines(world: World, chance: random.Random) -> None:
    for engine in world.engines:
        engine.kill()


def _stall_engine(world: World, chance: random.Random) -> None:
    engine = chance.choice(world.engines)
    engine.stall()
    time.sleep(chance.uniform(0.3, 2))
    engine.wake()


FAULTS: Mapping[str, Callable[[World, random.Random], None]] = {
    "kill router": _kill_router,
    "kill both routers": _kill_routers,
    "kill router twice": _kill_router_twice,
    "full disk": _full_disk,
    "cut database": _cut_database,
    "cut database, kill router": _cut_database_and_kill_router,
    "cut database, kill both routers": _cut_database_and_kill_routers,
    "flush Redis": _flush_redis,
    "cut Redis": _cut_redis,
    "hang Redis": _hang_redis,
    "restart Redis": _restart_redis,
    "flush Redis, kill router": _flush_redis_and_kill_router,
    "cut engine": _cut_engine,
    "kill engine": _kill_engine,
    "kill both engines": _kill_engines,
    "stall engine": _stall_engine,
}


def befall(world: World, chance: random.Random, count: int = 3) -> list[str]:
    """`count` faults, one after another; their names in order."""
    names = [chance.choice(list(FAULTS)) for _ in range(count)]
    for name in names:
        time.sleep(chance.uniform(0.1, 0.4))
        FAULTS[name](world, chance)
    time.sleep(0.3)
    return names


def long_outage(world: World, chance: random.Random) -> list[str]:
    """No database for a minute, under load; and a router that dies at the end of it."""
    world.database_line.cut()
    time.sleep(LONG_OUTAGE_S)
    router = chance.choice(world.routers)
    router.kill()
    world.database_line.mend()
    router.start()
    return [f"no database for {LONG_OUTAGE_S:.0f} s, kill router"]
