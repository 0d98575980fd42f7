"""A CPU twin of the serving process: SGLang's real pools, allocator and backends.

Nothing of SGLang is imitated here except what a report names as replaced:

    gpu        FlashInfer's two trtllm-gen calls: they end in the address emulator
    builders   the kernels of the Triton and FA3 backends, and `sgl_kernel`
    runtime    the model runner that would have loaded weights, inert FlashInfer wrappers
    drive      the scheduler: admission, chunking, drafts, finish
    floor2     the scheduler's loop alone, around SGLang's own requests, batches and trees
"""
