"""A CPU twin of the serving process: SGLang's real pools, allocator and backends.

Nothing of SGLang is imitated here except what a report names as replaced:

    emulated_gpu    FlashInfer's two trtllm-gen calls: they end in the address emulator
    builders        the kernels of the Triton and FA3 backends, and `sgl_kernel`
    runtime         the model runner that would have loaded weights, inert FlashInfer wrappers
    drivers         the scheduler: `pools` plays all of it (admission, chunking, drafts, finish),
                    `schedule_batch` its loop alone, around SGLang's own requests and trees
"""
