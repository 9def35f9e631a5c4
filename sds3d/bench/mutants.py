"""`sds3d bench mutants`: is every sign, factor and condition of an objective held by its own test?

The parts that objectives share (sds3d/guidance/NAME.py with a test of that name) are judged like objectives.

Each mutation of an objective's source is run against tests/guidance/test_NAME.py in a forked child, where the module is
imported anew from the changed source. A mutant that the test does not notice is a survivor: a hole in the test, or a
change that makes no difference (EQUIVALENT).
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from sds3d.bench.equivalent import EQUIVALENT
from sds3d.bench.mutations import Mutation, mutations, state_names
from sds3d.errors import UserError, unknown
from sds3d.guidance import GUIDANCE

ROOT = Path(__file__).resolve().parents[2]
DEPENDENT = ("sds3d.guidance", "sds3d.engine", "sds3d.bench")  # imported anew by every child: they know the objectives
LEAST, PATIENCE = 20.0, 8.0  # seconds a test may take at least, and as a multiple of what it takes unchanged
PASSED = 0  # pytest's exit code


@dataclass
class Verdict:
    """How an objective's test fared. `problem` says why there is no verdict."""

    name: str
    mutants: int = 0
    killed: int = 0
    equivalent: int = 0
    survivors: list[tuple[int, str]] = field(default_factory=list)  # line, change
    seconds: float = 0.0
    problem: str = ""

    @property
    def clean(self) -> bool:
        return not self.problem and not self.survivors and self.mutants > 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"clean": self.clean}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For a table: objective, mutants, killed, survivors (one a row)."""
        notes = [f"line {line}: {change}" for line, change in self.survivors] or [self.problem or "none"]
        if self.equivalent:
            notes[0] += f" ({self.equivalent} equivalent)"
        first = (self.name, str(self.mutants), str(self.killed), notes[0])
        return [first, *(("", "", "", note) for note in notes[1:])]


@dataclass
class _Job:
    pid: int
    mutation: Mutation | None
    began: float


def test_file(name: str) -> Path:
    """Where the test of an objective is. Errors: UserError outside of a source checkout."""
    folder = ROOT / "tests" / "guidance"
    if not folder.is_dir() or not hasattr(os, "fork"):
        raise UserError("bench mutants needs a source checkout, with tests/guidance beside sds3d, on a Unix system")
    own = folder / f"test_{name}.py"
    if name in GUIDANCE and not own.is_file():  # two objectives in one module share its test
        return folder / f"test_{GUIDANCE[name].__module__.rpartition('.')[2]}.py"
    return own


def measure(
    names: Iterable[str] = (), jobs: int = 2, tell: Callable[[Verdict], None] = lambda v: None
) -> list[Verdict]:
    """The verdict on each objective, all of GUIDANCE by default; `tell` hears each as it is reached."""
    _import_once()
    known = [*GUIDANCE, *shared_parts()]
    wanted = list(names) or known
    for name in wanted:
        if name not in known:
            raise unknown("guidance", name, known)
    verdicts = []
    for name in wanted:
        verdicts.append(judge(name, *_source(name), test_file(name), jobs))
        tell(verdicts[-1])
    return verdicts


def shared_parts() -> list[str]:
    """Modules of the guidance package that are no objective and have a test of their own."""
    modules = sorted(path.stem for path in (ROOT / "sds3d" / "guidance").glob("*.py"))
    return [name for name in modules if name not in GUIDANCE and test_file(name).is_file()]


def _source(name: str) -> tuple[str, str | None]:
    """Name of the module and of the class to mutate."""
    return (
        (GUIDANCE[name].__module__, GUIDANCE[name].__name__) if name in GUIDANCE else (f"sds3d.guidance.{name}", None)
    )


def judge(name: str, module: str, class_name: str | None, test: Path, jobs: int) -> Verdict:
    """Run all mutants of a class, or of a whole module, against `test`, `jobs` at a time."""
    began = time.perf_counter()
    if not test.is_file():
        return Verdict(name, problem=f"no test: write tests/guidance/{test.name}")
    source = ast.unparse(ast.parse(inspect.getsource(importlib.import_module(module))))
    if _wait(_Job(_fork(test, module, source), None, began), 600.0) != PASSED:
        return Verdict(name, problem=f"tests/guidance/{test.name} fails without any mutation")
    limit = max(LEAST, PATIENCE * (time.perf_counter() - began))
    verdict = Verdict(name)
    todo = list(mutations(inspect.getsource(importlib.import_module(module)), class_name, state_names(source)))
    for mutation, code in _run(todo, test, module, jobs, limit):
        verdict.mutants += 1
        if code != PASSED:
            verdict.killed += 1
        elif mutation.change in EQUIVALENT.get(name, {}):
            verdict.equivalent += 1
        else:
            verdict.survivors.append((mutation.line, mutation.change))
    verdict.survivors.sort()
    verdict.seconds = time.perf_counter() - began
    return verdict


def _run(todo: Sequence[Mutation], test: Path, module: str, jobs: int, limit: float) -> Iterator[tuple[Mutation, int]]:
    """(mutation, pytest's exit code) as the children end; -1 where one ran past `limit` seconds or crashed."""
    waiting, running = list(reversed(todo)), list[_Job]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutation = waiting.pop()
            running.append(_Job(_fork(test, module, mutation.source), mutation, time.perf_counter()))
        job = running.pop(0)
        assert job.mutation is not None
        yield job.mutation, _wait(job, limit)


def _wait(job: _Job, limit: float) -> int:
    """The child's exit code; it is killed when it takes longer than `limit`."""
    while True:
        pid, status = os.waitpid(job.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.perf_counter() - job.began > limit:
            os.kill(job.pid, signal.SIGKILL)
            os.waitpid(job.pid, 0)
            return -1
        time.sleep(0.005)


def _fork(test: Path, module: str, source: str) -> int:
    """A child that runs `test` with `module` imported from `source`; its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = -1
        try:
            code = _child(test, module, source)
        finally:
            os._exit(code & 0xFF)
    return pid


def _child(test: Path, module: str, source: str) -> int:
    import pytest

    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in [n for n in sys.modules if n.startswith(DEPENDENT)]:
        del sys.modules[name]
    for package in ("guidance", "engine", "bench"):
        sys.modules["sds3d"].__dict__.pop(package, None)
    sys.meta_path.insert(0, _Changed(module, source))
    options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    return int(pytest.main([*options, "-c", str(ROOT / "pyproject.toml"), str(test)]))


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a source of our own."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, f"<mutant of {self.name}>", "exec"), module.__dict__)


def _import_once() -> None:
    """What the tests import and what does not change, before the first fork: a child then starts in milliseconds."""
    import torch

    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    for name in ("pytest", "numpy", "numba", "sds3d.engine.distill"):
        importlib.import_module(name)
