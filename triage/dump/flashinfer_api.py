"""Names of the calls that a dump can record, as FlashInfer and FlashAttention spell them."""

DECODE = "trtllm_batch_decode_with_kv_cache"
CONTEXT = "trtllm_batch_context_with_kv_cache"
FLASH_ATTENTION = "flash_attn_with_kvcache"
FMHA_V2_PREFILL = "trtllm_fmha_v2_prefill"
