"""What of SGLang's pools, allocators, stores and drafts no hook of ours stands at, and why.

Read from the wheels of six releases, 0.5.12.post1 to 0.5.23. `triage/doctor/source_classes.py`
lists what a release has that no hook stands at; `of` says what is known of each. What is in
neither list is new, and the doctor and `tests/doctor/test_source_classes.py` say so.

Two ways of not needing a hook of its own: SEEN_OTHERWISE (a hooked call is above it, or an object
is hooked where a class is not), and READS (it takes a cache and places in it, and stores nothing).

Standard library only: `triage doctor` asks in a process that imports nothing else.

Long because it is one list, name by name: a pattern would let a new class pass for a known one.
"""

from __future__ import annotations

from typing import NamedTuple

POOL, ALLOCATOR, ROWS, HOST_POOL = "pool", "allocator", "request rows", "host pool"
STORE, DRAFT = "store", "draft worker"


class Unhooked(NamedTuple):
    """A call that no hook stands at. `owner` is the class that answers it, "" for a function;
    `call` is "" for a class that has none of those we look for, and for a draft worker."""

    kind: str
    owner: str
    call: str
    file: str

    @property
    def name(self) -> str:
        return ".".join(filter(None, (self.owner, self.call)))


class LeftOut(NamedTuple):
    """Classes (all their calls), `Class.call` or functions, and why none of them is covered."""

    kind: str
    names: tuple[str, ...]
    why: str


MLA = "MLA: keys and values are one latent row, and no check of ours reads it or its tables"
INDEX = "sparse attention's index beside the pages, which no check of ours reads"
COMPRESSED = (
    "DeepSeek-V4: compressed pages, states and rings a request, each in a layout of its own"
)
STATE = "state of linear or recurrent layers, a slot a request and no page of tokens"
TRANSLATED = "ids are virtual or moved, and the pool or its allocator translates them by itself"
NVFP4 = "MiniMax-M3: keys, values and index in NVFP4, quantised where they are stored"
PREFIX = "a draft's accepted tokens alone are written, and how many is known to the device only"
NO_SLOTS = "holds or hands out no slots of a KV pool: embeddings, metadata, memory of the host"
OTHER_GPU = "a kernel for AMD GPUs, which the traps have not been run on"

LEFT_OUT = (
    LeftOut(
        POOL,
        (
            "MLATokenToKVPool",
            "MLATokenToKVPoolFP4",
            "LayerSplitDSATokenToKVPool",
            "SWAKVPool.set_mla_kv_buffer",
            "HybridLinearKVPool.set_mla_kv_buffer",
        ),
        MLA,
    ),
    LeftOut(
        POOL,
        (
            "DSATokenToKVPool",
            "NSATokenToKVPool",
            "MHATokenToKOnlyPool",
            "MiniMaxSparseKVPool",
            "QSATokenToKVPool",
            "SWAKVPool.set_index_k_scale_buffer",
            "HybridLinearKVPool.set_index_k_scale_buffer",
        ),
        INDEX,
    ),
    LeftOut(
        POOL,
        (
            "CompressStatePool",
            "DeepSeekV4IndexerPool",
            "DeepSeekV4SingleKVPool",
            "DeepSeekV4TokenToKVPool",
            "DeepSeekV4UnifiedKVPool",
            "DeepSeekV4UniformFP8KVPool",
        ),
        COMPRESSED,
    ),
    LeftOut(
        POOL,
        (
            "MambaPool",
            "MambaCheckpointPool",
            "UnifiedMambaPool",
            "UnifiedDraftMambaPool",
            "NGramPool",
            "ShortConvPool",
        ),
        STATE,
    ),
    LeftOut(
        POOL,
        ("HybridLinearKVPool.set_kv_buffer",),
        "attention beside linear layers: the pool inside is written under numbers of its own",
    ),
    LeftOut(
        POOL,
        (
            "PageInterleaveMHATokenToKVPool",
            "UnifiedKVPool",
            "UnifiedMHATokenToKVPool",
            "UnifiedSWAKVPool",
            "UnifiedDraftSWAKVPool",
        ),
        TRANSLATED,
    ),
    LeftOut(
        POOL,
        ("MiniMaxM3Nvfp4IndexKPool", "MiniMaxM3Nvfp4KVPool", "MiniMaxM3Nvfp4MainKVPool"),
        NVFP4,
    ),
    LeftOut(
        POOL,
        ("MHATokenToKVPool.set_kv_buffer_prefix_valid",),
        PREFIX,
    ),
    LeftOut(
        ALLOCATOR,
        ("HiSparseTokenToKVPoolAllocator", "DeepSeekV4HiSparseTokenToKVPoolAllocator"),
        "HiSparse: slots of the host and of the device, with a table between them",
    ),
    LeftOut(
        ALLOCATOR,
        (
            "FloatMultiEndedAllocator",
            "MultiEndedAllocator",
            "UnifiedMambaTokenToKVPoolAllocator",
            "UnifiedSWAAllocatorBase",
            "UnifiedSWATokenToKVPoolAllocator",
            "PageInterleavePoolAllocator",
        ),
        TRANSLATED,
    ),
    LeftOut(
        ALLOCATOR,
        ("PureSWATokenToKVPoolAllocator",),
        "every layer slides, the mapping is the identity: its pages are in the ledger of the pool "
        "inside, I4 and I8 are off",
    ),
    LeftOut(ALLOCATOR, ("MambaSlotAllocator", "UnifiedMambaSlotAllocator"), STATE),
    LeftOut(
        ALLOCATOR,
        (
            "ContiguousMemoryAllocator",
            "RangePageAllocator",
            "ReqToMetadataIdxAllocator",
            "StagingAllocator",
            "HostTensorAllocator",
            "MooncakeHostTensorAllocator",
            "ShmHostTensorAllocator",
            "TensorcastHostTensorAllocator",
            "UMBPHostTensorAllocator",
        ),
        NO_SLOTS,
    ),
    LeftOut(
        POOL,
        (
            "EmbeddingPool",
            "FlexibleKVCacheMemoryPool",
            "MooncakeEmbeddingPool",
            "_RegisteredPool",
        ),
        NO_SLOTS,
    ),
    LeftOut(
        HOST_POOL,
        (
            "DeepSeekV4PagedHostPool",
            "DeepSeekV4SingleKVPoolHost",
            "LogicalHostPool",
            "MambaPoolHost",
            "PageInterleaveHostPool",
            "UnifiedPageEnvelopeHostPool",
        ),
        "its slots are in a list of its own, not in that of HostKVCache",
    ),
    LeftOut(
        STORE,
        (
            "_set_kv_and_concat_q_fp8_fused",
            "_set_kv_and_concat_q_fused",
            "_set_mla_kv_buffer_impl",
            "covered",
            "covered_fp8",
            "set_mla_kv_buffer",
            "set_mla_kv_buffer_dcp_sharded_triton",
            "set_mla_kv_buffer_naive",
            "set_mla_kv_buffer_triton",
            "set_mla_kv_buffer_triton_fp8_quant",
            "set_mla_kv_concat_q",
            "set_mla_kv_concat_q_fp8",
            "set_mla_kv_scale_buffer_triton",
        ),
        MLA,
    ),
    LeftOut(
        STORE,
        (
            "_store_fp4_index_k_cache_kernel",
            "fused_k_indexer_norm_rope_store",
            "fused_kv_prepare",
            "index_k_norm_rope_pack_store",
            "index_k_rope_pack",
            "sparse_qk_index_gemma_rmsnorm_rope_cache",
            "store_fp4_index_k_cache",
            "store_kv_index",
            "triton_fused_store_indexer",
        ),
        INDEX,
    ),
    LeftOut(
        STORE,
        (
            "_forward_compress_all_in_one",
            "compress_norm_rope_store",
            "c1_decode_norm_rope_store",
            "fused_k_norm_rope_flashmla",
            "fused_k_norm_rope_uniform_fp8",
            "fused_store_cache",
            "triton_fused_store_cache",
            "triton_fused_store_flashmla",
        ),
        COMPRESSED,
    ),
    LeftOut(
        STORE,
        ("_set_kv_buffer_prefix_valid_impl", "_set_kv_buffer_prefix_valid_impl_fp8"),
        PREFIX,
    ),
    LeftOut(
        STORE,
        (
            "_eager_rope_store_kv",
            "_run_fp8_rope_store_kv",
            "fused_qk_rope_store_kv_fp8",
            "hpc_ops_fp8_rope_store_kv",
        ),
        "HPC-Ops' own backend stores while it rotates; its launches are not looked at either",
    ),
    LeftOut(
        STORE,
        (
            "inkling_attn_prologue_decode",
            "inkling_attn_prologue_extend",
            "inkling_attn_prologue_verify",
        ),
        "Inkling: the kernel before attention translates and stores by itself",
    ),
    LeftOut(
        STORE,
        ("_qk_norm_helion_kernel",),
        "Muse Spark: the kernel before attention normalises, rotates and stores",
    ),
    LeftOut(
        STORE,
        (
            "_can_fuse_bmm_rope_cat_and_cache",
            "_fused_bmm_rope_cat_and_cache",
            "_fused_qk_rope_reshape_and_cache_kernel",
            "_fused_rope_cat_and_cache",
            "aiter_fused_fp8_qk_write",
            "aiter_fused_qk_norm_rope_set_kv",
            "fused_qk_rope_reshape_and_cache",
            "launch_reshape_and_cache_flash",
            "launch_reshape_and_cache_shuffle_5d",
            "reshape_and_cache_flash",
        ),
        OTHER_GPU,
    ),
    LeftOut(
        DRAFT,
        ("DFlashWorker", "DFlashWorkerV2", "DSparkWorkerV2"),
        "a block of drafts in one forward with graphs of its own, accepted tokens stored alone "
        "(set_kv_buffer_prefix_valid); the target's verification is looked at",
    ),
    LeftOut(
        DRAFT,
        ("UnoWorkerV2",),
        "one model drafts and verifies in graphs of its own (UnoDecodeCudaGraphRunner), whose "
        "inputs are not judged; its launches are looked at",
    ),
)

SEEN_OTHERWISE: dict[str, str] = {
    "BaseSWAKVPool": "names what a pool has, and is none",
    "DecodeReqToTokenPool": "hooked in a decode server, which loads it",
    "MHATokenToKVPool.set_kv_buffer": "hooked at the object, once a backend is built over it",
    "MHATokenToKVPoolFP4.set_kv_buffer": "hooked at the object, once a backend is built over it",
    "MHATokenToKVPoolMXFP8.set_kv_buffer": "hooked at the object, once a backend is built over it",
    "_set_kv_buffer_impl": "called by the pool's set_kv_buffer",
    "store_cache": "called by the pool's set_kv_buffer",
    "quantize_and_store": "called by the pool's set_kv_buffer (FP4)",
    "quant_store_kv_mxfp8": "called by the pool's set_kv_buffer (MXFP8)",
    "update_mxfp8_v_cache_seqblocked": "called by the pool's set_kv_buffer (MXFP8)",
    "_fused_fp8_set_kv_buffer_kernel": "called by trtllm_mha's own fp8 store",
    "_naive_fp8_set_kv_buffer": "called by trtllm_mha's own fp8 store",
    "fused_fp8_set_kv_buffer": "called by trtllm_mha's own fp8 store",
    "fused_fp8_qkv_kv_cache": "called by trtllm_mha's own fp8 store, 0.5.18 and later",
    "apply_rope_inplace_with_kvcache": "is given the slots by create_fused_set_kv_buffer_arg",
    "create_fused_set_kv_buffer_arg": "hooked by itself where a model can be imported",
    "enable_fused_set_kv_buffer": "asks whether such a store is to be used",
    "EAGLEWorker": "its forwards' launches, writes and graphs",
    "EAGLEWorkerV2": "its forwards' launches, writes and graphs",
    "EagleDraftWorker": "its forwards' launches, writes and graphs",
    "FrozenKVMTPDraftWorker": "its forwards' launches and graphs; it writes nothing",
    "FrozenKVMTPWorker": "its forwards' launches and graphs; it writes nothing",
    "FrozenKVMTPWorkerV2": "its forwards' launches and graphs; it writes nothing",
    "MultiLayerEagleDraftWorker": "its forwards' launches, writes and graphs; not played",
    "MultiLayerEagleWorker": "its forwards' launches, writes and graphs; not played",
    "MultiLayerEagleWorkerV2": "its forwards' launches, writes and graphs; not played",
    "NGRAMWorker": "has no draft model: its verification is one of the target",
    "StandaloneDraftWorker": "an EAGLE worker with a model of its own; not played",
    "StandaloneWorker": "an EAGLE worker with a model of its own; not played",
    "StandaloneWorkerV2": "an EAGLE worker with a model of its own; not played",
    "AdaptiveSpecWorker": "names what a worker has, and is none",
    "BaseDraftWorker": "names what a worker has, and is none",
    "BaseSpecWorker": "names what a worker has, and is none",
}
"""Name -> the hook that sees it."""

READS = frozenset(
    {
        "_flash_mla_flashinfer",
        "_flash_mla_sm120_prefill",
        "_gather_and_dequant",
        "_run_triton_sparse_decode",
        "_sm120_sparse_decode_fwd",
        "aiter_sparse_decode_fwd",
        "compact_attention_hip",
        "dpsk_v4_fp8_attention_fwd",
        "flash_mla_sparse_decode_triton",
        "flash_mla_with_kvcache",
        "flash_mla_with_kvcache_torch",
        "flashinfer_sparse_mla_forward",
        "fused_gather_attn_decode_dsv4",
        "get_mla_kv_buffer_triton",
        "launch_gather_shuffle_5d_to_linear",
        "sparse_gqa_paged_prefill_triton",
        "triton_fp8_attention_fwd",
    }
)
"""Attention and gathering: a cache and places in it among their parameters, and nothing stored."""

PLATFORMS = {
    "hardware_backend/npu/": "Ascend NPU: the traps stand at CUDA's backends and kernels",
    "hardware_backend/mlx/": "Apple's MLX: the traps stand at CUDA's backends and kernels",
    "hardware_backend/xpu/": "Intel XPU: the traps stand at CUDA's backends and kernels",
    "gfx950": OTHER_GPU,
}
"""Part of a file's path -> why nothing in it is covered."""

NEW = "not known to this version of sglang-triage: no hook stands there"

_WHY = {name: (each.kind, each.why) for each in LEFT_OUT for name in each.names}


def of(unhooked: Unhooked) -> str:
    """Why it is not covered: "" where it is seen otherwise or stores nothing, NEW if unknown."""
    if unhooked.kind == STORE and unhooked.call in READS:
        return ""
    names = (unhooked.name, unhooked.owner)
    if any(name in SEEN_OTHERWISE for name in names):
        return ""
    for name in names:
        kind, why = _WHY.get(name, ("", ""))
        if kind == unhooked.kind:
            return why
    return next((why for part, why in PLATFORMS.items() if part in unhooked.file), NEW)


def reason(kind: str, *classes: str) -> str:
    """Why a class, or the first of its bases that is known, is not covered; "" if none is."""
    known = (_WHY[name] for name in classes if name in _WHY)
    return next((why for of_kind, why in known if of_kind == kind), "")


def markdown_table() -> str:
    """The documentation's table of what is not covered."""
    lines = ["| Not covered | Which | Because |", "|---|---|---|"]
    for each in LEFT_OUT:
        names = ", ".join(f"`{name}`" for name in each.names)
        lines.append(f"| {each.kind} | {names} | {each.why} |")
    lines += [f"| all | files of `{part}` | {why} |" for part, why in PLATFORMS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown_table())
