"""How the guest gets into the box: as text, through its standard input, so that no file of ours has to be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGES = "/box/site-packages"  # where the walls put what programs may import
GUEST_MODULES = (
    "calls",
    "kernel",
    "limits",
    "printing",
    "program",
    "reports",
    "running",
    "separation",
    "snapshots",
    "supervisor",
    "values",
)

# Stage one gives the interpreter the fixed environment, by starting it again; stage two takes the guest's modules in. The
# modules see builtins of their own, which no program can replace.
BOOT = """
import os, sys
environment = {
    "HOME": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "TZ": "UTC",
}
if dict(os.environ) != environment:
    os.execve(sys.executable, [sys.executable, "-s", "-P", "-c", sys.orig_argv[3]], environment)
import builtins, json
from importlib.machinery import ModuleSpec
line = b""
while not line.endswith(b"\\n"):
    chunk = os.read(0, 1 << 20)
    if not chunk:
        os._exit(0)
    line += chunk
message = json.loads(line)
class Guest:
    def find_spec(self, name, path=None, target=None):
        if name in message["modules"]:
            return ModuleSpec(name, self, is_package=name in ("sandbox", "sandbox.guest"))
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        name = module.__name__
        module.__dict__["__builtins__"] = dict(builtins.__dict__)
        exec(compile(message["modules"][name], "<" + name + ">", "exec", dont_inherit=True), module.__dict__)
sys.meta_path.insert(0, Guest())
from sandbox.guest.supervisor import main
del sys.meta_path[0]
main(message["config"])
"""

PYTHON_ARGUMENTS = ("-I", "-c", BOOT)


def first_line(*, uid_base: int, separation: str = "auto", tmp_mib: int = 256) -> bytes:
    """What a fresh guest reads first: its modules and its configuration."""
    folder = Path(__file__).with_name("guest")
    modules = {"sandbox": "", "sandbox.guest": ""}
    for name in GUEST_MODULES:
        modules[f"sandbox.guest.{name}"] = (folder / f"{name}.py").read_text(encoding="utf-8")
    config: dict[str, Any] = {"uid_base": uid_base, "separation": separation, "tmp_mib": tmp_mib, "packages": PACKAGES}
    return json.dumps({"modules": modules, "config": config}).encode()
