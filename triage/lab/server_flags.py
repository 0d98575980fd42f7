"""Would the installed SGLang accept these command-line flags? Asked of its own parsers.

`python -m triage.lab.server_flags --server FLAG... --bench FLAG...`, either part may be
left out. Exit code 0: accepted; 2: refused, with the parser's sentence; 3: there is
no SGLang to ask. Nothing is started and no model is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import runpy
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any
from unittest import mock

from triage.errors import TriageError, UnsupportedSGLang

EXIT_ACCEPTED, EXIT_REFUSED, EXIT_NO_SGLANG = 0, 2, 3


class FlagsRefused(TriageError):
    """SGLang's parser does not know a flag or its value; carries the parser's sentence."""


class _Parsed(BaseException):
    """Ends `sglang.bench_serving` once its parser has accepted; must pass every handler."""


def check_server(flags: Sequence[str]) -> None:
    """Raise FlagsRefused unless `sglang.launch_server` parses `flags`."""
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser(prog="sglang.launch_server")
    ServerArgs.add_cli_args(parser)
    _parse(lambda: parser.parse_args(list(flags)))


def check_bench(flags: Sequence[str]) -> None:
    """Raise FlagsRefused unless `sglang.bench_serving` parses `flags`.

    Its parser is built under `__main__` in older releases, so the module is run up
    to the point where parsing succeeded.
    """
    parse = argparse.ArgumentParser.parse_args

    def parse_then_stop(parser: Any, *args: Any, **kwargs: Any) -> Any:
        parse(parser, *args, **kwargs)
        raise _Parsed

    # Imported by the benchmark for workloads that are not asked for here.
    absent = [name for name in ("datasets",) if importlib.util.find_spec(name) is None]
    inert = {name: types.ModuleType(name) for name in absent}
    for module in inert.values():
        module.load_dataset = None  # type: ignore[attr-defined]

    def run() -> None:
        with (
            mock.patch.dict(sys.modules, inert),
            mock.patch.object(sys, "argv", ["sglang.bench_serving", *flags]),
            mock.patch.object(argparse.ArgumentParser, "parse_args", parse_then_stop),
            contextlib.suppress(_Parsed),
        ):
            runpy.run_module("sglang.bench_serving", run_name="__main__")

    _parse(run)


def _parse(parse: Any) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parse()
    except SystemExit as error:
        raise FlagsRefused(said.getvalue().strip().splitlines()[-1]) from error


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(server flags, bench flags) of `--server FLAG... --bench FLAG...`."""
    parts: dict[str, list[str]] = {"--server": [], "--bench": []}
    into: list[str] | None = None
    for argument in arguments:
        if argument in parts:
            into = parts[argument]
        elif into is not None:
            into.append(argument)
    return parts["--server"], parts["--bench"]


def main(arguments: Sequence[str]) -> int:
    from triage.lab import bootstrap

    server, bench = split(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = bootstrap.prepare()
        if server:
            check_server(server)
        if bench:
            check_bench(bench)
    except UnsupportedSGLang as error:
        print(f"flags not checked: {error}")
        return EXIT_NO_SGLANG
    except FlagsRefused as error:
        print(f"refused by SGLang {version}: {error}")
        return EXIT_REFUSED
    print(f"# every flag is known to SGLang {version}")
    return EXIT_ACCEPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
