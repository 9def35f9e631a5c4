"""The Khronos glTF validator, where Node.js and its package gltf-validator are installed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
const validator = require('gltf-validator'), fs = require('fs')
if (process.argv[1])
  validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
    .then(report => console.log(report.issues.numErrors))
"""
PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Validator:
    node: str

    @classmethod
    def find(cls) -> Validator | None:
        """The validator if `require("gltf-validator")` works here: in the working folder, or by NODE_PATH."""
        node = shutil.which("node")
        if node is None or _run(node).returncode:
            return None
        return cls(node)

    def errors(self, path: Path) -> int:
        """How many errors a .glb or .gltf has."""
        done = _run(self.node, str(path.resolve()))
        if done.returncode:
            raise RuntimeError(f"gltf-validator failed on {path}: {done.stderr.strip()[-200:]}")
        return int(done.stdout)


def _run(node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([node, "-e", SCRIPT, *arguments], capture_output=True, text=True, timeout=PATIENCE)
