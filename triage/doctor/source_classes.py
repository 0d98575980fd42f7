"""What of a release holds keys and values, hands them out or stores them, by its source alone.

The question: has SGLang a pool, an allocator, a table of request rows, a store or a draft worker
that no hook of ours stands at, and that nobody has written down? Asked of the text, so that it is
answered for a release that is not installed, and for every platform's classes, whichever of them
import here.

A call of a class counts as hooked where the class that answers it has the hook, or goes on to one
that has it (`super().name(...)`). A store is a function whose parameters name a cache and a place
in it, or whose name says that it stores what it computes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from triage.doctor.source_tree import SourceTree
from triage.sglang.binding.left_out import (
    ALLOCATOR,
    DRAFT,
    HOST_POOL,
    POOL,
    ROWS,
    STORE,
    Unhooked,
)

_POOLS_BELOW = (
    "sglang/srt/mem_cache/",
    "sglang/srt/hardware_backend/",
    "sglang/srt/disaggregation/",
)
_DRAFTS_BELOW = ("sglang/srt/speculative/",)
_STORES_BELOW = (
    "sglang/srt/mem_cache/",
    "sglang/srt/layers/",
    "sglang/srt/models/",
    "sglang/srt/kernel_plugins/",
    "sglang/kernels/",
    "sglang/jit_kernel/",
)

_BASES = {
    "KVCache": POOL,
    "HostKVCache": HOST_POOL,
    "BaseTokenToKVPoolAllocator": ALLOCATOR,
    "ReqToTokenPool": ROWS,
    "DecodeReqToTokenPool": ROWS,
}
_NAMED = (
    (re.compile(r"HostPool$|PoolHost$"), HOST_POOL),
    (re.compile(r"ReqToTokenPool$"), ROWS),
    (re.compile(r"Allocator$"), ALLOCATOR),
    (re.compile(r"Pool$"), POOL),
)
_CALLS = {
    POOL: re.compile(r"^set_\w*(buffer|index|_kv)\w*$|^set_kv\w*$"),
    ALLOCATOR: re.compile(r"^(alloc|alloc_extend|alloc_decode|free)$"),
    HOST_POOL: re.compile(r"^(alloc|free)$"),
    ROWS: re.compile(r"^(alloc|free|write)$"),
}
_CACHE = re.compile(r"^(k|v|key|value|kv|index_k|paged_kv)_?(cache|buffer)(_ptr)?$|^(kv)?cache$")
_PLACE = re.compile(r"^(out_|swa_|dst_)?(cache_)?loc(_info|_2d|_swa)?$|^slot_mapping$|^indices$")
_STORES = re.compile(r"^(?=.*(rope|norm|quant|fused))(?=.*(store_kv|set_kv|and_cache|store_cache))")
_HOLDS = re.compile(r"^[ ]*class +\w*(Pool|Allocator|KVCache)\w*\b", re.M)
_WORKS = re.compile(r"^class +(\w+Worker(?:V\d+)?)\b", re.M)
_FUNCTION = re.compile(r"^[ \t]*def +(\w+)\(", re.M)
_PARENTHESIS = re.compile(r"[()]")
_WORD = re.compile(r"\w+")
_SKIPPED = re.compile(r"/(tests?|benchmarks?)/|/test_|_test\.py$|/bench_")


@dataclass(slots=True)
class _Class:
    bases: tuple[str, ...]
    file: str
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)


class SourceClasses:
    """The classes and stores of one release. Reading takes a second or two; nothing is run."""

    def __init__(self, tree: SourceTree) -> None:
        self._classes: dict[str, _Class] = {}
        self._stores: dict[str, str] = {}
        self._workers: dict[str, str] = {}
        for file, text in tree.texts((*_POOLS_BELOW, *_DRAFTS_BELOW, *_STORES_BELOW)):
            if not _SKIPPED.search(file):
                self._read(file, text)

    def _read(self, file: str, text: str) -> None:
        if file.startswith(_DRAFTS_BELOW):
            self._workers |= dict.fromkeys(_WORKS.findall(text), file)
        if file.startswith(_STORES_BELOW):
            self._stores |= dict.fromkeys(_stores_of(text), file)
        if not (file.startswith(_POOLS_BELOW) and _HOLDS.search(text)):
            return
        try:
            body = ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError):
            return
        for node in _definitions(body):
            if isinstance(node, ast.ClassDef):
                self._class(node, file)

    def _class(self, node: ast.ClassDef, file: str) -> None:
        bases = tuple(ast.unparse(each).split("[")[0].rpartition(".")[2] for each in node.bases)
        methods = {
            each.name: each
            for each in _definitions(node.body)
            if isinstance(each, ast.FunctionDef) and not _is_abstract(each)
        }
        self._classes[node.name] = _Class(bases, file, methods)

    # -- what there is ---------------------------------------------------------------------

    def unhooked(self, targets: Iterable[str]) -> Iterator[Unhooked]:
        """What none of `targets`, dotted paths of hooks, stands at; each once, sorted."""
        hooked = {tuple(target.split(".")[-2:]) for target in targets}
        functions = {target.rpartition(".")[2] for target in targets}
        found = {
            Unhooked(kind, owner, name, self._classes[owner].file)
            for each, kind in self._kinds()
            for name in self._calls(each, kind)
            if (owner := self._unhooked_owner(each, name, hooked))
        }
        found |= {
            Unhooked(kind, each, "", self._classes[each].file)
            for each, kind in self._kinds()
            if each not in _BASES and not self._calls(each, kind)
        }
        found |= {Unhooked(STORE, "", n, f) for n, f in self._stores.items() if n not in functions}
        found |= {Unhooked(DRAFT, n, "", f) for n, f in self._workers.items()}
        return iter(sorted(found))

    def _kinds(self) -> Iterator[tuple[str, str]]:
        for name in self._classes:
            line = self._line(name)
            kind = next((_BASES[each] for each in line if each in _BASES), None)
            if kind is None:
                kind = next((kind for pattern, kind in _NAMED if pattern.search(name)), None)
            if kind is not None:
                yield name, kind

    def _calls(self, name: str, kind: str) -> set[str]:
        pattern = _CALLS[kind]
        return {
            call
            for each in self._line(name)
            for call in self._classes[each].methods
            if pattern.match(call)
        }

    def _line(self, name: str) -> list[str]:
        """The class and its bases as far as they are here, each once; as Python's order but for
        diamonds, which none of SGLang's pools needs to be told apart."""
        found: list[str] = []
        waiting = [name]
        while waiting:
            each = waiting.pop(0)
            if each in self._classes and each not in found:
                found.append(each)
                waiting = [*self._classes[each].bases, *waiting]
        return found

    def _unhooked_owner(self, name: str, call: str, hooked: set[tuple[str, ...]]) -> str:
        """The class that answers `call` without a hook; "" where a hook sees it."""
        for each in self._line(name):
            if (each, call) in hooked:
                return ""
            method = self._classes[each].methods.get(call)
            if method is not None and not _goes_on(method):
                return each
        return ""


def _definitions(body: Iterable[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Those of every branch."""
    for each in body:
        if isinstance(each, (ast.ClassDef, ast.FunctionDef)):
            yield each
        elif isinstance(each, (ast.If, ast.Try, ast.With)):
            yield from _definitions(each.body)
            yield from _definitions(getattr(each, "orelse", []))
            for handler in getattr(each, "handlers", []):
                yield from _definitions(handler.body)


def _stores_of(text: str) -> Iterator[str]:
    """Functions and methods that store, or read, what their parameters name a place of."""
    for found in _FUNCTION.finditer(text):
        name = found[1]
        if _STORES.match(name):
            yield name
            continue
        parameters = _up_to_its_end(text, found.end())
        words = set(_WORD.findall(parameters))
        if not (any(map(_CACHE.match, words)) and any(map(_PLACE.match, words))):
            continue
        named = _parameters(parameters) or words
        if any(map(_CACHE.match, named)) and any(map(_PLACE.match, named)):
            yield name


def _up_to_its_end(text: str, start: int) -> str:
    """What stands in the parentheses that were opened in front of `start`."""
    depth = 1
    for found in _PARENTHESIS.finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return text[start : found.start()]
    return ""


def _parameters(text: str) -> set[str]:
    """Their names, without types and defaults; nothing where that is no Python."""
    try:
        function = ast.parse(f"def f({text}): pass").body[0]
    except (SyntaxError, ValueError, RecursionError):
        return set()
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    return {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}


def _is_abstract(node: ast.FunctionDef) -> bool:
    """Does it say no more than that a subclass has it, or that nobody may call it?"""
    body = [each for each in node.body if not isinstance(each, ast.Expr)]
    return all(isinstance(each, (ast.Raise, ast.Pass)) for each in body)


def _goes_on(node: ast.FunctionDef) -> bool:
    """Does it call `super().name(...)`?"""
    return any(
        isinstance(each, ast.Attribute)
        and each.attr == node.name
        and isinstance(each.value, ast.Call)
        and isinstance(each.value.func, ast.Name)
        and each.value.func.id == "super"
        for each in ast.walk(node)
    )
