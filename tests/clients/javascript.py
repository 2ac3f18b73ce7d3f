"""JavaScript clients, installed once from the lock beside this file, and run by node."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

HERE = Path(__file__).parent
MANIFEST = "package.json", "package-lock.json"
SCRIPTS = (
    *("scenarios.mjs", "doors.mjs", "answers.mjs", "golden.mjs"),
    *("openai.mjs", "golden_openai.mjs"),
)
CLIENTS = "@google/genai", "openai"
NODE_MAJOR_MIN = 20
INSTALL_SECONDS = 100
INSTALL_TRIES = 3
RUN_SECONDS = 240

_UNREACHABLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH")


class JavaScript:
    """A folder with the clients and our scripts in it."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def run(self, script: str, base_url: str, directory: Path, *arguments: str) -> dict[str, Any]:
        """Run a script against a server, and give what each of its scenarios gave or threw."""
        environment = {
            "PATH": os.environ["PATH"],
            "GOOGLE_GEMINI_BASE_URL": base_url,
            "GEMINI_API_KEY": "any-key",
            "OPENAI_BASE_URL": f"{base_url}/v1beta/openai",
            "OPENAI_API_KEY": "any-key",
        }
        done = subprocess.run(
            ["node", str(self._home / script), *arguments],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, Any] = msgspec.json.decode(done.stdout)
        return said


def installed(cache: Path) -> JavaScript:
    """Give the client, installed anew only when its lock has changed; skip where it cannot be."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.lstrip("v").split(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"needs node {NODE_MAJOR_MIN} or later, and this one is {said.strip()}")
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MANIFEST))
    home = cache / digest.hexdigest()[:16]
    ready = home / "ready"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:  # workers share the folder; two installers spoil it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or not _are_there(home):
            for name in MANIFEST:
                shutil.copy(HERE / name, home)
            _install(home)
            ready.touch()
        for name in SCRIPTS:
            if _differs(HERE / name, home / name):  # else another worker may be running it
                shutil.copy(HERE / name, home)
    return JavaScript(home)


def _differs(ours: Path, copied: Path) -> bool:
    return not copied.exists() or copied.read_bytes() != ours.read_bytes()


def _install(home: Path) -> None:
    """Install what the lock names; npm has been seen to end well and to have installed nothing."""
    for _ in range(INSTALL_TRIES):
        done = _npm_ci(home)
        if not done.returncode and _are_there(home):
            return
    if _UNREACHABLE.search(done.stderr):
        pytest.skip("needs npm's registry, or a copy of its packages, to install the clients")
    pytest.fail(f"npm ci ended with {done.returncode}: {done.stdout}{done.stderr}")


def _are_there(home: Path) -> bool:
    return all((home / "node_modules" / name / "package.json").is_file() for name in CLIENTS)


def _npm_ci(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
