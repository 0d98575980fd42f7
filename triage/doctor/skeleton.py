"""A release of SGLang as its own source describes it: names, classes, signatures, nothing run.

The question: what of ours binds on a release that is not installed. The hooks look their
targets up by importing; so here `sglang` is made of modules that hold, for every name that the
source defines or imports, a function with that signature and no body, a class with those
methods and bases, or an opaque value. Our own `install` then binds to them as it binds to the
real ones, and says the same of them.

What it cannot know: names that are made while a module runs (`setattr`, a factory), bases and
decorators from outside SGLang, and which branch of an `if` a machine takes: both are there.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from triage.doctor.skeleton_registry import stand_in
from triage.doctor.source_tree import PACKAGE, SourceTree

LOADED_WITH_A_SCHEDULER = (
    "sglang.srt.disaggregation.decode",
    "sglang.srt.disaggregation.prefill",
)
"""Where our hooks look only if the module is there already, as it is in a server."""

_Definition = ast.FunctionDef | ast.AsyncFunctionDef
_PLAIN = {"staticmethod": staticmethod, "classmethod": classmethod, "property": property}


class Opaque:
    """A value of a module or class that is neither function nor class."""

    def __init__(self, name: str) -> None:
        self.__name__ = name


class SkeletonModule(types.ModuleType):
    """Makes what its source names when it is first asked for."""

    def __init__(self, name: str, body: list[ast.stmt], package: str) -> None:
        super().__init__(name)
        self._named = dict(_names(body, package))
        self._stars = [
            _absolute(each, package)
            for each in _statements(body)
            if isinstance(each, ast.ImportFrom) and each.names[0].name == "*"
        ]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if (found := self.__dict__.get("_named", {}).get(name)) is not None:
            value = found(self)
            if value is not None:
                setattr(self, name, value)
                return value
        for module in self.__dict__.get("_stars", ()):
            try:
                value = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError):
                continue
            setattr(self, name, value)
            return value
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class Skeletons(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `sglang` and what is below it in a tree of sources, before any other finder."""

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree

    def install(self) -> None:
        """For the rest of this process. Raises UnsupportedSGLang if it has no plugins."""
        sys.meta_path.insert(0, self)
        sglang = importlib.import_module(PACKAGE)
        sglang.__version__ = self.tree.version  # type: ignore[attr-defined]
        stand_in()
        for name in LOADED_WITH_A_SCHEDULER:
            if self.tree.find(name) is not None:
                module = importlib.import_module(name)
                for each in list(module._named):
                    getattr(module, each, None)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        found = self.tree.find(name)
        if found is None:  # not the one that is installed here
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importlib.machinery.ModuleSpec(
            name, self, origin=found.file, is_package=found.is_package
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        found = self.tree.find(spec.name)
        assert found is not None
        try:
            body = ast.parse(self.tree.source(found)).body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ImportError(f"{found.file} is not Python: {error}", name=spec.name) from error
        package = spec.name if found.is_package else spec.name.rpartition(".")[0]
        return SkeletonModule(spec.name, body, package)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is run."""


# -- names -------------------------------------------------------------------------------------

_Make = Callable[[Any], Any]


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of every branch, in order."""
    for each in body:
        if isinstance(each, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            yield from _statements(each.body)
            yield from _statements(getattr(each, "orelse", []))
            for handler in getattr(each, "handlers", []):
                yield from _statements(handler.body)
            yield from _statements(getattr(each, "finalbody", []))
        else:
            yield each


def _names(body: Sequence[ast.stmt], package: str) -> Iterator[tuple[str, _Make]]:
    """Name -> what makes its value out of the module; the last definition of a name holds.

    Of a name that one branch imports and another sets to a constant, the import does.
    """
    imported = set()
    for each in _statements(body):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield each.name, functools.partial(_function, node=each)
        elif isinstance(each, ast.ClassDef):
            yield each.name, functools.partial(_class, node=each)
        elif isinstance(each, ast.ImportFrom):
            module = _absolute(each, package)
            for alias in each.names:
                imported.add(alias.asname or alias.name)
                yield (
                    alias.asname or alias.name,
                    functools.partial(_imported, module=module, name=alias.name),
                )
        elif isinstance(each, ast.Import):
            for alias in each.names:
                name = alias.asname or alias.name.partition(".")[0]
                whole = alias.name if alias.asname else name
                yield name, functools.partial(_imported, module=whole, name="")
        else:
            for name, value in _assigned(each):
                if name not in imported:
                    yield name, functools.partial(_value, name=name, value=value)


def _assigned(each: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(each, ast.Assign):
        for target in each.targets:
            if isinstance(target, ast.Name):
                yield target.id, each.value
    elif isinstance(each, ast.AnnAssign) and each.value and isinstance(each.target, ast.Name):
        yield each.target.id, each.value


def _absolute(each: ast.ImportFrom, package: str) -> str:
    parts = package.split(".")
    above = ".".join(parts[: len(parts) - each.level + 1]) if each.level else ""
    return ".".join(filter(None, [above, each.module or ""]))


def _imported(owner: Any, *, module: str, name: str) -> Any:
    """An object of another module; opaque where it lies outside SGLang."""
    if module.partition(".")[0] != PACKAGE:
        return Opaque(name or module)
    try:
        found = importlib.import_module(module)
        if not name:
            return found
        try:
            return getattr(found, name)
        except AttributeError:
            return importlib.import_module(f"{module}.{name}")
    except ImportError:
        return None  # the real import would end there: the name is not to be had


def _value(owner: Any, *, name: str, value: ast.expr) -> Any:
    """`other_name = name` is the same object; everything else is opaque."""
    if isinstance(value, ast.Name) and value.id != name:
        return getattr(owner, value.id, Opaque(name))
    return Opaque(name)


# -- functions and classes ---------------------------------------------------------------------


def _function(owner: Any, *, node: _Definition) -> Any:
    """Its parameters, the defaults opaque; a body that is never to be called."""
    arguments = ast.parse(f"def {node.name}(): raise NotImplementedError").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    arguments.args = _bare(node.args)
    module = ast.fix_missing_locations(ast.Module([arguments], []))
    scope: dict[str, Any] = {"__name__": getattr(owner, "__name__", PACKAGE)}
    exec(compile(module, f"<skeleton of {node.name}>", "exec"), scope)
    made = scope[node.name]
    for decorator in node.decorator_list:
        last = decorator.attr if isinstance(decorator, ast.Attribute) else ""
        name = decorator.id if isinstance(decorator, ast.Name) else last
        if name in _PLAIN or name == "cached_property":
            made = _PLAIN.get(name, property)(made)
    return made


def _bare(args: ast.arguments) -> ast.arguments:
    """Without annotations, each default a constant: neither is evaluated."""

    def plain(each: ast.arg) -> ast.arg:
        return ast.arg(each.arg)

    nothing = ast.Constant(None)
    return ast.arguments(
        posonlyargs=[plain(each) for each in args.posonlyargs],
        args=[plain(each) for each in args.args],
        vararg=plain(args.vararg) if args.vararg else None,
        kwonlyargs=[plain(each) for each in args.kwonlyargs],
        kw_defaults=[each and nothing for each in args.kw_defaults],
        kwarg=plain(args.kwarg) if args.kwarg else None,
        defaults=[nothing for _ in args.defaults],
    )


def _class(owner: Any, *, node: ast.ClassDef) -> type:
    """Its own names, and of its bases those that are classes of SGLang."""
    bases = []
    for base in node.bases:
        found = _base(owner, base)
        if isinstance(found, type) and found not in bases:
            bases.append(found)
    body: dict[str, Any] = {"__module__": getattr(owner, "__name__", PACKAGE)}
    for each in _statements(node.body):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body[each.name] = _function(owner, node=each)
        elif isinstance(each, ast.ClassDef):
            body[each.name] = _class(owner, node=each)
        else:
            for name, value in _assigned(each):
                same = isinstance(value, ast.Name) and value.id in body
                body[name] = body[value.id] if same else Opaque(name)  # type: ignore[attr-defined]
    body.pop("__slots__", None)  # what is in it would clash with its own defaults
    body.pop("__class_getitem__", None)
    try:
        return type(node.name, tuple(bases), body)
    except TypeError:  # an order of bases that those we do not see would settle
        return type(node.name, tuple(bases[:1]), body)


def _base(owner: Any, base: ast.expr) -> Any:
    if isinstance(base, ast.Subscript):  # Generic[T]
        base = base.value
    if isinstance(base, ast.Attribute):
        return getattr(_base(owner, base.value), base.attr, None)
    return getattr(owner, base.id, None) if isinstance(base, ast.Name) else None
