"""Builds the image and runs it as a cluster would: as a number, on a root that is read only.

    make proofs ONLY=image

On Debian, as root, with buildah and debootstrap (apt-get install buildah debootstrap), about 10 GB
of free disk, and no registry of images: what BASE names in a real build is made by _base.sh. Python
packages come from where pip of this machine gets them; its settings are lent to the build and are
not in the image.
"""

import contextlib
import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[3]
BASE = "localhost/manylabel-proof-base"
IMAGE = "localhost/manylabel-proof"
_BUILDAH = ("buildah", "--storage-driver", "vfs")
_TEST_TOOLS = ("pytest", "pytest-timeout", "pluggy", "iniconfig")  # The image has none.
_TESTED = "tests/storage"
_WITHOUT = "not checkout and not git_is"  # The image has no git either.


class Configuration(TypedDict):
    """What the image says of how it is to be run, in the words of the OCI."""

    User: str
    Env: list[str]
    Cmd: list[str]


# Arguments: the image's root, a folder with tests, and the command. Everything is gone with the
# namespace that it runs in.
_AS_A_POD = """
set -euo pipefail
root=$1; tests=$2; shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o size=1g tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/tmp/proof"
mount --bind "$tests" "$root/tmp/proof"
mount -o remount,bind,ro "$root/tmp/proof"
exec chroot --userspec="$IMAGE_USER" --groups= "$root" env --ignore-environment "$@"
"""


def main() -> None:
    """Prints each step and what came of it; ends with 1 at the first that fails."""
    for program in ("buildah", "debootstrap"):
        if not shutil.which(program):
            sys.exit(f"error: {program} is not installed; apt-get install buildah debootstrap")
    if os.geteuid() != 0:
        sys.exit("error: expected to run as root, as mounts are made; use sudo make proofs")
    with tempfile.TemporaryDirectory() as folder:
        source, tests = Path(folder, "source"), Path(folder, "tests")
        commit = _copy_commit(source)
        print(f"ok  source  {commit}")
        _copy_tests(source, tests)
        Path(folder).chmod(0o755)
        with _built(source) as (root, configuration):
            _prove(_Pod(root, tests, configuration), configuration)
    print("image proof: all well")


def _prove(run: "_Pod", configuration: Configuration) -> None:
    run("numeric user", "id -u", configuration["User"].partition(":")[0])
    run("read only", _shell("! touch /opt/manylabel/x /x 2> /dev/null && echo kept"), "kept")
    run("default command", shlex.join(configuration["Cmd"]), "preprocess")
    run("ray", "ray --version", importlib.metadata.version("ray"))
    run("KubeRay's words", _shell("command -v bash python ray"), "/opt/manylabel/bin/ray")
    pre_stop = "python -I -m manylabel.deploy.kubernetes.pre_stop head none 30"
    run("pre-stop", pre_stop, "the head does not answer")
    run("a cluster of Ray", _shell(_CLUSTER), "the job has saved")
    run("no test tools", _shell("! python -c 'import pytest' 2> /dev/null && echo none"), "none")
    other = (
        "find / -xdev '(' -name .git -o -name openclipart -o -name test_wheel.py ')' 2> /dev/null"
    )
    run("nothing else travelled", _shell(f"! {other} | grep . && echo none"), "none")
    run(f"unit tests of {_TESTED}", _shell(_UNIT_TESTS), " passed")


def _shell(script: str) -> str:
    return shlex.join(["bash", "-c", script])


_UNIT_TESTS = f"""
export PYTHONPATH=/tmp/proof/tools PYTHONDONTWRITEBYTECODE=1
cd /tmp/proof && python -m pytest -q --tb=short -p no:cacheprovider -k '{_WITHOUT}' {_TESTED}
"""

# What KubeRay starts in a pod, in short: with the token on, a task; and a job that takes 4 s to
# save, and is given them by what Kubernetes calls before it ends the pod.
_CLUSTER = """
export HOME=/tmp RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef
ray start --head --num-cpus=1 --object-store-memory=100000000 --dashboard-host=0.0.0.0 \
  > /tmp/start.log 2>&1 || { cat /tmp/start.log; exit 1; }
ray health-check --address 127.0.0.1:6379 || exit 1
python -c "
import ray
ray.init('auto', log_to_driver=False)
print('cluster answers', ray.get(ray.remote(lambda: 42).remote()))
" 2>&1 || exit 1
cat > /tmp/job.sh <<'END'
trap 'sleep 4; echo saved > /tmp/saved; exit 0' TERM
while :; do sleep 0.2; done
END
ray job submit --address http://127.0.0.1:8265 --no-wait --submission-id one \
  --runtime-env-json '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "20"}}' -- sh /tmp/job.sh \
  > /tmp/submit.log 2>&1 || { cat /tmp/submit.log; exit 1; }
until ray job status --address http://127.0.0.1:8265 one 2>&1 | grep -q RUNNING; do sleep 1; done
python -I -m manylabel.deploy.kubernetes.pre_stop head one 30
result=$(cat /tmp/saved)
ray stop --force > /dev/null 2>&1
echo "the job has $result"
"""


class _Pod:
    """Runs commands in the image, each in namespaces of its own."""

    def __init__(self, root: Path, tests: Path, configuration: Configuration) -> None:
        self._root = root
        self._tests = tests
        self._user = configuration["User"]
        self._environment = configuration["Env"]

    def __call__(self, name: str, command: str, expected: str) -> None:
        # A process namespace of its own: whatever the command leaves running ends with it.
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net"]
        script = ["bash", "-c", f"ip link set lo up\n{_AS_A_POD}", "as-a-pod"]
        begin = time.monotonic()
        done = subprocess.run(
            [
                *unshare,
                *script,
                str(self._root),
                str(self._tests),
                *self._environment,
                *shlex.split(command),
            ],
            env={**os.environ, "IMAGE_USER": self._user},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        well = done.returncode == 0 and expected in done.stdout
        last = done.stdout.strip().splitlines()[-1:] or [""]
        print(f"{'ok' if well else 'FAILED'}  {name}  {time.monotonic() - begin:.1f} s  {last[0]}")
        if not well:
            sys.exit(
                f"{done.stdout[-4000:]}\nerror: {name}: expected 0 and {expected!r}, received "
                f"{done.returncode}"
            )


@contextlib.contextmanager
def _built(source: Path) -> Iterator[tuple[Path, Configuration]]:
    """The image's root and its configuration; the image is removed, its base is kept."""
    begin = time.monotonic()
    if _buildah("images", "--quiet", "--filter", f"reference={BASE}", may_fail=True) == "":
        subprocess.run(
            [str(Path(__file__).with_name("_base.sh")), BASE.partition("/")[2]], check=True
        )
        print(f"ok  base  {time.monotonic() - begin:.1f} s")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _buildah(
            *("bud", "--isolation", "chroot", "--file", str(source / "deploy/docker/Dockerfile")),
            *_lent_settings(Path(folder)),
            *("--build-arg", f"BASE={BASE}", "--tag", IMAGE, str(source)),
        )
    container = _buildah("from", IMAGE)
    try:
        described = json.loads(_buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
        root = Path(_buildah("mount", container))
        size = subprocess.run(["du", "-sm", str(root)], capture_output=True, text=True, check=True)
        print(f"ok  build  {time.monotonic() - begin:.1f} s  {size.stdout.split()[0]} MB")
        yield root, described
    finally:
        _buildah("rm", container)
        _buildah("rmi", "--force", IMAGE)


def _lent_settings(folder: Path) -> Sequence[str]:
    """Volumes of the build, gone with it: certificates and pip's settings of this machine."""
    lines = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    wanted = ("cert", "index-url", "extra-index-url", "proxy", "default-timeout", "trusted-host")
    found = {
        key: value.strip("'\"")
        for name, value in named.items()
        if (key := name.rpartition(".")[2]) in wanted
    }
    settings = folder / "pip.conf"
    settings.write_text(
        "[global]\n" + "".join(f"{key} = {value}\n" for key, value in found.items())
    )
    return (
        "--volume",
        f"{settings}:/etc/pip.conf:ro",
        "--volume",
        "/etc/ssl/certs:/etc/ssl/certs:ro",
    )


def _copy_commit(folder: Path) -> str:
    """What is committed, as files may change while the image is built; the commit."""
    folder.mkdir()
    git = ["git", "-C", str(ROOT)]
    archive = subprocess.run([*git, "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive, check=True)
    describe = subprocess.run(
        [*git, "log", "-1", "--format=%h %s"], check=True, capture_output=True, text=True
    )
    return describe.stdout.strip()


def _copy_tests(source: Path, folder: Path) -> None:
    """One package's unit tests, what they need of the checkout, and pytest."""
    shutil.copytree(source / _TESTED, folder / _TESTED)
    for file in ("tests/conftest.py", "setup.cfg"):
        shutil.copy(source / file, folder / file)
    for name in _TEST_TOOLS:
        for part in importlib.metadata.distribution(name).files or ():
            if ".." not in part.parts and part.suffix != ".pyc":
                target = folder / "tools" / part
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(part.locate()), target)


def _buildah(*arguments: str, may_fail: bool = False) -> str:
    done = subprocess.run([*_BUILDAH, *arguments], capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        sys.exit(
            f"{done.stdout[-2000:]}{done.stderr[-4000:]}\nerror: buildah {arguments[0]} failed"
        )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
