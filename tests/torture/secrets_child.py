"""A lab run with secrets all over it: `python -m tests.torture.secrets_child DIR`.

Traps fire in all three modes around SGLang's real classes; then an exception with a user's
words leaves the scheduler, and a snapshot is asked for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.torture import secrets


def main(directory: Path) -> None:
    from triage.lab import bootstrap, process
    from triage.lab.run import Request, run
    from triage.lab.scenarios import find

    bootstrap.prepare()
    os.environ.update(secrets.planted_environment())
    secrets.plant()
    plant_in_requests()
    for mode in ("raise", "contain", "log"):
        request = Request(find("smoke"), mode=mode, reinject="stale-swa-state", directory=directory)
        print(mode, run(request).outcome, flush=True)
    history = process._process.installed.traps.history
    history.leaving(secrets.exception(), "Scheduler.run_event_loop")
    history.save("snap", "a snapshot that was asked for", "SIGUSR2")


def plant_in_requests() -> None:
    """Every launch carries KV, token ids and a request's name that are secret."""
    import torch

    from triage.lab.request import LabRequest
    from triage.sglang.launch.call import AttentionCall

    real = AttentionCall.__init__

    def planted(self, api, arguments, *rest, **named):
        for tensor in arguments["kv_cache"]:
            if tensor.dtype == torch.float16:
                tensor.fill_(secrets.KV)
        self_tokens = torch.tensor(secrets.TOKENS)
        arguments.setdefault("input_ids", self_tokens)
        arguments.setdefault("rid", secrets.REQUEST)
        real(self, api, arguments, *rest, **named)

    AttentionCall.__init__ = planted
    named = LabRequest.__init__

    def with_a_secret_id(self, rid, *rest, **others):
        named(self, f"{secrets.REQUEST}-{rid}", *rest, **others)

    LabRequest.__init__ = with_a_secret_id


if __name__ == "__main__":
    main(Path(sys.argv[1]))
