"""Which processes an instance has, and how each is started, watched and stopped."""

from pathlib import Path

from deploy.local import configuration
from deploy.local.account import service_environment
from deploy.local.instance import ENGINES, Instance
from deploy.local.launch import GUARDIAN
from deploy.local.program import Program, code_stamp
from engines import launch
from warehouse.identity.webhooks import webhook_key

# Started in this order, stopped in the reverse one.
STORES, ENGINE, ROUTER, CODE, PEOPLE, WATCH = 10, 20, 30, 35, 40, 50
# Variables that the runtime sets for its processes, and what a person can do instead of setting them.
_BY_THE_RUNTIME = "leave it out"
MANAGED = {
    "ROUTER_DATABASE_URL": "set INFERHOUSE_DATABASE_URL for another database",
    "ROUTER_MANAGEMENT_DATABASE_URL": "set INFERHOUSE_DATABASE_URL for another database",
    "ROUTER_REDIS_URL": "set INFERHOUSE_REDIS_URL for another Redis",
    "ROUTER_JOURNAL_DIR": "set INFERHOUSE_STATE_DIR for another folder",
    "ROUTER_KEY_PEPPER": _BY_THE_RUNTIME,
    "ROUTER_SESSION_SECRET": _BY_THE_RUNTIME,
    "ROUTER_HOST": _BY_THE_RUNTIME,
    "ROUTER_PORT": "set INFERHOUSE_ROUTER_PORT",
    "ROUTER_PORTAL_URL": "set INFERHOUSE_PORTAL_PORT",
    "SIMULATED_HOST": _BY_THE_RUNTIME,
    "SIMULATED_PORT": "set INFERHOUSE_SIMULATED_PORT",
    "SIMULATED_MODEL": _BY_THE_RUNTIME,
    "ORCHESTRATION_DATABASE_URL": "set INFERHOUSE_DATABASE_URL for another database",
    "ORCHESTRATION_DAGSTER_DATABASE_URL": "set INFERHOUSE_DATABASE_URL for another database",
    "ORCHESTRATION_DBT_TARGET_DIR": "set INFERHOUSE_STATE_DIR for another folder",
    "ORCHESTRATION_WEBHOOK_KEY": _BY_THE_RUNTIME,
    "PORTAL_API_URL": _BY_THE_RUNTIME,
    "PORTAL_PLATFORM_DATABASE_URL": "set INFERHOUSE_DATABASE_URL for another database",
    "PORTAL_DATABASE_URL": "set INFERHOUSE_DATABASE_URL for another database",
}
# A third of the processor beside a busy engine or router: nobody waits for these.
_BACKGROUND = 5
_DAGSTER_BOOT_SECONDS = 240  # 15 s seen alone; beside vLLM's start several times that
# The daemon writes a heartbeat every 30 s, in UTC without saying so.
_DAEMON_LIVES = """
select max(timestamp) > (now() at time zone 'utc') - interval '3 minutes' from dagster.daemon_heartbeats
"""
_VLLM_BOOT_SECONDS = 300  # 55 s seen on two cores with nothing else going on; the first start beside an install takes longer


def stores(instance: Instance) -> list[Program]:
    """Database and Redis, where they are not given from outside."""
    programs = []
    if instance.has_own_postgres:
        # INT: end sessions and write everything down. TERM would wait for every client to leave.
        programs.append(
            _program(instance, "postgres", instance.postgres.argv, {}, STORES, health_url=instance.superuser_url,
                     stop_signal="INT", stop_seconds_max=30, address=instance.http("postgres").removeprefix("http://"))
        )  # fmt: skip
    if instance.has_own_redis:
        programs.append(
            _program(instance, "redis", instance.redis.argv, {}, STORES, health_url=instance.redis.url,
                     address=instance.http("redis").removeprefix("http://"))
        )  # fmt: skip
    return programs


def guardian(instance: Instance) -> Program:
    argv = [str(instance.layout.python), "-m", "deploy.local.guardian", str(instance.layout.state)]
    return _program(instance, GUARDIAN, argv, {}, WATCH, code=("deploy/local",))


def simulated_engine(instance: Instance) -> Program:
    name, model = ENGINES["simulated"]
    port = instance.ports["simulated"]
    argv = [
        str(instance.layout.python), "-m", "engines.simulated", "--host", "127.0.0.1", "--port", str(port), "--model", model,
    ]  # fmt: skip
    url = instance.http("simulated")
    return _program(
        instance, name, argv, _handed(instance, "SIMULATED_"), ENGINE,
        health_url=f"{url}/health", address=url, code=("engines", "warehouse/base"),
    )  # fmt: skip


def vllm_engine(instance: Instance) -> Program:
    name, model = ENGINES["vllm"]
    started = launch.command(
        instance.settings.vllm_profile,
        instance.layout.models / model,
        instance.ports["vllm"],
        instance.layout.engine_environment / "bin" / "python",
    )
    url = instance.http("vllm")
    return _program(
        instance, name, list(started.argv), dict(started.env), ENGINE,
        health_url=f"{url}/health", address=url, boot_seconds_max=_VLLM_BOOT_SECONDS,
    )  # fmt: skip


def applications(instance: Instance) -> list[Program]:
    """Router, Dagster and portal."""
    return [router(instance), *dagster(instance), portal(instance)]


def router(instance: Instance) -> Program:
    env = {
        "ROUTER_DATABASE_URL": instance.role_url("inferhouse_router"),
        "ROUTER_MANAGEMENT_DATABASE_URL": instance.role_url("inferhouse_management"),
        "ROUTER_REDIS_URL": instance.redis_url,
        "ROUTER_JOURNAL_DIR": str(instance.layout.work / "router" / "journal"),
        "ROUTER_KEY_PEPPER": instance.credentials.key_pepper,
        "ROUTER_SESSION_SECRET": instance.credentials.session_secret,
        "ROUTER_HOST": "127.0.0.1",
        "ROUTER_PORT": str(instance.ports["router"]),
        "ROUTER_PORTAL_URL": instance.http("portal"),
    }
    url = instance.http("router")
    return _program(
        instance, "router", [str(instance.layout.python), "-m", "router"], {**_handed(instance, "ROUTER_"), **env}, ROUTER,
        health_url=f"{url}/health/live", after=["postgres", "redis"], stop_seconds_max=40, address=f"{url}/v1",
        code=("router", "warehouse"),
    )  # fmt: skip


def dagster(instance: Instance) -> list[Program]:
    """Its code server, which runs the jobs, and the web server and daemon, which ask it what there is to run."""
    work = instance.layout.work
    home = configuration.dagster_home(instance)
    database = instance.role_url("inferhouse_dagster")
    env = {
        "DAGSTER_HOME": str(home),
        "ORCHESTRATION_DATABASE_URL": instance.role_url("inferhouse_transform"),
        # Dagster's tables are in a schema of their own.
        "ORCHESTRATION_DAGSTER_DATABASE_URL": instance.role_url("inferhouse_dagster", schema="dagster"),
        "ORCHESTRATION_DBT_TARGET_DIR": str(work / "dagster-code" / "dbt"),
        "ORCHESTRATION_WEBHOOK_KEY": webhook_key(instance.credentials.key_pepper.encode()).hex(),
    }
    env = {**_handed(instance, "ORCHESTRATION_"), **env}
    programs = instance.layout.python.parent
    workspace = ["-w", str(home / configuration.WORKSPACE)]
    code_port, url = str(instance.ports["dagster_code"]), instance.http("dagster")
    code_server = [
        str(programs / "dagster"), "api", "grpc", "-m", "orchestration.definitions", "--host", "127.0.0.1", "--port", code_port,
    ]  # fmt: skip
    web = [str(programs / "dagster-webserver"), *workspace, "--host", "127.0.0.1", "--port", str(instance.ports["dagster"])]
    code = ("orchestration", "dbt", "warehouse")
    return [
        _program(instance, "dagster-code", code_server, env, CODE, health_url=f"tcp://127.0.0.1:{code_port}",
                 after=["postgres"], boot_seconds_max=_DAGSTER_BOOT_SECONDS, niceness=_BACKGROUND, stop_seconds_max=20,
                 code=code),
        _program(instance, "dagster-webserver", web, env, PEOPLE, health_url=f"{url}/server_info", after=["dagster-code"],
                 boot_seconds_max=_DAGSTER_BOOT_SECONDS, niceness=_BACKGROUND, address=url),
        _program(instance, "dagster-daemon", [str(programs / "dagster-daemon"), "run", *workspace], env, PEOPLE,
                 health_url=database, health_sql=_DAEMON_LIVES, after=["dagster-code"],
                 boot_seconds_max=_DAGSTER_BOOT_SECONDS, niceness=_BACKGROUND, stop_seconds_max=20),
    ]  # fmt: skip


def portal(instance: Instance) -> Program:
    url = instance.http("portal")
    env = {
        "PORTAL_API_URL": instance.base_url,
        "PORTAL_DATABASE_URL": instance.role_url("inferhouse_portal"),
        "PORTAL_PLATFORM_DATABASE_URL": instance.role_url("inferhouse_platform"),
    }
    argv = [
        str(instance.layout.python.parent / "streamlit"), "run", str(instance.layout.code / "dashboards/streamlit_app.py"),
        "--server.address", "127.0.0.1", "--server.port", str(instance.ports["portal"]), "--server.headless", "true",
        "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none",
    ]  # fmt: skip
    return _program(
        instance, "portal", argv, {**_handed(instance, "PORTAL_"), **env}, PEOPLE,
        health_url=f"{url}/_stcore/health", after=["router"], address=url, code=("dashboards", "warehouse"),
    )  # fmt: skip


def _handed(instance: Instance, prefix: str) -> dict[str, str]:
    return {name: value for name, value in instance.handed_down.items() if name.startswith(prefix)}


def _program(
    instance: Instance,
    name: str,
    argv: list[str],
    env: dict[str, str],
    stage: int,
    *,
    code: tuple[str, ...] = (),
    health_url: str = "",
    health_sql: str = "",
    after: list[str] | None = None,
    stop_signal: str = "TERM",
    stop_seconds_max: int = 10,
    boot_seconds_max: int = 60,
    niceness: int = 0,
    address: str = "",
) -> Program:
    """A program with the environment and the folder that all of them get."""
    layout = instance.layout
    python_path = {} if stage == STORES or name == ENGINES["vllm"][0] else {"PYTHONPATH": str(layout.code)}
    folder: Path = layout.work / name
    return Program(
        name=name,
        argv=argv,
        env=service_environment({**python_path, **env}, layout.home, layout.pycache),
        folder=str(folder),
        stage=stage,
        health_url=health_url,
        health_sql=health_sql,
        after=after or [],
        stop_signal=stop_signal,
        stop_seconds_max=stop_seconds_max,
        boot_seconds_max=boot_seconds_max,
        niceness=niceness,
        address=address,
        code_stamp=code_stamp(layout.code, *code),
    )
