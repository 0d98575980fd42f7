"""Several ranks of one tensor-parallel group on a CPU, and one whose table goes wrong.

    python -m triage.lab.ranks --ranks 2 --wrong 1 --dir DIR

Each rank is a process: SGLang's real pools, backend and `GroupCoordinator` over gloo, the traps
in mode `contain`, one workload from one seed, a collective before each step as a model's
all-reduce is one. From a step on, the newest pages of the first two rows of one rank's sliding
table change places, in range. That rank raises an alarm, and its dump and those it asks the
others for are what `triage merge DIR` reads.

Not covered: NCCL, and the kill that SGLang's launcher sends: `triage.bench.gpu_ranks` has both.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triage.errors import TrapError

WRONG_FROM = 12
REQUESTS = 8


def begin(
    ranks: int,
    directory: Path,
    *,
    wrong: int | None,
    wrong_from: int = WRONG_FROM,
    control: Path | None = None,
    requests: int = REQUESTS,
) -> list[subprocess.Popen[bytes]]:
    """Start `ranks` processes; their exit codes: 0 sound, 1 an alarm, 2 a rank was lost.

    wrong: the rank whose table goes wrong, None for none: from step `wrong_from` on, or once
        the file `control` is there.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory.mkdir(parents=True, exist_ok=True)
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "triage.lab.ranks", "--ranks", str(ranks)),
                *("--rank", str(rank), "--port", str(port), "--dir", str(directory)),
                *("--wrong", str(-1 if wrong is None else wrong), "--from", str(wrong_from)),
                *("--requests", str(requests)),
                *(() if control is None else ("--control", str(control))),
            ]
        )
        for rank in range(ranks)
    ]


class Rank:
    """One process of the group."""

    def __init__(self, rank: int, ranks: int, port: int, directory: Path, requests: int) -> None:
        from triage.lab.process import start

        self.process = start(traps=True, fixes=(), directory=directory, mode="contain")
        self.rank = rank
        self._join(ranks, port)
        from triage.lab.rig import Bench
        from triage.lab.scenarios import find

        self.bench = Bench(self.process, replace(find("smoke-plain"), requests=requests))

    def _join(self, ranks: int, port: int) -> None:
        """SGLang's own groups, over gloo."""
        from sglang.srt.distributed import parallel_state

        parallel_state.init_distributed_environment(
            world_size=ranks,
            rank=self.rank,
            distributed_init_method=f"tcp://127.0.0.1:{port}",
            local_rank=self.rank,
            backend="gloo",
        )
        parallel_state.initialize_model_parallel(tensor_model_parallel_size=ranks, backend="gloo")
        self.group = parallel_state.get_tp_group().cpu_group

    def together(self) -> None:
        """Wait for the other ranks, as a model's all-reduce does; signals are heard meanwhile."""
        import torch
        import torch.distributed

        work = torch.distributed.all_reduce(torch.ones(1), group=self.group, async_op=True)
        while not work.is_completed():
            time.sleep(0.001)
        work.wait()

    def goes_wrong(self, first: int, control: Path | None) -> None:
        """From then on two requests' newest sliding pages change places in the table."""
        import torch
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

        from triage.lab.server.defects import exchange

        original, steps = TRTLLMHAAttnBackend._fill_page_table_device, self.process.traps.steps

        def fill(backend: Any, metadata: Any, requests: Any, lengths: Any) -> Any:
            result = original(backend, metadata, requests, lengths)
            now = steps.current >= first if control is None else control.exists()
            on = torch.tensor(now)
            exchange(metadata.swa_page_table, lengths, backend.page_size, on)
            return result

        TRTLLMHAAttnBackend._fill_page_table_device = fill

    def play(self) -> None:
        driver, history = self.bench.driver, self.process.traps.history
        try:
            with history.listening():
                self.together()
                while driver.rows:
                    driver.tick()
                    self.together()
        except BaseException as error:  # as the hook around Scheduler.run_event_loop
            history.leaving(error, "the lab's event loop")
            raise
        finally:
            self.bench.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m triage.lab.ranks")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--wrong", type=int, default=1, help="rank; -1 for none")
    parser.add_argument("--from", dest="first", type=int, default=WRONG_FROM, help="step")
    parser.add_argument("--control", type=Path, help="instead: once this file is there")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.rank is None:
        wrong = None if given.wrong < 0 else given.wrong
        children = begin(
            given.ranks,
            given.dir,
            wrong=wrong,
            wrong_from=given.first,
            control=given.control,
            requests=given.requests,
        )
        ended = [child.wait() for child in children]
        print(", ".join(f"rank {rank}: exit code {code}" for rank, code in enumerate(ended)))
        return int(any(ended))
    rank = Rank(given.rank, given.ranks, given.port, given.dir, given.requests)
    if given.wrong == given.rank:
        rank.goes_wrong(given.first, given.control)
    try:
        rank.play()
    except TrapError as alarm:
        print(f"rank {given.rank}: {alarm.evidence.headline()}", flush=True)
        return 1
    except RuntimeError as lost:  # gloo: the other end of a connection is gone
        print(f"rank {given.rank}: lost a rank ({type(lost).__name__})", flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
