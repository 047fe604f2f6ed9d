"""`make up`: from whatever there is to one answered and billed request."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.local import (
    configuration,
    credentials,
    database,
    demo,
    down,
    engine,
    layout,
    plan,
    ports,
    preflight,
    runtime,
    supervisor,
)
from deploy.local.account import service_account
from deploy.local.errors import PreflightFailed
from deploy.local.fleet import Fleet
from deploy.local.instance import ENGINES, Instance
from deploy.local.layout import Layout
from deploy.local.settings import LocalSettings
from deploy.local.steps import Progress, Step, run_steps

# Seconds. Each is several times what was seen on two cores, since the steps share them.
_STORE_S, _ROUTER_S, _PORTAL_S, _DAGSTER_S, _VLLM_S, _REQUEST_S = 60, 90, 120, 180, 300, 120


@dataclass(frozen=True, slots=True)
class Started:
    """What a person wants to know of a running instance."""

    instance: Instance
    outputs: dict[str, str]
    bill: demo.Bill


def up(settings: LocalSettings, handed_down: dict[str, str], progress: Progress) -> Started:
    """Bring the instance up; safe to run again while it runs.

    Raises: PreflightFailed: something is missing, nothing was started.  StepFailed: what this run started is stopped again.
    """
    account = service_account()
    place = layout.prepare(Layout.of(settings.state_dir), account)
    with locked(place):
        instance = _instance(place, settings, handed_down)
        start = Start(instance, Fleet(instance), progress)
        try:
            return start.run()
        except BaseException:  # an interrupt too: nothing is left half-started
            start.fleet.close()
            if not start.fleet.was_running:
                progress.say("stopping what was started")
                down.stop(place)
            raise


@contextmanager
def locked(place: Layout) -> Iterator[None]:
    """One `up` or `down` at a time.

    Raises: PreflightFailed: another is at work, or the instance is another user's.
    """
    try:
        file = (place.run / "lock").open("w")
    except PermissionError as error:
        raise PreflightFailed(f"{place.state} belongs to another user: run this as they do") from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PreflightFailed(f"another `up` or `down` of {place.state} is at work") from error
        yield


def _instance(place: Layout, settings: LocalSettings, handed_down: dict[str, str]) -> Instance:
    account = service_account()
    running = supervisor.is_up(place)
    if not running:
        preflight.require_memory()
        preflight.require_disk(place, first=not runtime.is_complete(place.runtime))
    made = credentials.load_or_make(place.state / "secrets.json", account)
    chosen = ports.choose(settings.ports, place.state / "ports.json", account, keep=running)
    instance = Instance(place, account, settings, chosen, made, handed_down)
    return instance.without_own_addresses()


@dataclass(slots=True)
class Start:
    """The steps of one start. Engines are kinds of ENGINES, the one for the first request in front."""

    instance: Instance
    fleet: Fleet
    progress: Progress
    engines: list[str] = field(default_factory=lambda: ["simulated"])
    bill: demo.Bill | None = None

    def run(self) -> Started:
        self._choose_engine()
        steps = [
            Step("runtime", self._runtime),
            Step("stores", self._stores, ("runtime",)),
            Step("database", self._database, ("stores",)),
            Step("applications", self._applications, ("database",)),
            Step("router", self._router, ("applications",)),
            Step("portal", self._portal, ("applications",)),
            Step("dagster", self._dagster, ("applications",)),
            Step("engine files", self._engine_files),
            Step("engine", self._engine, ("engine files", "stores")),
            Step("first request", self._first_request, ("engine", "router")),
        ]
        run_steps(steps, self.progress)
        self.fleet.settle()
        assert self.bill
        outputs = self.instance.outputs(self.bill.model)
        self.instance.account.write(
            self.instance.layout.state / "env", "".join(f"{name}={value}\n" for name, value in outputs.items())
        )
        return Started(self.instance, outputs, self.bill)

    def _choose_engine(self) -> None:
        if self.instance.settings.engine == "simulated":
            return
        if not self.fleet.runs(ENGINES["vllm"][0]):
            try:
                engine.require_capable_machine()
            except engine.EngineUnavailable as error:
                self._do_without_vllm(error)
                return
        self.engines = ["vllm", "simulated"]

    def _do_without_vllm(self, why: engine.EngineUnavailable) -> None:
        """Go on with the simulated engine, unless vLLM was asked for by name."""
        if self.instance.settings.engine == "vllm":
            raise why
        self.progress.say(f"{'engine':<18} no vLLM, the simulated engine answers instead: {why}")
        self.engines = ["simulated"]

    def _runtime(self) -> str:
        if not (self.instance.has_own_postgres or self.instance.has_own_redis):
            return ""
        built = runtime.build(self.instance.layout.runtime)
        return "PostgreSQL 17 with TimescaleDB and Redis 8 unpacked" if built else ""

    def _stores(self) -> str:
        if self.instance.has_own_postgres:
            self.instance.postgres.prepare()
        if self.instance.has_own_redis:
            self.instance.redis.prepare(persist=True)
        (self.instance.layout.run / "wanted").touch()
        programs = plan.stores(self.instance)
        self.fleet.add([*programs, plan.simulated_engine(self.instance), plan.guardian(self.instance)])
        for program in programs:
            self.fleet.wait(program.name, _STORE_S)
        return " and ".join(program.name for program in programs) + " up" if programs else "given from outside"

    def _database(self) -> str:
        return database.prepare(self.instance, self.engines)

    def _applications(self) -> str:
        configuration.write(self.instance)
        self.fleet.add(plan.applications(self.instance))
        return ""

    def _router(self) -> str:
        self.fleet.wait("router", _ROUTER_S, f"{self.instance.http('router')}/health/ready")
        return f"ready at {self.instance.base_url}"

    def _portal(self) -> str:
        self.fleet.wait("portal", _PORTAL_S)
        return f"ready at {self.instance.http('portal')}"

    def _dagster(self) -> str:
        for name in ("dagster-code", "dagster-webserver", "dagster-daemon"):
            self.fleet.wait(name, _DAGSTER_S)
        return f"ready at {self.instance.http('dagster')}"

    def _engine_files(self) -> str:
        if "vllm" not in self.engines:
            return ""
        try:
            done = engine.obtain(self.instance.layout)
        except engine.EngineUnavailable as error:
            self._do_without_vllm(error)
            return ""
        return " and ".join(done)

    def _engine(self) -> str:
        if "vllm" not in self.engines:
            return ""
        program = plan.vllm_engine(self.instance)
        self.fleet.add([program])
        self.fleet.wait(program.name, _VLLM_S)
        return f"vLLM serves {ENGINES['vllm'][1]}"

    def _first_request(self) -> str:
        database.seed(self.instance, self.engines)  # without vLLM, if it could not be installed after all
        _, model = ENGINES[self.engines[0]]
        request_id = demo.ask(self.instance, model, _REQUEST_S)
        self.bill = demo.bill(self.instance, request_id, model)
        return str(self.bill)
