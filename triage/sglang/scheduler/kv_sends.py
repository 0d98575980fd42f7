"""I24 at a prefill server: a request's row is not given back while its keys are being sent.

The failure: a path that ends a request (an abort, a retraction) gives its pages back while the
transfer engine still reads them, and the other server gets keys of whoever has them next. The rule:
once tokens of a row were handed to a sender, the row is released only when that sender has come to
its end. Its own word for that is `conclude_state`, which is None until then.

Silent where it cannot be told: inside the queue of transfers under way, where SGLang goes by the
states of all ranks together, so that a failure elsewhere ends a send here; and after an abort of
the sender, which counts as its end though reads on the wire may last a little longer.

Not covered: reads of a sender after its end, and the other server's side. Host integers only; a
sender is never polled by us.

Source: `SchedulerDisaggregationPrefillMixin.send_kv_chunk` and its
`process_disagg_prefill_inflight_queue`, `CommonKVSender` and its kin; 0.5.12.post1 to 0.5.23.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from triage.evidence import Evidence
from triage.invariants.transfers import check_row_sent
from triage.sglang.holders import row_of

PREFILL = "sglang.srt.disaggregation.prefill.SchedulerDisaggregationPrefillMixin"
SEND = f"{PREFILL}.send_kv_chunk"
QUEUE = f"{PREFILL}.process_disagg_prefill_inflight_queue"


class KVSends:
    """Which requests of a process had tokens handed to a sender. `report` normally raises."""

    def __init__(self, report: Callable[[Evidence], None]) -> None:
        self.report = report
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.releases = 0  # rows that were judged
        self._sent: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # tokens, by request
        self._in_queue = False

    def around_send(self, original: Any, scheduler: Any, req: Any, *args: Any, **kw: Any) -> Any:
        before = int(req.start_send_idx)
        result = original(scheduler, req, *args, **kw)
        after = int(req.start_send_idx)
        if after > before:
            self._sent[req] = after
        return result

    def around_queue(self, original: Any, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        self._in_queue = True
        try:
            return original(scheduler, *args, **kwargs)
        finally:
            self._in_queue = False

    def around_row_free(self, original: Any, table: Any, req: Any, *args: Any, **kw: Any) -> Any:
        sent = self._sent.pop(req, 0) if self._sent else 0
        if sent and not self._in_queue:
            self.releases += 1
            sender = getattr(req, "disagg_kv_sender", None)
            if hasattr(sender, "conclude_state"):
                found = check_row_sent(row_of(req) or 0, sent, ended=_ended(sender))
                if found is not None:
                    self.report(found)
        return original(table, req, *args, **kw)


def _ended(sender: Any) -> bool:
    """SGLang's states begin with Failed = 0, so None alone means that it goes on."""
    return sender.conclude_state is not None
