"""Source whose decorated functions are decorated below their end, so that mutmut changes them too.

mutmut leaves a decorated function alone, and every rule, property and validator is one::

    @rule("approvals")              def approvals_are_enough(case): ...
    def approvals_are_enough(case): ...
                                    approvals_are_enough = rule("approvals")(approvals_are_enough)

Both mean the same to Python; only the copy that is mutated is written in the second way.
"""

from __future__ import annotations

import ast

KEPT = frozenset({"staticmethod", "classmethod", "overload"})
"""Decorators that mutmut knows, or that have nothing below them to change."""


def undecorated(source: str) -> str:
    """``source`` with its decorators below the functions instead of above them."""
    lines = source.splitlines(keepends=True)
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.decorator_list and not _is_kept(node)
    ]
    # From the end, so that the line numbers of what comes before stay right.
    for node in sorted(functions, key=lambda one: -one.lineno):
        assert node.end_lineno is not None
        whole = node.name
        for decorator in reversed(node.decorator_list):
            whole = f"{ast.unparse(decorator)}({whole})"
        indent = " " * node.col_offset
        lines.insert(node.end_lineno, f"{indent}{node.name} = {whole}\n")
        first = min(decorator.lineno for decorator in node.decorator_list)
        del lines[first - 1 : node.lineno - 1]
    return "".join(lines)


def _is_kept(node: ast.FunctionDef) -> bool:
    """Whether the decorators stay above: known to mutmut, or about an earlier function (setter)."""
    names = [one.id if isinstance(one, ast.Name) else "" for one in node.decorator_list]
    earlier = any(
        isinstance(one, ast.Attribute)
        and isinstance(one.value, ast.Name)
        and one.value.id == node.name
        for one in node.decorator_list
    )
    return earlier or (len(names) == 1 and names[0] in KEPT)
