"""Real servers for the tests: PostgreSQL, RabbitMQ and Redis, each on a free port of loopback.

Every one works in a folder of its own and as a user without rights, and can be stopped, killed and
started again with what it had stored. Where a program is not installed, `missing` names it.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""PostgreSQL refuses to run as root; the others have no need to."""

START_LIMIT_S = 120.0


def _program(name: str) -> str | None:
    folders = [*os.get_exec_path(), "/usr/sbin"]
    folders += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join(folders))


def missing() -> list[str]:
    """Which of the programs that the servers need are not on this machine."""
    needed = ("postgres", "initdb", "rabbitmq-server", "epmd", "redis-server")
    return [name for name in needed if _program(name) is None]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _runs(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Server:
    """A server process that can be stopped and started again on the same port.

    Parameters
    ----------
    folder : Path
        Where it keeps what it stores; made for the user it runs as.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.folder.mkdir(parents=True)
        self._own(self.folder)
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._popen = subprocess.Popen(
                self._as_nobody(self._command()),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            said = f"{type(self).__name__}: {(self.folder / 'log').read_text()[-2000:]}"
            assert self._popen.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in an orderly way; nothing where it does not run."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it, and whatever it started, as a power cut would."""
        self._end(signal.SIGKILL)

    close = kill

    def freeze(self) -> None:
        """Let it say nothing more, with its connections open, until `thaw`."""
        assert self._popen is not None
        os.killpg(self._popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._popen is not None
        os.killpg(self._popen.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    _stop_signal = signal.SIGTERM

    def _end(self, by: signal.Signals) -> None:
        if self._popen is None:
            return
        group = self._popen.pid
        self._signal(by)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and _runs(group):
            self._popen.poll()  # so that it does not stay as a zombie
            time.sleep(0.02)
        if _runs(group):
            os.killpg(group, signal.SIGKILL)
        self._popen.wait(60)
        self._popen = None

    def _signal(self, by: signal.Signals) -> None:
        assert self._popen is not None
        if by is signal.SIGKILL:
            os.killpg(self._popen.pid, by)
        else:
            self._popen.send_signal(by)

    def _command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _environment(self) -> dict[str, str]:
        kept = ("PATH", "LANG", "LC_ALL", "TZ")
        inherited = {name: os.environ[name] for name in kept if name in os.environ}
        return inherited | {"HOME": str(self.folder)}

    @staticmethod
    def _as_nobody(command: Sequence[str | Path]) -> list[str | Path]:
        return [*(NOBODY if os.geteuid() == 0 else ()), *command]

    @staticmethod
    def _own(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)


class PostgreSQL(Server):
    """A database server with a database ``echo2pheno`` in it, and its user of the same name."""

    _stop_signal = signal.SIGINT  # a fast shutdown: it does not wait for its clients to leave

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        self._run(
            *("initdb", "--pgdata", self._data, "--username", "echo2pheno"),
            *("--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"),
        )

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://echo2pheno@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database, and give its address."""
        self._run("createdb", *self._where(), database)
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._run("dropdb", *self._where(), "--force", database)

    def _where(self) -> tuple[str, ...]:
        return "--host", "127.0.0.1", "--port", str(self.port), "--username", "echo2pheno"

    def _command(self) -> Sequence[str | Path]:
        options = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=")
        return [
            str(_program("postgres")),
            *("-D", self._data),
            *(part for option in options for part in ("-c", option)),
        ]

    def _answers(self) -> bool:
        ready = subprocess.run(
            [str(_program("pg_isready")), *self._where()], capture_output=True, check=False
        )
        return ready.returncode == 0

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            self._as_nobody([str(_program(program)), *arguments]),
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


class RabbitMQ(Server):
    """A broker node without plug-ins; its guest may connect from this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution_port = free_port()
        self._mapper_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._mapper is None:  # else the node starts one, which outlives it
            self._mapper = subprocess.Popen(
                self._as_nobody([str(_program("epmd"))]),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        super().start()

    def close(self) -> None:
        """Kill it, for good."""
        self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait(60)
            self._mapper = None

    def _signal(self, by: signal.Signals) -> None:
        assert self._popen is not None
        os.killpg(self._popen.pid, by)  # the leader is a script, which would leave the node running

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def _command(self) -> Sequence[str | Path]:
        return [str(_program("rabbitmq-server"))]

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "RABBITMQ_NODENAME": f"echo2pheno-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
        }


class Redis(Server):
    """A broker that writes every change to disk."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str | Path]:
        return [
            str(_program("redis-server")),
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"),
        ]
