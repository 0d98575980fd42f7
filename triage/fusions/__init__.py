"""What a compiler fused, read from its output, beside the eager chain, SGLang and ours."""
