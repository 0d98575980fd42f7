"""Launches of Triton and FlashInfer's own attention (fa2): packed slots, no page table."""
