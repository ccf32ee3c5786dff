"""Object stores of Azure and Google as their emulators speak them: on loopback, each over a folder, with a key."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from projects import BIN
from sluiceway.data import protocols
from sluiceway.data.protocols import file_system

ACCOUNT, SECRET = "ann", b64encode(b"a key that nobody may see").decode()


@dataclass
class Emulator:
    """A server that keeps what it is given, so that it may be stopped and started again."""

    command: list[str]
    url: str
    """Where shards go: a place in it that exists."""
    environment: dict[str, str]
    """By which clients find it, and are let in."""
    port: int
    folder: Path
    serving: dict[str, str] = field(default_factory=dict)
    """What the server itself wants in its environment."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env={**os.environ, **self.serving},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while True:
            assert self.process.poll() is None, f"{self.command[0]} ended with {self.process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)

    def away(self) -> threading.Thread:
        """Be gone until somebody has asked in vain; the thread ends when the server is back."""
        self.stop()
        nobody = socket.create_server(("127.0.0.1", self.port))

        def wait() -> None:
            with nobody:
                nobody.accept()[0].close()
            self.start()

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    def make(self) -> None:
        """Make the bucket."""
        system = self.system()
        system.mkdir(self.url.split("/")[2])

    def objects(self) -> list[str]:
        """Return the paths of all objects."""
        system = self.system()
        system.invalidate_cache()
        return sorted(system.find(self.url.partition("://")[2]))

    def system(self) -> Any:
        """Return a client."""
        return file_system(self.url.partition("://")[0])

    def stop(self) -> None:
        """Let it write what it has: Azurite keeps its list of objects in memory for a while."""
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def azure(folder: Path) -> Emulator:
    """Azurite, Microsoft's own, which asks for the account's key; a container is still to be made."""
    _needs("adlfs", "extra azure")
    program = shutil.which("azurite-blob", path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if not program:
        pytest.skip("not installed: azurite-blob (npm: azurite)")
    port = _free()
    host = f"http://127.0.0.1:{port}/{ACCOUNT}"
    words = (f"AccountName={ACCOUNT}", f"AccountKey={SECRET}", f"BlobEndpoint={host}")
    listen = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    return Emulator(
        [program, *listen, "--silent", "--disableTelemetry", "--skipApiVersionCheck"],
        "az://container/shards",
        {"AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{';'.join(words)};"},
        port,
        folder,
        {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{SECRET}"},
    )


def google(folder: Path) -> Emulator:
    """gcp-storage-emulator, which lets everybody in."""
    _needs("gcsfs", "extra gcs")
    _needs("gcp_storage_emulator", "pip: gcp-storage-emulator")
    port = _free()
    where = ["--data-dir", str(folder), "start", "--host", "127.0.0.1", "--port", str(port)]
    return Emulator(
        [sys.executable, "-m", "gcp_storage_emulator", *where],
        "gs://bucket/shards",
        {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "NO_GCE_CHECK": "true"},
        port,
        folder,
    )


def forget() -> None:
    """Let the next client read the environment anew."""
    import fsspec

    protocols._file_system.cache_clear()
    for protocol in ("az", "gs"):
        with suppress(ImportError):
            fsspec.get_filesystem_class(protocol).clear_instance_cache()


KINDS = {"azure": azure, "google": google}


def _needs(module: str, where: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"not installed: {module} ({where})")
