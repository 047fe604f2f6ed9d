"""A Redis server of our own: its settings and its command. On 127.0.0.1 only, with a password."""

from dataclasses import dataclass
from pathlib import Path

from deploy.local.account import Account
from deploy.local.runtime import REDIS_BIN


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Where a server's program and data are, and on which port it listens."""

    runtime: Path
    data: Path
    port: int
    password: str
    account: Account

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def argv(self) -> list[str]:
        """The command of the server, in the foreground. To be run as the account, in the data folder."""
        return [str(self.runtime / REDIS_BIN / "redis-server"), str(self.data / "redis.conf")]

    def prepare(self, *, persist: bool) -> None:
        """Make the data folder and write the settings. `persist`: keep what is in it over a restart."""
        self.account.folder(self.data)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {self.data}",
            "daemonize no",
            # Limits and holds live here. Past this they are refused with an error, never dropped to make room.
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
            f"appendonly {'yes' if persist else 'no'}",
            "appendfsync everysec",
            'save ""',
        ]
        self.account.write(self.data / "redis.conf", "\n".join(lines) + "\n")
