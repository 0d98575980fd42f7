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
from pathlib import Path
from typing import Any

from triage.errors import TrapError

WRONG_FROM = 12
STEPS = 60


def run(
    ranks: int, directory: Path, *, wrong: int | None, wrong_from: int = WRONG_FROM
) -> dict[int, int]:
    """Play `ranks` processes; their exit codes by rank: 0 sound, 1 an alarm, 2 a rank was lost.

    wrong: the rank whose table goes wrong; None for none.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory.mkdir(parents=True, exist_ok=True)
    children = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "triage.lab.ranks", "--ranks", str(ranks)),
                *("--rank", str(rank), "--port", str(port), "--dir", str(directory)),
                *("--wrong", str(-1 if wrong is None else wrong), "--from", str(wrong_from)),
            ]
        )
        for rank in range(ranks)
    ]
    return {rank: child.wait() for rank, child in enumerate(children)}


class Rank:
    """One process of the group."""

    def __init__(self, rank: int, ranks: int, port: int, directory: Path) -> None:
        from triage.lab.process import start

        self.process = start(traps=True, fixes=(), directory=directory, mode="contain")
        self.rank = rank
        self._join(ranks, port)
        from triage.lab.rig import Bench
        from triage.lab.scenarios import find

        self.bench = Bench(self.process, find("smoke-plain"))

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

    def goes_wrong(self, first: int) -> None:
        """From step `first` on two requests' newest sliding pages change places in the table."""
        import torch
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

        from triage.lab.server.defects import exchange

        original, steps = TRTLLMHAAttnBackend._fill_page_table_device, self.process.traps.steps

        def fill(backend: Any, metadata: Any, requests: Any, lengths: Any) -> Any:
            result = original(backend, metadata, requests, lengths)
            on = torch.tensor(steps.current >= first)
            exchange(metadata.swa_page_table, lengths, backend.page_size, on)
            return result

        TRTLLMHAAttnBackend._fill_page_table_device = fill

    def play(self) -> None:
        driver, history = self.bench.driver, self.process.traps.history
        try:
            with history.listening():
                self.together()
                while driver.rows and driver.step < STEPS:
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
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.rank is None:
        wrong = None if given.wrong < 0 else given.wrong
        ended = run(given.ranks, given.dir, wrong=wrong, wrong_from=given.first)
        print(", ".join(f"rank {rank}: exit code {code}" for rank, code in ended.items()))
        return int(any(ended.values()))
    rank = Rank(given.rank, given.ranks, given.port, given.dir)
    if given.wrong == given.rank:
        rank.goes_wrong(given.first)
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
