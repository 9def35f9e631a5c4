"""Small wrong changes to the source of an objective: signs flipped, factors dropped, conditions and states swapped."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CONDITIONS = frozenset({"pos", "null", "neg", "src", "plain", "image", "noimage", "nullimage", "critic", "critic_marg"})


@dataclass(frozen=True)
class Mutation:
    """One change: the smallest expression that changes, before and after, where, and the whole module's new source."""

    line: int
    before: str
    after: str
    source: str

    @property
    def change(self) -> str:
        return f"{self.before} -> {self.after}"


def mutations(source: str, class_name: str | None, states: frozenset[str] = frozenset()) -> Iterator[Mutation]:
    """All mutations of the class in its module and of the module's functions that it reaches by name, or, where no
    class is named, of everything in the module.

    Every + and -, every unary minus, every factor of a product, every divisor, every exponent, and every name of a
    condition or a state, each alone. Not touched: docstrings, annotations, messages, checks in __post_init__.
    """
    tree = ast.parse(source)
    functions = _reached(tree, class_name)
    swaps = _swaps(functions, states)
    for site, context, change in _sites(functions, swaps):
        changed = copy.deepcopy(tree)
        _Replace(_at(changed, site), change(copy.deepcopy(site))).visit(changed)
        text = ast.unparse(ast.fix_missing_locations(changed))
        shown = context if isinstance(site, ast.Constant) else site  # a name alone does not say where it stands
        twin = copy.deepcopy(shown)
        after = _Replace(_at(twin, site), change(copy.deepcopy(site))).visit(twin)
        yield Mutation(site.lineno, ast.unparse(shown), ast.unparse(after), text)


Change = Callable[[ast.expr], ast.expr]


def _sites(functions: list[ast.FunctionDef], swaps: dict[str, str]) -> Iterator[tuple[ast.expr, ast.expr, Change]]:
    """(what changes, the expression around it, how)."""
    for function in functions:
        around = {child: node for node in _expressions(function) for child in ast.iter_child_nodes(node)}
        for node in _expressions(function):
            for change in _changes(node, swaps):
                yield node, around.get(node, node), change


def _changes(node: ast.expr, swaps: dict[str, str]) -> Iterator[Change]:
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, (ast.Add, ast.Sub)):
            yield _turned
        elif isinstance(node.op, ast.Mult):
            yield lambda n: n.left  # type: ignore[attr-defined]
            yield lambda n: n.right  # type: ignore[attr-defined]
        elif isinstance(node.op, (ast.Div, ast.Pow)):
            yield lambda n: n.left  # type: ignore[attr-defined]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield lambda n: n.operand  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in swaps:
        yield lambda n: ast.Constant(swaps[n.value])  # type: ignore[attr-defined]


def _turned(node: ast.expr) -> ast.expr:
    assert isinstance(node, ast.BinOp)
    node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    return node


def _swaps(functions: list[ast.FunctionDef], states: frozenset[str]) -> dict[str, str]:
    """Every condition and every state that the functions name -> the next one of its kind, round about. A condition
    that stands alone is taken for "null", or "null" for "pos"."""
    words = {n.value for f in functions for n in _expressions(f) if isinstance(n, ast.Constant)}
    swaps = {}
    for kind in (CONDITIONS, states):
        named = sorted(w for w in words if isinstance(w, str) and w in kind)
        if len(named) == 1 and kind is CONDITIONS:
            swaps[named[0]] = "pos" if named[0] == "null" else "null"
        elif len(named) > 1:
            swaps |= dict(zip(named, named[1:] + named[:1], strict=True))
    return swaps


def state_names(source: str) -> frozenset[str]:
    """Names of states in a module: keys of `states[...]`, and the `at` of calls."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "states":
            found.add(node.slice)
        elif isinstance(node, ast.Call):
            found |= {k.value for k in node.keywords if k.arg == "at"}
            if isinstance(node.func, ast.Name) and node.func.id == "Call":
                found |= set(node.args[1:2])
    return frozenset(n.value for n in found if isinstance(n, ast.Constant) and isinstance(n.value, str))


def _reached(tree: ast.Module, class_name: str | None) -> list[ast.FunctionDef]:
    """The methods of the class but for its checks, and the module's functions that these name, directly or not."""
    free = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    if class_name is None:
        inside = [n for owner in tree.body if isinstance(owner, ast.ClassDef) for n in owner.body]
        return [n for n in [*tree.body, *inside] if isinstance(n, ast.FunctionDef) and n.name != "__post_init__"]
    (owner,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name)
    reached = [n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name != "__post_init__"]
    for function in reached:  # grows as it goes
        names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
        reached += [free[name] for name in sorted(names & free.keys()) if free[name] not in reached]
    return reached


def _expressions(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Expressions of the body that decide a value: without the docstring, annotations and what is raised."""
    stack: list[ast.AST] = [*reversed(function.body), *function.args.defaults]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Raise, ast.Assert)) or isinstance(node, ast.Expr) and _is_text(node.value):
            continue
        if isinstance(node, ast.expr):
            yield node
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.AnnAssign):
            children = [c for c in children if c is not node.annotation]
        stack += reversed(children)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _at(tree: ast.AST, site: ast.expr) -> ast.expr:
    """The node of a copied tree that stands where `site` stands in the first."""
    place = (type(site), site.lineno, site.col_offset, site.end_lineno, site.end_col_offset)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and place == (
            type(node), node.lineno, node.col_offset, node.end_lineno, node.end_col_offset,
        ):  # fmt: skip
            return node
    raise AssertionError("a copied tree has the nodes of the first")


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().visit(node)
