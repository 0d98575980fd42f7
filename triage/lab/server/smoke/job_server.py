"""The server of one job: its flags, plugins and files, whether it lives, and what it left.

Every wait has a limit, and the run's own end is one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from triage.lab.server import (
    address_map,
    defects,
    drafts,
    inject,
    kernel_mistakes,
    laguna,
    load,
    oracle,
    server_log,
    slot_oracle,
)
from triage.lab.server.flags import PAGE_SIZE
from triage.lab.server.process import Server
from triage.lab.server.smoke.results import Clock, Results


@dataclass(frozen=True, slots=True)
class Job:
    """One server and what is played on it, in order.

    env: the variables of sglang-triage. defects: name -> from the start (else at `provoke`).
    mistake: of a fused kernel, from `plain_mistaken` on.
    released: causes that are SGLang's own as released, and told once in a sound server too.
    observers: "oracle", "slot-oracle", "drafts", "address-map", "injector". parts: names of
    Rig's methods, `:` before an argument. least_s: do not start it with less left.
    """

    name: str
    why: str
    parts: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    defects: dict[str, bool] = field(default_factory=dict)
    mistake: str = ""
    released: tuple[str, ...] = ()
    observers: tuple[str, ...] = ("oracle",)
    model: str = "small"
    mtp: bool = True
    flags: tuple[str, ...] = ()
    temperature: float = 0.0
    least_s: float = 95.0


class JobServer:
    """What a job's server is started with, and reads of what it wrote. Plays nothing."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        port: int,
        model: Path,
        flags: Sequence[str],
        results: Results,
        clock: Clock,
        product: Sequence[Path] = (),
        server: Callable[..., Any] = Server,
    ) -> None:
        self.job, self.folder, self.port, self.model = job, folder, port, model
        self.results, self.clock, self.product = results, clock, product
        self.flags = list(flags)
        self.control = folder / "control"
        self.dumps = folder / "dumps"
        self.make_server = server
        self.server: Any = None
        self.sound: load.LoadResult | None = None

    def death(self) -> str:
        try:
            if self.server is None or not self.fell():
                return ""
            return str(self.server.death_reason())[:600]
        except Exception as error:  # why a cell failed is kept, whatever became of the server
            return f"its log does not say: {error}"

    def environment(self) -> dict[str, str]:
        mine = dict(self.job.env)
        if mine:
            mine["SGLANG_TRTLLM_MHA_DEBUG_DIR"] = str(self.dumps)
        return mine | (laguna.ENVIRONMENT if self.job.model == "laguna" else {})

    def plugins(self) -> list[Path]:
        """Ours of the lab first, the product last: what it checks lies above what they change."""
        made, folder = [], self.folder / "plugins"
        for name, from_start in self.job.defects.items():
            control = None if from_start else self.control
            made.append(defects.plugin(name, folder, control=control, told=self.oracle_path))
        if self.job.mistake:
            made.append(
                kernel_mistakes.plugin(
                    self.job.mistake, folder, control=self.control, out=self.mistaken_path
                )
            )
        writers: dict[str, tuple[Callable[[Path, Path], Path], Path]] = {
            "oracle": (oracle.plugin, self.oracle_path),
            "slot-oracle": (slot_oracle.plugin, self.oracle_path),
            "drafts": (drafts.plugin, self.drafts_path),
            "address-map": (address_map.plugin, self.map_path),
            "injector": (partial(inject.plugin, control=self.control), self.injected_path),
        }
        for name in self.job.observers:
            write, out = writers[name]
            made.append(write(folder, out))
        return [*made, *self.product]

    @property
    def page_size(self) -> int:
        """Of the server, as its flags say."""
        given = dict(zip(self.flags, self.flags[1:], strict=False))
        return int(given.get("--page-size", PAGE_SIZE))

    @property
    def oracle_path(self) -> Path:
        return self.folder / "oracle.jsonl"

    @property
    def drafts_path(self) -> Path:
        return self.folder / "drafts.jsonl"

    @property
    def map_path(self) -> Path:
        return self.folder / "address_map.json"

    @property
    def injected_path(self) -> Path:
        return self.folder / "injected.jsonl"

    @property
    def mistaken_path(self) -> Path:
        return self.folder / "mistaken.jsonl"

    def alive(self) -> bool:
        return bool(self.server.alive)

    def fell(self) -> bool:
        """Is the server over? SGLang's launcher outlives a dead scheduler by up to a minute."""
        return not self.server.alive or server_log.child_failed(self.log())

    # -- what it left ------------------------------------------------------------------

    def within(self, limit_s: float, call: Callable[[], Any]) -> Any:
        """The value of `call`, run aside; TimeoutError when it takes longer or the run is over."""
        box: dict[str, Any] = {}

        def play() -> None:
            try:
                box["value"] = call()
            except BaseException as error:
                box["error"] = error

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        end = time.monotonic() + min(limit_s, self.clock.left)
        while thread.is_alive() and time.monotonic() < end and not self.clock.over:
            thread.join(0.5)
        if thread.is_alive():
            raise TimeoutError(
                f"the load took longer than {limit_s:.0f} s, or the budget was spent"
            )
        if "error" in box:
            raise box["error"]
        return box["value"]

    def loaded(self, found: Any) -> dict[str, Any]:
        return {
            "requests": found.requests,
            "ok": found.ok,
            "aborted": found.aborted,
            "failed": found.failed,
            "ended": found.ended,
            "unsent": found.unsent,
            "tokens_per_s": round(found.tokens_per_s, 1),
            "accept_length": found.accept_length,
            "digest": found.digest,
            "load_s": round(found.seconds, 2),
        }

    def unhappy(self, found: Any) -> str:
        first = next((r.error for r in found.results if r.status in ("failed", "ended")), "")
        return (
            f"{found.failed} requests failed, {found.ended} ended by the server "
            f"({first[:200]}), {found.unsent} were not sent; "
            f"dumps: {[path.name for path in self.dump_files()]}; {self.death()}"
        )

    def account(self) -> dict[str, Any]:
        return asdict(oracle.read_account(self.oracle_path))

    def map(self) -> dict[str, Any]:
        if not self.map_path.exists():
            return {}
        found = json.loads(self.map_path.read_text())
        kept = ("beyond", "handed", "driver", "full_pages", "swa_pages", "cuda_mapped")
        return {k: v for k, v in found[0].items() if k.startswith(kept)} if found else {}

    def dump_files(self) -> list[Path]:
        return sorted(self.dumps.glob("*.msgpack")) if self.dumps.exists() else []

    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""
