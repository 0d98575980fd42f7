"""A frozen-KV draft graph is captured with the SWA table of the pool it will read.

SGLang's graph runner, worker methods, views and backend run for real; what needs a GPU is
stood in for: recording a graph becomes one plain run, the draft model one look at the table
that each of its layers would pass to the kernel.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from triage.lab.reinject import reinject
from triage.lab.runtime import Runtime
from triage.lab.scenarios import find
from triage.sglang.fixes.construction import uninitialised
from triage.sglang.fixes.state_swap import CAPTURES, RUNNER, StateSwap

BATCH = 2
NAMES = ("_swa_kv_pool", "use_sliding_window_kv_pool", "_swa_full_to_swa_mapping")


@pytest.fixture
def runtime():
    """Builds the pools and backends of the smoke scenario, as the caller left SGLang."""
    made = []

    def build():
        made.append(Runtime(find("smoke").geometry, draft_tokens=4, draft_steps=3))
        return made[-1]

    yield build
    for each in made:
        each.close()


class Tables:
    """What each draft layer would hand to the kernel during a capture."""

    def __init__(self, runtime):
        self.runtime, self.backend = runtime, runtime.draft_backend
        self.by_layer = {}
        self.state = {}

    def draft_forward(self, forward_batch, **_):
        for layer in self.runtime.draft_attention:
            self.by_layer[layer.layer_id] = self.backend._get_layer_page_table(layer, forward_batch)
        self.state = {name: vars(self.backend).get(name) for name in NAMES}


def capture(runtime, monkeypatch):
    """Capture one batch size with SGLang's own runner; returns the tables its layers got."""
    module = importlib.import_module(RUNNER)
    tables = Tables(runtime)
    worker = worker_of(runtime, tables)
    runner_class = module.FrozenKVMTPCudaGraphRunner
    runner = uninitialised(
        runner_class,
        frozen_kv_mtp_worker=worker,
        model_runner=SimpleNamespace(
            spec_algorithm=runtime._runner(None, None).spec_algorithm,
            req_to_token_pool=runtime.req_to_token_pool,
            device="cpu",
            tp_group=None,
        ),
        draft_attn_backend=runtime.draft_backend,
        topk=1,
        num_tokens_per_bs=1,
        captured_req_width=1,
        require_mlp_tp_gather=False,
        require_attn_tp_gather=False,
        stream=None,
        device="cpu",
        deepep_adapter=SimpleNamespace(capture=lambda **_: None),
        backend=SimpleNamespace(capture_one=lambda key, run, **_: run()),
        buffers=SimpleNamespace(
            req_pool_indices=torch.zeros(BATCH, dtype=torch.int64),
            positions=torch.zeros(BATCH, dtype=torch.int64),
            mrope_positions=torch.zeros(3, BATCH, dtype=torch.int64),
            seq_lens=torch.ones(BATCH, dtype=torch.int64),
            seq_lens_cpu=torch.ones(BATCH, dtype=torch.int64),
            topk_p=torch.zeros(BATCH, 1),
            topk_index=torch.zeros(BATCH, 1, dtype=torch.int64),
            hidden_states=torch.zeros(BATCH, 4),
            bonus_tokens=torch.zeros(BATCH, dtype=torch.int64),
        ),
    )
    stand_in_for_recording(module, runner_class, monkeypatch)
    runtime.draft_backend.init_cuda_graph_state(BATCH, BATCH)
    name = next(name for name in CAPTURES if name in vars(runner_class))
    getattr(runner, name)(BATCH, None)
    return tables


WORKER_MODULES = ("frozen_kv_mtp_worker", "frozen_kv_mtp_worker_v2")
WORKER_METHODS = ("_frozen_kv_target_view", "_init_frozen_kv_metadata_capture_cuda_graph")


def worker_of(runtime, tables):
    """A frozen-KV worker with SGLang's own methods.

    The module cannot be imported without a GPU's packages, so the two methods that a
    capture calls are compiled from its source file.
    """
    from sglang.srt import speculative
    from sglang.srt.model_executor.forward_batch_info import ForwardMode
    from sglang.srt.speculative import frozen_kv_mtp_utils as views

    folder = Path(speculative.__path__[0])
    file = next(
        folder / f"{name}.py" for name in WORKER_MODULES if (folder / f"{name}.py").exists()
    )
    tree = ast.parse(file.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    body = [node for node in functions if node.name in WORKER_METHODS]
    assert len(body) == len(WORKER_METHODS)
    namespace = {
        "ForwardBatch": object,
        "ForwardMode": ForwardMode,
        "frozen_kv_target_view": lambda *args: views.frozen_kv_target_view(*args),
    }
    exec(compile(ast.Module(body, []), str(file), "exec"), namespace)
    worker_class = type("Worker", (), {name: namespace[name] for name in WORKER_METHODS})
    return uninitialised(
        worker_class,
        kv_context=runtime.kv_context,
        draft_attn_backend=runtime.draft_backend,
        draft_forward=tables.draft_forward,
    )


def stand_in_for_recording(module, runner_class, monkeypatch):
    for name, run in (
        ("_create_graph", lambda self: SimpleNamespace(pool=lambda: None)),
        ("_capture_init", lambda self, run_once: None),
        ("_capture_graph", lambda self, graph, pool, stream, run_once: run_once()),
    ):
        if hasattr(runner_class, name):
            monkeypatch.setattr(runner_class, name, run)
    for name in ("maybe_flashinfer_autotune_speculative_draft", "set_dp_buffer_len"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda *_, **__: None)
    for name in ("set_is_extend_in_batch", "set_global_graph_memory_pool"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda *_: None)


def sliding(runtime):
    return [i for i in runtime.geometry.draft_layers if runtime.geometry.layer_kinds[i]]


def swa_buffers(backend):
    tables = [
        value for key, value in backend.decode_cuda_graph_metadata.items() if "swa" in str(key)
    ]
    return [table.data_ptr() for table in tables if table is not None]


def test_with_the_stale_state_sliding_layers_are_captured_over_the_full_table(runtime, monkeypatch):
    with reinject("stale-swa-state"):
        made = runtime()
        tables = capture(made, monkeypatch)
    assert swa_buffers(made.draft_backend) == []
    assert {id(table) for table in tables.by_layer.values()} == {
        id(tables.by_layer[sliding(made)[0]])
    }


def test_with_the_fix_they_are_captured_over_the_swa_table(runtime, bind, monkeypatch):
    fix = bind(StateSwap())
    with reinject("stale-swa-state"):
        made = runtime()
        before = {name: vars(made.draft_backend).get(name) for name in NAMES}
        tables = capture(made, monkeypatch)
    # THEN each sliding layer reads the buffer that the fix had allocated, the others do not
    buffers = swa_buffers(made.draft_backend)
    assert buffers
    for layer_id, table in tables.by_layer.items():
        assert (table.data_ptr() in buffers) == (layer_id in sliding(made))
    # AND the state was the target pool's while capturing, and is as it was afterwards
    assert tables.state["_swa_kv_pool"] is made.token_to_kv_pool
    assert {name: vars(made.draft_backend).get(name) for name in NAMES} == before
    assert fix.uses >= 1


def test_an_sglang_without_the_defect_captures_the_same_and_is_not_touched(
    runtime, bind, monkeypatch
):
    fix = bind(StateSwap())
    made = runtime()
    tables = capture(made, monkeypatch)
    buffers = swa_buffers(made.draft_backend)
    for layer_id, table in tables.by_layer.items():
        assert (table.data_ptr() in buffers) == (layer_id in sliding(made))
    assert fix.uses == 0


def test_the_state_is_back_also_when_the_capture_fails(runtime, bind, monkeypatch):
    bind(StateSwap())
    with reinject("stale-swa-state"):
        made = runtime()
        before = {name: vars(made.draft_backend).get(name) for name in NAMES}
        monkeypatch.setattr(Tables, "draft_forward", lambda *_, **__: sys.modules["no such graph"])
        with pytest.raises(KeyError, match="no such graph"):
            capture(made, monkeypatch)
    assert {name: vars(made.draft_backend).get(name) for name in NAMES} == before
