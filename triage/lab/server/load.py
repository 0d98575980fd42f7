from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What one request of a load came to.

    status: "ok", "aborted" (by us, on purpose) or "failed".
    """

    index: int
    status: str
    prompt_tokens: int
    output_ids: tuple[int, ...] = ()
    seconds: float = 0.0
    error: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load came to. `results` are in the order of request indices."""

    kind: str
    requests: int
    results: tuple[RequestResult, ...]
    seconds: float
    interrupted: bool = False

    @property
    def ok(self) -> int:
        return sum(result.status == "ok" for result in self.results)

    @property
    def failed(self) -> int:
        return sum(result.status == "failed" for result in self.results)

    @property
    def aborted(self) -> int:
        return sum(result.status == "aborted" for result in self.results)

    @property
    def digest(self) -> str:
        """sha256 over (index, output ids) of the requests that ended well."""
        raise NotImplementedError

    @property
    def outputs(self) -> dict[int, tuple[int, ...]]:
        """Request index -> output ids."""
        return {result.index: result.output_ids for result in self.results}

    @property
    def tokens_per_s(self) -> float:
        raise NotImplementedError

    @property
    def accept_length(self) -> float | None:
        """Mean accepted tokens a verify step, as the server reports it; None without MTP."""
        raise NotImplementedError


def plain(
    port: int,
    requests: int = 96,
    concurrency: int = 32,
    input_tokens: int = 1024,
    output_tokens: int = 256,
    seed: int = 0,
    *,
    vocab_size: int = 4096,
    results_path: Path | None = None,
) -> LoadResult:
    """Greedy requests whose tokens follow from `seed` alone."""
    raise NotImplementedError


def mixed(
    port: int,
    requests: int = 500,
    concurrency: int = 48,
    seed: int = 0,
    *,
    vocab_size: int = 4096,
    results_path: Path | None = None,
) -> LoadResult:
    """Shared prefixes, aborts, odd lengths around page and window edges; follows from `seed`."""
    raise NotImplementedError
