"""Names of the FlashInfer calls that a dump can record, as FlashInfer spells them."""

DECODE = "trtllm_batch_decode_with_kv_cache"
CONTEXT = "trtllm_batch_context_with_kv_cache"
