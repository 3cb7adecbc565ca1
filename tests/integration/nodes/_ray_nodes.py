"""Three machines on one: network namespaces with addresses of their own, joined by a bridge, each
with a node of one Ray cluster. Needs root, `ip` and `unshare`; `cannot()` says why it will not do.

    with RayNodes(folder) as nodes:
        nodes.run(2, "ray", "status")       # a command on the second node
        nodes.kill(3)                       # the machine is gone
        nodes.cut(2); nodes.join(2)         # its cable
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BIN = Path(sys.executable).parent
STORE_BYTES = 300_000_000
DASHBOARD_PORT = 8265
RAY_PORT = 6379


def cannot() -> str | None:
    """Why there are no such machines here; None if there are."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"network namespaces need {program} (apt-get install iproute2 util-linux)"
    tried = subprocess.run(["ip", "netns", "add", "mlprobe"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", "mlprobe"], capture_output=True)
    return None if tried.returncode == 0 else f"no network namespaces here: {tried.stderr.strip()}"


class RayNodes:
    """A cluster of `count` nodes; the first is the head.

    Args:
        folder: for files; at most 40 characters long, since Ray's sockets lie in it.
        token: whether Ray asks for one. The commands of `run` have it.
        cpus: that each node offers.
        network: third byte of the addresses 10.77.NETWORK.NODE, for several clusters at a time.
        environment: variables of the nodes, beside ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 3,
        token: bool = True,
        cpus: int = 2,
        network: int = 0,
        environment: Mapping[str, str] | None = None,
        dashboard_host: str | None = None,
    ) -> None:
        self.folder, self.count, self.cpus = folder, count, cpus
        self._network = network
        self._dashboard_host = dashboard_host or self.ip(1)
        self.token_path = folder / "token"
        self.token_path.touch(mode=0o600)
        self.token_path.write_text(secrets.token_hex(32))
        # Ray switches authentication on wherever a token file exists, ~/.ray/auth_token too.
        authentication = (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}
            if token
            else {"RAY_AUTH_MODE": "disabled"}
        )
        self.environment = {
            **os.environ,
            **authentication,
            "RAY_raylet_start_wait_time_s": "120",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **(environment or {}),
        }
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        """Of the Jobs API."""
        return f"http://{self.ip(1)}:{DASHBOARD_PORT}"

    @property
    def ray_address(self) -> str:
        """That drivers join."""
        return f"{self.ip(1)}:{RAY_PORT}"

    def ip(self, node: int) -> str:
        """Of a node, counted from 1."""
        return f"10.77.{self._network}.{node}"

    @property
    def _here(self) -> str:
        return f"10.77.{self._network}.254/24"

    def __enter__(self) -> Self:
        self._remove_network()
        bridge = self._name("b")
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", self._here, "dev", bridge)
        _ip("link", "set", bridge, "up")
        for node in range(1, self.count + 1):
            space, cable = self._name("n", node), self._name("v", node)
            _ip("netns", "add", space)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", cable, "master", bridge, "up")
            _ip("-n", space, "addr", "add", f"{self.ip(node)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
        try:
            self.start(1)
            for node in range(2, self.count + 1):
                self.start(node)
            self._await_nodes()
        except BaseException:
            self._end()
            raise
        return self

    def mend(self) -> None:
        """Starts anew those that were killed."""
        lost = [node for node in range(1, self.count + 1) if node not in self._nodes]
        for node in lost:
            self.start(node)
        if lost:
            self._await_nodes()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def start(self, node: int) -> None:
        """Starts the node, anew if it was killed."""
        # Nodes share the head's path of Ray's folder, and may not share the folder.
        own, common = self.folder / f"t{node}", self.folder / "ray"
        own.mkdir(exist_ok=True)
        common.mkdir(exist_ok=True)
        role = (
            [
                "--head",
                f"--port={RAY_PORT}",
                f"--dashboard-host={self._dashboard_host}",
                f"--dashboard-port={DASHBOARD_PORT}",
                f"--temp-dir={common}",
            ]
            if node == 1
            else [f"--address={self.ray_address}"]
        )
        ray = [str(BIN / "ray"), "start", "--block", *role, f"--node-ip-address={self.ip(node)}"]
        ray += [f"--num-cpus={self.cpus}", f"--object-store-memory={STORE_BYTES}"]
        ray += ["--disable-usage-stats"]
        mounted = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        with (self.folder / f"node-{node}.log").open("ab") as log:
            self._nodes[node] = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self._name("n", node),
                    "unshare",
                    "-m",
                    "sh",
                    "-c",
                    mounted,
                    "sh",
                    str(own),
                    str(common),
                    *ray,
                ],
                cwd=self.folder,  # `ray start` executes modules of its current folder
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if node == 1:
            self._await_answer()

    def kill(self, node: int) -> None:
        """Every process of the node at once, as when a machine loses its power."""
        process = self._nodes.pop(node)
        for each in (*self.processes(node), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        process.wait()

    def processes(self, node: int) -> list[int]:
        """Ids of the processes that run in the node's namespace."""
        done = _ip("netns", "pids", self._name("n", node), check=False)
        return [int(line) for line in done.split()]

    def titled(self, title: bytes) -> list[tuple[int, int]]:
        """(node, process id) of the processes of all nodes whose command line has it."""
        found = []
        for node in range(1, self.count + 1):
            for process in self.processes(node):
                with contextlib.suppress(OSError):  # it has just ended
                    if title in Path(f"/proc/{process}/cmdline").read_bytes():
                        found.append((node, process))
        return found

    def cut(self, node: int) -> None:
        """Takes the node off the network."""
        _ip("link", "set", self._name("v", node), "down")

    def join(self, node: int) -> None:
        """Puts it back."""
        _ip("link", "set", self._name("v", node), "up")

    @contextlib.contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Takes this machine, which is none of the nodes, off their network for a while."""
        _ip("addr", "del", self._here, "dev", self._name("b"))
        try:
            yield
        finally:
            _ip("addr", "add", self._here, "dev", self._name("b"))

    def popen(self, node: int, *command: str, **options: Any) -> "subprocess.Popen[str]":
        """Starts a command on a node."""
        options.setdefault("env", self.environment)
        return subprocess.Popen([*self._inside(node), *command], text=True, **options)

    def run(
        self, node: int, *command: str, timeout: float = 170, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command on a node to its end; output is captured."""
        options.setdefault("env", self.environment)
        full = [*self._inside(node), *command]
        return subprocess.run(full, text=True, capture_output=True, timeout=timeout, **options)

    def manylabel(
        self, *arguments: str, node: int = 1, timeout: float = 170, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Runs our command on a node."""
        return self.run(node, str(BIN / "manylabel"), *arguments, timeout=timeout, **options)

    def _inside(self, node: int) -> list[str]:
        if node in self._nodes:  # With its files, as drivers that join need the node's sockets.
            return ["nsenter", f"--target={self._nodes[node].pid}", "--mount", "--net"]
        return ["ip", "netns", "exec", self._name("n", node)]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + 120
        probe = f"import socket; socket.create_connection(({self.ip(1)!r}, {DASHBOARD_PORT}), 1)"
        while self.run(1, sys.executable, "-c", probe).returncode != 0:
            if time.monotonic() > deadline or self._nodes[1].poll() is not None:
                raise RuntimeError((self.folder / "node-1.log").read_text("utf-8", "replace"))
            time.sleep(0.2)

    def _await_nodes(self) -> None:
        listed = "import ray; ray.init('auto', log_to_driver=False); "
        listed += "print(sum(node['Alive'] for node in ray.nodes()))"
        deadline = time.monotonic() + 120
        while True:
            done = self.run(1, sys.executable, "-c", listed, env=self._with_address())
            if done.stdout.strip().endswith(str(self.count)):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the nodes did not come together: {done.stderr}")
            time.sleep(0.5)

    def _with_address(self) -> dict[str, str]:
        return {**self.environment, "RAY_ADDRESS": self.ray_address}

    def _end(self) -> None:
        for node in list(self._nodes):
            self.kill(node)
        self._remove_network()

    def _remove_network(self) -> None:
        for node in range(1, 10):
            for process in self.processes(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            # Its end here goes some time after the namespace only.
            _ip("link", "delete", self._name("v", node), check=False)
            _ip("netns", "delete", self._name("n", node), check=False)
        _ip("link", "delete", self._name("b"), check=False)

    def _name(self, kind: str, node: int | None = None) -> str:
        """At most 15 characters, which interfaces' names are limited to."""
        return f"ml{self._network}{kind}{'' if node is None else node}"


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
