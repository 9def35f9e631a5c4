"""The mutation bench finds every place, and a mutant that a test does not notice is called a survivor."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from sds3d.bench import mutants
from sds3d.bench.mutations import mutations, state_names
from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE

SOURCE = '''
"""Module - text."""
def helper(x: "pos" = -1):
    """Doc + string."""
    return x ** 2 / 3

def unused(a, b):
    return a + b

class Other:
    def combine(self, e):
        return e + 1

class Objective:
    conds = frozenset({"pos", "null"})
    def __post_init__(self):
        if self.cfg * 2 < 1 - 3:
            raise ValueError("cfg + pos")
    def combine(self, e, states):
        w: float = 2 * helper(1)
        return w * (e[Call("pos")] - e[Call("null", "s")]) + states["t"].noise
'''


def test_every_sign_factor_condition_and_state_is_changed_once() -> None:
    found = mutations(SOURCE, "Objective", state_names(SOURCE))
    assert sorted(m.change for m in found) == sorted(
        [
            "-1 -> 1",
            "x ** 2 / 3 -> x ** 2",
            "x ** 2 -> x",
            "2 * helper(1) -> 2",
            "2 * helper(1) -> helper(1)",
            "w * (e[Call('pos')] - e[Call('null', 's')]) + states['t'].noise"
            " -> w * (e[Call('pos')] - e[Call('null', 's')]) - states['t'].noise",
            "w * (e[Call('pos')] - e[Call('null', 's')]) -> w",
            "w * (e[Call('pos')] - e[Call('null', 's')]) -> e[Call('pos')] - e[Call('null', 's')]",
            "e[Call('pos')] - e[Call('null', 's')] -> e[Call('pos')] + e[Call('null', 's')]",
            "Call('pos') -> Call('null')",
            "Call('null', 's') -> Call('pos', 's')",
            "Call('null', 's') -> Call('null', 't')",
            "states['t'] -> states['s']",
        ]
    )


def test_a_mutant_is_the_module_with_that_one_change() -> None:
    (mutation,) = (m for m in mutations(SOURCE, "Objective") if m.change == "Call('pos') -> Call('null')")
    assert mutation.source.count("Call('null'") == 2 and mutation.line == 21
    assert "def __post_init__" in mutation.source and "class Other" in mutation.source
    compile(mutation.source, "mutant", "exec")


def test_a_module_without_objectives_is_changed_as_a_whole() -> None:
    changes = [m.change for m in mutations(SOURCE, None)]
    assert {"a + b -> a - b", "e + 1 -> e - 1", "-1 -> 1"} <= set(changes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each mutant")
def test_weak_tests_leave_survivors(tmp_path: Path) -> None:
    """A test that looks at vsd's calls alone does not notice what becomes of the critic's prediction."""
    given = "from sds3d.guidance.vsd import VSD\nfrom sds3d.guidance import Call\ndef test() -> None:\n"
    weak = tmp_path / "test_weak.py"
    weak.write_text(f"{given}    assert Call('critic') in VSD(cfg=1).calls(None, {{}})\n")
    verdict = mutants.judge("vsd", *mutants._source("vsd"), weak, jobs=2)
    changes = [change for _, change in verdict.survivors]
    assert any(" - e[Call('critic')] -> " in change for change in changes), changes
    assert verdict.killed == 1 and len(changes) == verdict.mutants - 1 and not verdict.clean
    assert len(verdict.rows()) == len(changes)
    wrong = tmp_path / "test_wrong.py"
    wrong.write_text(f"{given}    assert VSD().cfg == 2\n")
    assert "fails without any mutation" in mutants.judge("vsd", *mutants._source("vsd"), wrong, jobs=1).problem


def test_names_and_checkouts() -> None:
    assert mutants.test_file("csd").name == "test_csd.py"
    assert mutants.test_file("bsd_auto").name == "test_bsd.py", "two objectives in one module share its test"
    assert "no test" in mutants.judge("csd", "sds3d.guidance.csd", "CSD", Path("/nowhere/test_x.py"), 1).problem
    with pytest.raises(UserError, match="did you mean 'csd'"):
        mutants.measure(["csdd"])


def test_outside_of_a_checkout_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    with pytest.raises(UserError, match="needs a source checkout"):
        mutants.test_file("sds")


def test_every_objective_has_a_test_and_something_to_mutate() -> None:
    for name, kind in GUIDANCE.items():
        assert mutants.test_file(name).is_file(), f"{name} has no test of its own"
        module = inspect.getmodule(kind)
        assert module is not None
        assert any(True for _ in mutations(inspect.getsource(module), kind.__name__)) or name == "rewardvsd", name
