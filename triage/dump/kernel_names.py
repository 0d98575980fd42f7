"""What a kernel is, by its name: attention or not, whose, and what it does with the KV cache.

The failure: a fault of a matrix product is explained by the page table of an attention launch
that happens to be recorded. The rule: a name that no pattern knows is unknown, and stays so.

Names as they are in SGLang 0.5.12 to 0.5.23, FlashInfer 0.6.11 to 0.7.2, flash-attention 2
and 3, vLLM, and in the reports of their users.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What the kernel does with the KV cache."""

    READS_KV = "reads the KV cache through a page table"
    ATTENTION = "attention, without a paged KV cache"
    WRITES_KV = "writes the KV cache at out_cache_loc"
    MOVES_KV = "copies pages of the KV cache"
    INDICES = "builds page tables and slot lists"
    CHECK = "checks a launch for sglang-triage"
    FUSED = "a fused kernel of sglang-triage"
    OTHER = "has nothing to do with the KV cache"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel by its name. `covered`: is it one that trtllm_mha's launches, which the traps
    and dumps are about, can be? `trtllm_gen`: facts that its name tells."""

    name: str
    family: str
    role: Role
    covered: bool = False

    @property
    def attention(self) -> bool | None:
        """None where the name is not known."""
        if self.role is Role.UNKNOWN:
            return None
        return self.role in (Role.READS_KV, Role.ATTENTION)

    @property
    def ours(self) -> bool:
        return self.role in (Role.CHECK, Role.FUSED)

    def sentence(self) -> str:
        """One line on what it is."""
        if self.role is Role.UNKNOWN:
            return f"{short(self.name)}: a kernel that is not known here"
        kind = "attention" if self.attention else "not attention"
        whose = "one of sglang-triage's own" if self.ours else self.family
        if self.family == TENSOR_OPERATION:
            return f"{short(self.name)}: {kind}, {whose}; which tensor it was, its caller tells"
        return f"{short(self.name)}: {kind}, {whose}; it {_does(self.role)}"


def _does(role: Role) -> str:
    return "is a kernel that " + role.value if role is Role.UNKNOWN else role.value


TENSOR_OPERATION = "a tensor operation"
"""Of PyTorch: a gather, a copy, an index. It may be of any tensor, the request table too."""

OURS_CHECKS = frozenset(
    {"check_table_kernel", "check_writes_kernel", "check_packed_slots_kernel", "record_kernel"}
)
OURS_FUSED = frozenset(
    {
        "_dual_rmsnorm_kernel",
        "_gelu_tanh_mul_kernel",
        "_layer_tail_kernel",
        "_layer_tail_moe_kernel",
        "_post_attn_triple_kernel",
        "_post_topk_kernel",
        "_preamble_kernel",
        "_qkv_rmsnorm_kernel",
        "_qkv_rmsnorm_shared_kv_kernel",
        "_rmsnorm_add_kernel",
        "_rmsnorm_residual_scalar_kernel",
        "_routing_kernel",
    }
)
"""Our Triton kernels that run in a server; a test compares them with the sources."""

_OUR_FILES = ("triage_kernels", "checker_kernels.py", "recorder_kernels.py")

_PATTERNS: tuple[tuple[str, str, Role, bool], ...] = (
    # Writers of the cache first: their names hold "attention" or "kv" too.
    (
        r"store_kv_?cache|set_kv_buffer|set_mla_kv|store_cache|kv_store|reshape_and_cache"
        r"|append_?paged|AppendPaged|fused_set_kv|kv_cache_write|write_kv|qk_norm_rope_store"
        r"|kv_norm_rope_write|SetKVBuffer|StoreKVCache|rope_store|quant_store_qkv"
        r"|v_cache_update|concat_and_cache",
        "KV cache store",
        Role.WRITES_KV,
        False,
    ),
    (
        r"transfer_kv|copy_all_layer_kv|move_kv|copy_kv|swap_blocks|copy_blocks|kv_transfer"
        r"|gather_kv|transfer_page_head",
        "KV cache transfer",
        Role.MOVES_KV,
        False,
    ),
    (
        r"create_flashinfer_kv_indices|create_\w*kv_indices|write_req_to_token|alloc_extend"
        r"|alloc_decode|get_last_loc|assign_req_to_token|assign_extend_cache_locs"
        r"|assign_draft_cache_locs|generate_draft_decode_kv_indices|page_table|kv_indices"
        r"|fused_metadata_kernel|translate_loc|req_to_token|swa_page_indices|page_indices",
        "page tables and slots",
        Role.INDICES,
        False,
    ),
    (r"fmhaSm1\d\d[af]?Kernel", "trtllm-gen attention", Role.READS_KV, True),
    (r"kernel_mha|\bxqa\b|xqa_kernel|xqa_mha", "XQA attention", Role.READS_KV, True),
    (
        r"flash_mla|FlashMLA|[sS]m1\d\d_?[fF]mha_?[mM]la|mla_(?:decode|kernel)|BatchMLA"
        r"|kn_mla|mla_attention",
        "MLA attention",
        Role.READS_KV,
        False,
    ),
    (
        r"BatchDecodeWithPagedKVCache|BatchPrefillWithPagedKVCache|PagedAttention"
        r"|paged_attention|BatchAttention|PersistentKernel|PrefillWithKVCacheKernel"
        r"|BatchPODWith|VariableBlockMergeStates",
        "FlashInfer or vLLM paged attention",
        Role.READS_KV,
        False,
    ),
    (
        r"BatchPrefillWithRaggedKVCache|SinglePrefill|SingleDecode|fmha_cutlass|[fF]mha\w*Fwd",
        "attention over ragged keys",
        Role.ATTENTION,
        False,
    ),
    (
        r"flash_fwd_splitkv|flash_fwd|flash::|FlashAttnFwd|flash_attn|FlashAttention"
        r"|CollectiveMainloopFwd",
        "flash-attention",
        Role.READS_KV,
        False,
    ),
    (
        r"_fwd_(?:grouped_)?kernel_stage[12]\b|_fwd_(?:grouped_)?kernel_stage[12]_rope"
        r"|_fwd_kernel_unified|unified_attention|kernel_unified_attention|_paged_decode"
        r"|paged_decode",
        "Triton attention",
        Role.READS_KV,
        False,
    ),
    (
        r"kda_|gated_delta|gdn_|mamba|causal_conv1d|selective_scan|chunk_(?:scan|state|cumsum)"
        r"|linear_attn|lightning_attn|lightning_|ssm_|ssd_|retention",
        "linear attention or state space",
        Role.OTHER,
        False,
    ),
    (r"indexer|Indexer", "sparse attention's indexer", Role.OTHER, False),
    (r"\bbmm_", "trtllm-gen batched matrix product (experts)", Role.OTHER, False),
    (
        r"moe|Moe|MoE|expert|topk|TopK|routing|Routing|router",
        "mixture of experts",
        Role.OTHER,
        False,
    ),
    (
        r"gemm(?!a)|Gemm(?!a)|GEMM|matmul|cutlass|cublas|nvjet|splitKreduce|dot_kernel|wgmma|marlin|awq"
        r"|gptq|GemmUniversal|_mm_",
        "matrix product",
        Role.OTHER,
        False,
    ),
    (
        r"quant|Quant|rms_?norm|RMSNorm|layer_?norm|LayerNorm|silu|gelu|act_and_mul|rotary|rope"
        r"|Rotary|softmax|sampling|Sampl|argmax|logits|penalt|top_?[kp]_",
        "norm, activation, quantisation or sampling",
        Role.OTHER,
        False,
    ),
    (
        r"nccl|Nccl|all_?reduce|AllReduce|all_?gather|AllGather|reduce_scatter|broadcast"
        r"|nvshmem|deep_?ep|one_?shot|two_?shot|lamport|barrier",
        "communication",
        Role.OTHER,
        False,
    ),
    (
        r"at::native|elementwise|vectorized_gather|index_(?:elementwise|select|put|fill|copy)"
        r"|indexSelect|IndexKernel|gather|scatter|cub::|thrust|CatArray|copy_kernel|fill_kernel"
        r"|memcpy|memset|reduce_kernel|embedding|Embedding|ScatterGather|radix_?sort|indexer",
        TENSOR_OPERATION,
        Role.OTHER,
        False,
    ),
)


@functools.cache
def _compiled() -> tuple[tuple[re.Pattern[str], str, Role, bool], ...]:
    return tuple(
        (re.compile(pattern), family, role, covered) for pattern, family, role, covered in _PATTERNS
    )


_TRITON_ATTENTION_FILES = re.compile(
    r"(?:decode|extend|prefill|double_sparsity|merge|unified|context)_\w*attention\w*\.py"
    r"|attention\w*\.py"
)


def kernel_of(name: str, at: str = "") -> Kernel | None:
    """What the kernel called `name` is; None for an empty name.

    Args:
        at: file (and line) of its source, where known: `_fwd_kernel` alone tells nothing.
    """
    if not name:
        return None
    bare = re.split(r"[<(\s]", _without_return_type(name))[0]
    plain = bare.rpartition("::")[2]
    if plain in OURS_CHECKS or any(part in at for part in _OUR_FILES[1:]):
        return Kernel(name, "sglang-triage", Role.CHECK)
    if _OUR_FILES[0] in at or (plain in OURS_FUSED and not at):
        return Kernel(name, "sglang-triage", Role.FUSED)
    for pattern, family, role, covered in _compiled():
        if pattern.search(bare) or (bare != name and pattern.search(name[:400])):
            return Kernel(name, family, role, covered)
    if at and _TRITON_ATTENTION_FILES.search(at):
        return Kernel(name, "Triton attention", Role.READS_KV)
    return Kernel(name, "", Role.UNKNOWN)


def _without_return_type(name: str) -> str:
    for word in ("void ", "static ", "__global__ ", "unsigned ", "int "):
        name = name.removeprefix(word)
    return name.strip()


def short(name: str, limit: int = 96) -> str:
    """The name without template arguments, cut."""
    bare = _without_return_type(name)
    bare = re.split(r"[<(]", bare)[0].strip() or bare
    return bare if len(bare) <= limit else bare[: limit - 3] + "..."


@dataclass(frozen=True, slots=True)
class TrtllmGenName:
    """What the name of a trtllm-gen attention kernel tells; None where it tells nothing."""

    page_size: int | None
    head_dim: int | None
    windowed: bool | None
    decode: bool | None
    paged: bool | None


_HEAD_DIM = re.compile(r"(?<=[a-z0-9])H(?:Qk)?(\d{2,4})(?=[A-Z]|$)")
_PAGE = re.compile(r"P(\d{1,4})(?=[A-Z]|$)")


def trtllm_gen_name(name: str) -> TrtllmGenName | None:
    """Take a trtllm-gen attention kernel's name apart; None for any other kernel."""
    bare = short(name, 400)
    if not re.match(r"fmhaSm1\d\d[af]?Kernel", bare):
        return None
    head, page = _HEAD_DIM.search(bare), _PAGE.search(bare)
    paged = "PagedKv" in bare
    windowed = None
    if "SlidingOrChunked" in bare:
        windowed = True
    elif "Causal" in bare or "Dense" in bare or "Custom" in bare:
        windowed = False
    decode = None
    if "ForGen" in bare or "Gen" in bare:
        decode = True
    elif "Context" in bare:
        decode = False
    return TrtllmGenName(
        int(page[1]) if paged and page else None,
        int(head[1]) if head else None,
        windowed,
        decode,
        paged if "Kv" in bare else None,
    )
