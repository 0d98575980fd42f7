"""Sizes as Inductor writes them: integers, or expressions of symbols such as `8*s0`."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

BYTES = {
    "float64": 8, "int64": 8, "float32": 4, "int32": 4, "bfloat16": 2, "float16": 2, "int16": 2,
    "int8": 1, "uint8": 1, "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "f64": 8, "i64": 8, "f32": 4, "i32": 4, "bf16": 2, "f16": 2, "i16": 2, "i8": 1, "u8": 1,
    "b8": 1, "fp32": 4, "fp16": 2, "fp64": 8, "i1": 1,
}  # fmt: skip
"""Bytes of an element, by torch's name, the graph's and Triton's."""

_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_LONGEST = 200


def number(text: str, tokens: int) -> int | None:
    """The value of a size, every symbol read as `tokens`; None where it is not understood.

    Only arithmetic is evaluated: a capture may come from anywhere.
    """
    text = text.strip()
    if text.isdigit() and len(text) < 19:
        return int(text)
    if len(text) > _LONGEST or "**" in text:
        return None
    try:
        value = _value(ast.parse(text, mode="eval").body, tokens)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError):
        return None
    return int(value)


def _value(node: ast.expr, tokens: int) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name) and re.fullmatch(r"(s|u|ks)\d+|xnumel|ynumel", node.id):
        return tokens
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, tokens), _value(node.right, tokens)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, tokens)
    raise ValueError(ast.dump(node))


def count(shape: str, tokens: int) -> int | None:
    """Elements of a shape written as "16, 256" or "s0, 256"."""
    parts = [part for part in shape.split(",") if part.strip()]
    sizes = [number(part, tokens) for part in parts]
    if any(size is None for size in sizes):
        return None
    return math.prod(size for size in sizes if size is not None)
