"""Tables that trtllm_mha cuts, sorts or expands before it calls FlashInfer (SGLang 0.5.23).

The failure: what the kernel is given is no row per request any more, so whose pages it reads
cannot be asked there. The rule: it is asked one step earlier, of the whole table.

    `_run_fixed_q_len_decode`   with SGLANG_TRTLLM_MHA_DECODE_SEQ_LEN_SPLITS above 1 sorts the rows
                                by length and calls once for each part
    `_fmha_v2_paged_inputs`     the prefill of sm_90 and sm_120: K and V of one allocation under
                                one table of `(rows, 2, columns)`, or a copy of the batch's pages

The calls inside are let pass: they read what was checked, in `contain` the checked copy. An
extend whose batch ends in requests of one token is cut by rows alone, which `Entry.requests_of`
follows.
"""

from __future__ import annotations

import functools
import pkgutil
from typing import Any

from triage.dump.flashinfer_api import DECODE, FMHA_V2_PREFILL
from triage.errors import TrapError
from triage.sglang.binding.patches import Patch
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.hot_state import Replacement, same_launch
from triage.sglang.launch.watching import FORM

BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"


class WholeTables:
    """The wrappers of one process; none in a release that has no such methods."""

    def __init__(self, launches: LaunchGuard) -> None:
        self.launches = launches
        self.hot = launches.hot
        self.shell = launches.reporter.launch_shell

    def patches(self) -> list[Patch]:
        made = (
            ("_run_fixed_q_len_decode", self.decode, "tables that are sorted and cut"),
            ("_fmha_v2_paged_inputs", self.prefill, "tables that are expanded"),
        )
        found = []
        for name, make, why in made:
            try:
                pkgutil.resolve_name(f"{BACKEND}.{name}")
            except AttributeError:
                continue
            found.append(Patch(f"{BACKEND}.{name}", make, why))
        return found

    def decode(self, original: Any) -> Any:
        """Makes the wrapper of `(backend, query, kv_cache, block_tables, seq_lens, *, ...)`."""

        @functools.wraps(original)
        def wrapper(
            backend: Any, query: Any, kv_cache: Any, table: Any, lengths: Any, **named: Any
        ) -> Any:
            if not self.hot.armed or min(backend.decode_seq_len_splits, len(lengths)) < 2:
                return original(backend, query, kv_cache, table, lengths, **named)
            given = self._checked(
                DECODE,
                {
                    "query": query,
                    "kv_cache": kv_cache,
                    "block_tables": table,
                    "seq_lens": lengths,
                    "max_seq_len": backend.max_context_len,
                    "window_left": named.get("window_left", -1),
                    "q_len_per_req": named.get("q_len_per_req", 1),
                },
            )
            table, lengths = given or (table, lengths)
            with self.hot.passing():
                return original(backend, query, kv_cache, table, lengths, **named)

        return wrapper

    def prefill(self, original: Any) -> Any:
        """Makes the wrapper of `(backend, q, k_cache, v_cache, page_table)`; lengths are told."""

        @functools.wraps(original)
        def wrapper(backend: Any, q: Any, k_cache: Any, v_cache: Any, page_table: Any) -> Any:
            call = self.hot.current_call
            if not self.hot.armed or call is None:
                return original(backend, q, k_cache, v_cache, page_table)
            metadata = backend.forward_metadata
            window = getattr(call[1], "sliding_window_size", None)
            given = self._checked(
                FMHA_V2_PREFILL,
                {
                    "query": q,
                    "kv_cache": (k_cache, v_cache),
                    "block_tables": page_table,
                    "seq_lens": metadata.cache_seqlens_int32,
                    "cum_seq_lens_q": metadata.cu_seqlens_q,
                    "max_kv_len": backend.max_context_len,
                    "window_left": -1 if window is None else window,
                    "kv_layout": "NHD" if k_cache.shape[1] == backend.page_size else "HND",
                },
            )
            return original(backend, q, k_cache, v_cache, given[0] if given else page_table)

        return wrapper

    def _checked(self, api: str, arguments: dict[str, Any]) -> Replacement | None:
        """What the launch is to be given instead of its own. Raises a TrapError in mode `raise`."""
        try:
            known = same_launch(
                self.hot,
                kv_cache=arguments["kv_cache"],
                block_tables=arguments["block_tables"],
                seq_lens=arguments["seq_lens"],
                window_left=arguments["window_left"],
                q_len_per_req=arguments.get("q_len_per_req"),
                cum_seq_lens_q=arguments.get("cum_seq_lens_q"),
            )
            if known is None:
                passed = [arguments.get(name) for name in FORM]
                known = self.launches.watching.repeated(api, *passed)
            if known is not None:
                return known.replacement
            return self.launches.replacements(api, arguments)
        except TrapError:
            raise
        except Exception as error:
            self.shell.failed(error)
            return None
