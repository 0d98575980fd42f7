# AOT ID: ['2_inference']
from ctypes import c_void_p, c_long, c_int
import torch
import math
import random
import os
import tempfile
from math import inf, nan
from cmath import nanj
from torch._inductor.hooks import run_intermediate_hooks
from torch._inductor.utils import maybe_profile
from torch._inductor.codegen.memory_planning import _align as align
from torch import device, empty_strided
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.select_algorithm import extern_kernels
import triton
import triton.language as tl
from torch._inductor.runtime.triton_heuristics import start_graph, end_graph

def get_raw_stream(_):
    return 0


aten = torch.ops.aten
inductor_ops = torch.ops.inductor
_quantized = torch.ops._quantized
assert_size_stride = torch._C._dynamo.guards.assert_size_stride
assert_alignment = torch._C._dynamo.guards.assert_alignment
empty_strided_cpu = torch._C._dynamo.guards._empty_strided_cpu
empty_strided_cpu_pinned = torch._C._dynamo.guards._empty_strided_cpu_pinned
empty_strided_cuda = torch._C._dynamo.guards._empty_strided_cuda
empty_strided_xpu = torch._C._dynamo.guards._empty_strided_xpu
empty_strided_mtia = torch._C._dynamo.guards._empty_strided_mtia
reinterpret_tensor = torch._C._dynamo.guards._reinterpret_tensor
alloc_from_pool = torch.ops.inductor._alloc_from_pool
async_compile = AsyncCompile()
empty_strided_p2p = torch._C._distributed_c10d._SymmetricMemory.empty_strided_p2p


# Topologically Sorted Source Nodes: [wide, pow_1, mean, add, rsqrt, wide_1, float_2, wide_2, to], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add => add
#   float_2 => convert_element_type_1
#   mean => mean
#   pow_1 => pow_1
#   rsqrt => rsqrt
#   to => convert_element_type_2
#   wide => convert_element_type
#   wide_1 => mul
#   wide_2 => mul_1
# Graph fragment:
#   %arg1_1 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=arg1_1]
#   %buf0 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf0]
#   %arg2_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg2_1]
#   %convert_element_type : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg1_1, torch.float32), kwargs = {})
#   %pow_1 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type, 2), kwargs = {})
#   %mean : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_1, [-1], True), kwargs = {})
#   %add : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean, 1e-06), kwargs = {})
#   %rsqrt : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add,), kwargs = {})
#   %mul : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type, %rsqrt), kwargs = {})
#   %convert_element_type_1 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg2_1, torch.float32), kwargs = {})
#   %mul_1 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul, %convert_element_type_1), kwargs = {})
#   %convert_element_type_2 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_1, torch.bfloat16), kwargs = {})
#   return %buf0,%convert_element_type_2
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'out_ptr1': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(2,): [['tt.divisibility', 16]], (3,): [['tt.divisibility', 16]], (4,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 3, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 250880}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0(in_ptr0, in_ptr1, out_ptr1, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp14 = tl.load(in_ptr1 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tmp6.to(tl.float32)
        tmp8 = tl.full([1, 1], 2560.0, tl.float32)
        tmp9 = (tmp4 / tmp8)
        tmp10 = tl.full([1, 1], 1e-06, tl.float32)
        tmp11 = tmp9 + tmp10
        tmp12 = libdevice.rsqrt(tmp11)
        tmp13 = tmp7 * tmp12
        tmp15 = tmp14.to(tl.float32)
        tmp16 = tmp13 * tmp15
        tmp17 = tmp16.to(tl.float32)
        tl.store(out_ptr1 + (r0_1 + 2560*x0), tmp17, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, k, wide_6, pow_3, mean_2], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
# Source node to ATen node mapping:
#   k => view_1
#   mean_2 => mean_2
#   pow_3 => pow_3
#   split => split_with_sizes
#   wide_6 => convert_element_type_10
# Graph fragment:
#   %mm : Tensor "bf16[16, 3072][3072, 1]cpu" = PlaceHolder[target=mm]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [2048, 512, 512], -1), kwargs = {})
#   %view_1 : Tensor "bf16[16, 2, 256][3072, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem_1, [16, 2, 256]), kwargs = {})
#   %convert_element_type_10 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view_1, torch.float32), kwargs = {})
#   %pow_3 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_10, 2), kwargs = {})
#   %mean_2 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_3, [-1], True), kwargs = {})
#   return %buf4
triton_per_fused__to_copy_mean_pow_split_with_sizes_view_1 = async_compile.triton('triton_per_fused__to_copy_mean_pow_split_with_sizes_view_1', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.persistent_reduction(
    size_hints={'x': 32, 'r0_': 256},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'out_ptr0': '*fp32', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (3,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_per_fused__to_copy_mean_pow_split_with_sizes_view_1', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': None, 'atomic_add_found': False, 'num_load': 1, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 256, 'r0_': 16384}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_per_fused__to_copy_mean_pow_split_with_sizes_view_1(in_ptr0, out_ptr0, xnumel, r0_numel, XBLOCK : tl.constexpr):
    xnumel = 32
    r0_numel = 256
    R0_BLOCK: tl.constexpr = 256
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_index = tl.arange(0, R0_BLOCK)[None, :]
    r0_offset = 0
    r0_mask = tl.full([R0_BLOCK], True, tl.int1)[None, :]
    roffset = r0_offset
    rindex = r0_index
    r0_2 = r0_index
    x0 = (xindex % 2)
    x1 = xindex // 2
    x3 = xindex
    tmp0 = tl.load(in_ptr0 + (2048 + r0_2 + 256*x0 + 3072*x1), xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
    tmp1 = tmp0.to(tl.float32)
    tmp2 = tmp1 * tmp1
    tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
    tmp5 = tl.where(xmask, tmp3, 0)
    tmp6 = tl.sum(tmp5, 1)[:, None].to(tl.float32)
    tl.store(out_ptr0 + (x3), tmp6, xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, q, wide_3, pow_2, mean_1], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
# Source node to ATen node mapping:
#   mean_1 => mean_1
#   pow_2 => pow_2
#   q => view
#   split => split_with_sizes
#   wide_3 => convert_element_type_5
# Graph fragment:
#   %mm : Tensor "bf16[16, 3072][3072, 1]cpu" = PlaceHolder[target=mm]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [2048, 512, 512], -1), kwargs = {})
#   %view : Tensor "bf16[16, 8, 256][3072, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem, [16, 8, 256]), kwargs = {})
#   %convert_element_type_5 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view, torch.float32), kwargs = {})
#   %pow_2 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_5, 2), kwargs = {})
#   %mean_1 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_2, [-1], True), kwargs = {})
#   return %buf3
triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2 = async_compile.triton('triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 128, 'r0_': 256},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'out_ptr0': '*fp32', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (3,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 1, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 1024, 'r0_': 65536}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2(in_ptr0, out_ptr0, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 128
    r0_numel = 256
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = (xindex % 8)
    x1 = xindex // 8
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    x3 = xindex
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_2 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_2 + 256*x0 + 3072*x1), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tl.store(out_ptr0 + (x3), tmp4, xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, getitem_4, unsqueeze, chunk, k, wide_6, pow_3, mean_2, add_3, rsqrt_2, wide_7, float_7, wide_8, to_3, float_8, chunk_2, mul_10, mul_11, sub_1, mul_12, mul_13, add_4], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
# Source node to ATen node mapping:
#   add_3 => add_3
#   add_4 => add_4
#   chunk => split
#   chunk_2 => split_2
#   float_7 => convert_element_type_11
#   float_8 => convert_element_type_13
#   getitem_4 => index
#   k => view_1
#   mean_2 => mean_2
#   mul_10 => mul_10
#   mul_11 => mul_11
#   mul_12 => mul_12
#   mul_13 => mul_13
#   pow_3 => pow_3
#   rsqrt_2 => rsqrt_2
#   split => split_with_sizes
#   sub_1 => sub_1
#   to_3 => convert_element_type_12
#   unsqueeze => unsqueeze
#   wide_6 => convert_element_type_10
#   wide_7 => mul_8
#   wide_8 => mul_9
# Graph fragment:
#   %mm : Tensor "bf16[16, 3072][3072, 1]cpu" = PlaceHolder[target=mm]
#   %buf4 : Tensor "f32[16, 2, 1][2, 1, 32]cpu" = PlaceHolder[target=buf4]
#   %arg7_1 : Tensor "bf16[256][1]cpu" = PlaceHolder[target=arg7_1]
#   %arg5_1 : Tensor "i64[16][1]cpu" = PlaceHolder[target=arg5_1]
#   %arg4_1 : Tensor "bf16[128, 256][256, 1]cpu" = PlaceHolder[target=arg4_1]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [2048, 512, 512], -1), kwargs = {})
#   %index : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg4_1, [%arg5_1]), kwargs = {})
#   %unsqueeze : Tensor "bf16[16, 1, 256][256, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.unsqueeze.default](args = (%index, 1), kwargs = {})
#   %split : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%unsqueeze, 128, -1), kwargs = {})
#   %view_1 : Tensor "bf16[16, 2, 256][3072, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem_1, [16, 2, 256]), kwargs = {})
#   %convert_element_type_10 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view_1, torch.float32), kwargs = {})
#   %pow_3 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_10, 2), kwargs = {})
#   %mean_2 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_3, [-1], True), kwargs = {})
#   %add_3 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_2, 1e-06), kwargs = {})
#   %rsqrt_2 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_3,), kwargs = {})
#   %mul_8 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_10, %rsqrt_2), kwargs = {})
#   %convert_element_type_11 : Tensor "f32[256][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg7_1, torch.float32), kwargs = {})
#   %mul_9 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_8, %convert_element_type_11), kwargs = {})
#   %convert_element_type_12 : Tensor "bf16[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_9, torch.bfloat16), kwargs = {})
#   %convert_element_type_13 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%convert_element_type_12, torch.float32), kwargs = {})
#   %split_2 : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%convert_element_type_13, 128, -1), kwargs = {})
#   %mul_10 : Tensor "f32[16, 2, 128][256, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_7, %getitem_3), kwargs = {})
#   %mul_11 : Tensor "f32[16, 2, 128][256, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_8, %getitem_4), kwargs = {})
#   %sub_1 : Tensor "f32[16, 2, 128][256, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.sub.Tensor](args = (%mul_10, %mul_11), kwargs = {})
#   %mul_12 : Tensor "f32[16, 2, 128][256, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_8, %getitem_3), kwargs = {})
#   %mul_13 : Tensor "f32[16, 2, 128][256, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_7, %getitem_4), kwargs = {})
#   %add_4 : Tensor "f32[16, 2, 128][256, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_12, %mul_13), kwargs = {})
#   return %sub_1,%add_4
triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3 = async_compile.triton('triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 4096}, 
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*fp32', 'in_ptr2': '*bf16', 'in_ptr3': '*i64', 'in_ptr4': '*bf16', 'out_ptr0': '*fp32', 'out_ptr1': '*fp32', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 6, 'num_store': 2, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 82688}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3(in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, out_ptr0, out_ptr1, xnumel, XBLOCK : tl.constexpr):
    xnumel = 4096
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x0 = (xindex % 128)
    x1 = ((xindex // 128) % 2)
    x2 = xindex // 256
    x3 = xindex // 128
    tmp0 = tl.load(in_ptr0 + (2048 + x0 + 256*x1 + 3072*x2), None).to(tl.float32)
    tmp2 = tl.load(in_ptr1 + (x3), None, eviction_policy='evict_last')
    tmp9 = tl.load(in_ptr2 + (x0), None, eviction_policy='evict_last').to(tl.float32)
    tmp14 = tl.load(in_ptr3 + (x2), None, eviction_policy='evict_last')
    tmp23 = tl.load(in_ptr0 + (2176 + x0 + 256*x1 + 3072*x2), None).to(tl.float32)
    tmp26 = tl.load(in_ptr2 + (128 + x0), None, eviction_policy='evict_last').to(tl.float32)
    tmp1 = tmp0.to(tl.float32)
    tmp3 = tl.full([1], 256.0, tl.float32)
    tmp4 = (tmp2 / tmp3)
    tmp5 = tl.full([1], 1e-06, tl.float32)
    tmp6 = tmp4 + tmp5
    tmp7 = libdevice.rsqrt(tmp6)
    tmp8 = tmp1 * tmp7
    tmp10 = tmp9.to(tl.float32)
    tmp11 = tmp8 * tmp10
    tmp12 = tmp11.to(tl.float32)
    tmp13 = tmp12.to(tl.float32)
    tmp15 = (tl.full([XBLOCK], 128, tl.int32)).to(tl.int32)
    tmp16 = tmp14 + tmp15
    tmp17 = tmp14 < 0
    tmp18 = tl.where(tmp17, tmp16, tmp14)
    tl.device_assert((0 <= tmp18) & (tmp18 < 128), "index out of bounds: 0 <= tmp18 < 128")
    tmp20 = tl.load(in_ptr4 + (x0 + 256*tmp18), None).to(tl.float32)
    tmp21 = tmp20.to(tl.float32)
    tmp22 = tmp13 * tmp21
    tmp24 = tmp23.to(tl.float32)
    tmp25 = tmp24 * tmp7
    tmp27 = tmp26.to(tl.float32)
    tmp28 = tmp25 * tmp27
    tmp29 = tmp28.to(tl.float32)
    tmp30 = tmp29.to(tl.float32)
    tmp31 = tl.load(in_ptr4 + (128 + x0 + 256*tmp18), None).to(tl.float32)
    tmp32 = tmp31.to(tl.float32)
    tmp33 = tmp30 * tmp32
    tmp34 = tmp22 - tmp33
    tmp35 = tmp30 * tmp21
    tmp36 = tmp13 * tmp32
    tmp37 = tmp35 + tmp36
    tl.store(out_ptr0 + (x0 + 256*x3), tmp34, None)
    tl.store(out_ptr1 + (x0 + 256*x3), tmp37, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, k_1, index_copy_, v, wide_9, pow_4, mean_3, add_5, rsqrt_3, wide_10, to_5, index_copy__1], Original ATen: [aten.split_with_sizes, aten._to_copy, aten.index_copy, aten.view, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_5 => add_5
#   index_copy_ => index_put
#   index_copy__1 => index_put_1
#   k_1 => convert_element_type_14
#   mean_3 => mean_3
#   pow_4 => pow_4
#   rsqrt_3 => rsqrt_3
#   split => split_with_sizes
#   to_5 => convert_element_type_16
#   v => view_2
#   wide_10 => mul_14
#   wide_9 => convert_element_type_15
# Graph fragment:
#   %arg5_1 : Tensor "i64[16][1]cpu" = PlaceHolder[target=arg5_1]
#   %cat_1 : Tensor "f32[16, 2, 256][512, 256, 1]cpu" = PlaceHolder[target=cat_1]
#   %copy_ : Tensor "bf16[64, 2, 256][512, 256, 1]cpu" = PlaceHolder[target=copy_]
#   %mm : Tensor "bf16[16, 3072][3072, 1]cpu" = PlaceHolder[target=mm]
#   %buf12 : Tensor "f32[16, 2, 1][2, 1, 32]cpu" = PlaceHolder[target=buf12]
#   %copy__1 : Tensor "bf16[64, 2, 256][512, 256, 1]cpu" = PlaceHolder[target=copy__1]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [2048, 512, 512], -1), kwargs = {})
#   %convert_element_type_14 : Tensor "bf16[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%cat_1, torch.bfloat16), kwargs = {})
#   %index_put : Tensor "bf16[64, 2, 256][512, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.index_put_.default](args = (%arg8_1, [%arg5_1], %convert_element_type_14), kwargs = {})
#   %view_2 : Tensor "bf16[16, 2, 256][3072, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem_2, [16, 2, 256]), kwargs = {})
#   %convert_element_type_15 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view_2, torch.float32), kwargs = {})
#   %pow_4 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_15, 2), kwargs = {})
#   %mean_3 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_4, [-1], True), kwargs = {})
#   %add_5 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_3, 1e-06), kwargs = {})
#   %rsqrt_3 : Tensor "f32[16, 2, 1][2, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_5,), kwargs = {})
#   %mul_14 : Tensor "f32[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_15, %rsqrt_3), kwargs = {})
#   %convert_element_type_16 : Tensor "bf16[16, 2, 256][512, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_14, torch.bfloat16), kwargs = {})
#   %index_put_1 : Tensor "bf16[64, 2, 256][512, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.index_put_.default](args = (%arg9_1, [%arg5_1], %convert_element_type_16), kwargs = {})
#   return %buf11,%buf12,%buf13
triton_per_fused__to_copy_add_index_copy_mean_mul_pow_rsqrt_split_with_sizes_view_4 = async_compile.triton('triton_per_fused__to_copy_add_index_copy_mean_mul_pow_rsqrt_split_with_sizes_view_4', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.persistent_reduction(
    size_hints={'x': 32, 'r0_': 256},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*i64', 'in_ptr1': '*fp32', 'in_ptr2': '*bf16', 'out_ptr0': '*bf16', 'out_ptr2': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_per_fused__to_copy_add_index_copy_mean_mul_pow_rsqrt_split_with_sizes_view_4', 'mutated_arg_names': ['out_ptr0', 'out_ptr2'], 'optimize_mem': True, 'no_x_dim': None, 'atomic_add_found': False, 'num_load': 3, 'num_store': 2, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 49152}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_per_fused__to_copy_add_index_copy_mean_mul_pow_rsqrt_split_with_sizes_view_4(in_ptr0, in_ptr1, in_ptr2, out_ptr0, out_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr):
    xnumel = 32
    r0_numel = 256
    R0_BLOCK: tl.constexpr = 256
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_index = tl.arange(0, R0_BLOCK)[None, :]
    r0_offset = 0
    r0_mask = tl.full([R0_BLOCK], True, tl.int1)[None, :]
    roffset = r0_offset
    rindex = r0_index
    x1 = xindex // 2
    r0_2 = r0_index
    x3 = xindex
    x0 = (xindex % 2)
    tmp0 = tl.load(in_ptr0 + (x1), xmask, eviction_policy='evict_last')
    tmp6 = tl.load(in_ptr1 + (r0_2 + 256*x3), xmask, eviction_policy='evict_first', other=0.0)
    tmp8 = tl.load(in_ptr2 + (2560 + r0_2 + 256*x0 + 3072*x1), xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
    tmp1 = (tl.full([1, 1], 64, tl.int32)).to(tl.int32)
    tmp2 = tmp0 + tmp1
    tmp3 = tmp0 < 0
    tmp4 = tl.where(tmp3, tmp2, tmp0)
    tl.device_assert(((0 <= tmp4) & (tmp4 < 64)) | ~(xmask), "index out of bounds: 0 <= tmp4 < 64")
    tmp7 = tmp6.to(tl.float32)
    tmp9 = tmp8.to(tl.float32)
    tmp10 = tmp9 * tmp9
    tmp11 = tl.broadcast_to(tmp10, [XBLOCK, R0_BLOCK])
    tmp13 = tl.where(xmask, tmp11, 0)
    tmp14 = tl.sum(tmp13, 1)[:, None].to(tl.float32)
    tmp15 = tl.full([1, 1], 256.0, tl.float32)
    tmp16 = (tmp14 / tmp15)
    tmp17 = tl.full([1, 1], 1e-06, tl.float32)
    tmp18 = tmp16 + tmp17
    tmp19 = libdevice.rsqrt(tmp18)
    tmp20 = tmp9 * tmp19
    tmp21 = tmp20.to(tl.float32)
    tl.store(out_ptr0 + (r0_2 + 256*x0 + 512*tmp4), tmp7, xmask)
    tl.store(out_ptr2 + (r0_2 + 256*x0 + 512*tmp4), tmp21, xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, getitem_4, unsqueeze, chunk, q, wide_3, pow_2, mean_1, add_1, rsqrt_1, wide_4, float_4, wide_5, to_1, float_5, chunk_1, mul_4, mul_5, sub, mul_6, mul_7, add_2], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
# Source node to ATen node mapping:
#   add_1 => add_1
#   add_2 => add_2
#   chunk => split
#   chunk_1 => split_1
#   float_4 => convert_element_type_6
#   float_5 => convert_element_type_8
#   getitem_4 => index
#   mean_1 => mean_1
#   mul_4 => mul_4
#   mul_5 => mul_5
#   mul_6 => mul_6
#   mul_7 => mul_7
#   pow_2 => pow_2
#   q => view
#   rsqrt_1 => rsqrt_1
#   split => split_with_sizes
#   sub => sub
#   to_1 => convert_element_type_7
#   unsqueeze => unsqueeze
#   wide_3 => convert_element_type_5
#   wide_4 => mul_2
#   wide_5 => mul_3
# Graph fragment:
#   %mm : Tensor "bf16[16, 3072][3072, 1]cpu" = PlaceHolder[target=mm]
#   %buf3 : Tensor "f32[16, 8, 1][8, 1, 128]cpu" = PlaceHolder[target=buf3]
#   %arg6_1 : Tensor "bf16[256][1]cpu" = PlaceHolder[target=arg6_1]
#   %arg5_1 : Tensor "i64[16][1]cpu" = PlaceHolder[target=arg5_1]
#   %arg4_1 : Tensor "bf16[128, 256][256, 1]cpu" = PlaceHolder[target=arg4_1]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [2048, 512, 512], -1), kwargs = {})
#   %index : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg4_1, [%arg5_1]), kwargs = {})
#   %unsqueeze : Tensor "bf16[16, 1, 256][256, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.unsqueeze.default](args = (%index, 1), kwargs = {})
#   %split : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%unsqueeze, 128, -1), kwargs = {})
#   %view : Tensor "bf16[16, 8, 256][3072, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem, [16, 8, 256]), kwargs = {})
#   %convert_element_type_5 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view, torch.float32), kwargs = {})
#   %pow_2 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_5, 2), kwargs = {})
#   %mean_1 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_2, [-1], True), kwargs = {})
#   %add_1 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_1, 1e-06), kwargs = {})
#   %rsqrt_1 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_1,), kwargs = {})
#   %mul_2 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_5, %rsqrt_1), kwargs = {})
#   %convert_element_type_6 : Tensor "f32[256][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg6_1, torch.float32), kwargs = {})
#   %mul_3 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_2, %convert_element_type_6), kwargs = {})
#   %convert_element_type_7 : Tensor "bf16[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_3, torch.bfloat16), kwargs = {})
#   %convert_element_type_8 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%convert_element_type_7, torch.float32), kwargs = {})
#   %split_1 : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%convert_element_type_8, 128, -1), kwargs = {})
#   %mul_4 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_5, %getitem_3), kwargs = {})
#   %mul_5 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_6, %getitem_4), kwargs = {})
#   %sub : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.sub.Tensor](args = (%mul_4, %mul_5), kwargs = {})
#   %mul_6 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_6, %getitem_3), kwargs = {})
#   %mul_7 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_5, %getitem_4), kwargs = {})
#   %add_2 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_6, %mul_7), kwargs = {})
#   return %sub,%add_2
triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_5 = async_compile.triton('triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_5', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 16384}, 
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*fp32', 'in_ptr2': '*bf16', 'in_ptr3': '*i64', 'in_ptr4': '*bf16', 'out_ptr0': '*fp32', 'out_ptr1': '*fp32', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_5', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 6, 'num_store': 2, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 328832}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_5(in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, out_ptr0, out_ptr1, xnumel, XBLOCK : tl.constexpr):
    xnumel = 16384
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x0 = (xindex % 128)
    x1 = ((xindex // 128) % 8)
    x2 = xindex // 1024
    x3 = xindex // 128
    tmp0 = tl.load(in_ptr0 + (x0 + 256*x1 + 3072*x2), None).to(tl.float32)
    tmp2 = tl.load(in_ptr1 + (x3), None, eviction_policy='evict_last')
    tmp9 = tl.load(in_ptr2 + (x0), None, eviction_policy='evict_last').to(tl.float32)
    tmp14 = tl.load(in_ptr3 + (x2), None, eviction_policy='evict_last')
    tmp23 = tl.load(in_ptr0 + (128 + x0 + 256*x1 + 3072*x2), None).to(tl.float32)
    tmp26 = tl.load(in_ptr2 + (128 + x0), None, eviction_policy='evict_last').to(tl.float32)
    tmp1 = tmp0.to(tl.float32)
    tmp3 = tl.full([1], 256.0, tl.float32)
    tmp4 = (tmp2 / tmp3)
    tmp5 = tl.full([1], 1e-06, tl.float32)
    tmp6 = tmp4 + tmp5
    tmp7 = libdevice.rsqrt(tmp6)
    tmp8 = tmp1 * tmp7
    tmp10 = tmp9.to(tl.float32)
    tmp11 = tmp8 * tmp10
    tmp12 = tmp11.to(tl.float32)
    tmp13 = tmp12.to(tl.float32)
    tmp15 = (tl.full([XBLOCK], 128, tl.int32)).to(tl.int32)
    tmp16 = tmp14 + tmp15
    tmp17 = tmp14 < 0
    tmp18 = tl.where(tmp17, tmp16, tmp14)
    tl.device_assert((0 <= tmp18) & (tmp18 < 128), "index out of bounds: 0 <= tmp18 < 128")
    tmp20 = tl.load(in_ptr4 + (x0 + 256*tmp18), None).to(tl.float32)
    tmp21 = tmp20.to(tl.float32)
    tmp22 = tmp13 * tmp21
    tmp24 = tmp23.to(tl.float32)
    tmp25 = tmp24 * tmp7
    tmp27 = tmp26.to(tl.float32)
    tmp28 = tmp25 * tmp27
    tmp29 = tmp28.to(tl.float32)
    tmp30 = tmp29.to(tl.float32)
    tmp31 = tl.load(in_ptr4 + (128 + x0 + 256*tmp18), None).to(tl.float32)
    tmp32 = tmp31.to(tl.float32)
    tmp33 = tmp30 * tmp32
    tmp34 = tmp22 - tmp33
    tmp35 = tmp30 * tmp21
    tmp36 = tmp13 * tmp32
    tmp37 = tmp35 + tmp36
    tl.store(out_ptr0 + (x0 + 256*x3), tmp34, None)
    tl.store(out_ptr1 + (x0 + 256*x3), tmp37, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
# Source node to ATen node mapping:
#   attention => attention
#   q_1 => convert_element_type_9
# Graph fragment:
#   %cat : Tensor "f32[16, 8, 256][2048, 256, 1]cpu" = PlaceHolder[target=cat]
#   %convert_element_type_9 : Tensor "bf16[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%cat, torch.bfloat16), kwargs = {})
#   %attention : Tensor "bf16[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.triage.attention.default](args = (%convert_element_type_9, %index_put, %index_put_1), kwargs = {})
#   return %buf14
triton_poi_fused__to_copy_attention_6 = async_compile.triton('triton_poi_fused__to_copy_attention_6', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 32768}, 
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*fp32', 'out_ptr0': '*bf16', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused__to_copy_attention_6', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 1, 'num_store': 1, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 262144}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused__to_copy_attention_6(in_ptr0, out_ptr0, xnumel, XBLOCK : tl.constexpr):
    xnumel = 32768
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x0 = xindex
    tmp0 = tl.load(in_ptr0 + (x0), None)
    tmp1 = tmp0.to(tl.float32)
    tl.store(out_ptr0 + (x0), tmp1, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_6 => add_6
#   add_8 => add_8
#   float_11 => convert_element_type_20
#   float_13 => convert_element_type_23
#   mean_4 => mean_4
#   mean_5 => mean_5
#   pow_5 => pow_5
#   pow_6 => pow_6
#   residual => add_7
#   rsqrt_4 => rsqrt_4
#   rsqrt_5 => rsqrt_5
#   to_6 => convert_element_type_21
#   to_7 => convert_element_type_24
#   wide_11 => convert_element_type_19
#   wide_12 => mul_15
#   wide_13 => mul_16
#   wide_14 => convert_element_type_22
#   wide_15 => mul_17
#   wide_16 => mul_18
# Graph fragment:
#   %mm_1 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_1]
#   %arg1_1 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=arg1_1]
#   %buf18 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf18]
#   %arg11_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg11_1]
#   %buf19 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf19]
#   %arg12_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg12_1]
#   %convert_element_type_19 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_1, torch.float32), kwargs = {})
#   %pow_5 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_19, 2), kwargs = {})
#   %mean_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_5, [-1], True), kwargs = {})
#   %add_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_4, 1e-06), kwargs = {})
#   %rsqrt_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_6,), kwargs = {})
#   %mul_15 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_19, %rsqrt_4), kwargs = {})
#   %convert_element_type_20 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg11_1, torch.float32), kwargs = {})
#   %mul_16 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_15, %convert_element_type_20), kwargs = {})
#   %convert_element_type_21 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_16, torch.bfloat16), kwargs = {})
#   %add_7 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.add.Tensor](args = (%arg1_1, %convert_element_type_21), kwargs = {})
#   %convert_element_type_22 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_7, torch.float32), kwargs = {})
#   %pow_6 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_22, 2), kwargs = {})
#   %mean_5 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_6, [-1], True), kwargs = {})
#   %add_8 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_5, 1e-06), kwargs = {})
#   %rsqrt_5 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_8,), kwargs = {})
#   %mul_17 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_22, %rsqrt_5), kwargs = {})
#   %convert_element_type_23 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg12_1, torch.float32), kwargs = {})
#   %mul_18 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_17, %convert_element_type_23), kwargs = {})
#   %convert_element_type_24 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_18, torch.bfloat16), kwargs = {})
#   return %buf18,%buf19,%convert_element_type_24
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_7 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_7', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'out_ptr0': '*fp32', 'out_ptr2': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (4,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_7', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 8, 'num_store': 2, 'num_reduction': 2, 'autotune_hints': set(), 'tiling_scores': {'x': 128, 'r0_': 337920}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_7(in_ptr0, in_ptr1, in_ptr2, in_ptr3, out_ptr0, out_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tl.store(out_ptr0 + (x0), tmp4, xmask)
    _tmp23 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp15 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp9 = tl.full([1, 1], 2560.0, tl.float32)
        tmp10 = (tmp4 / tmp9)
        tmp11 = tl.full([1, 1], 1e-06, tl.float32)
        tmp12 = tmp10 + tmp11
        tmp13 = libdevice.rsqrt(tmp12)
        tmp14 = tmp8 * tmp13
        tmp16 = tmp15.to(tl.float32)
        tmp17 = tmp14 * tmp16
        tmp18 = tmp17.to(tl.float32)
        tmp19 = tmp6 + tmp18
        tmp20 = tmp19.to(tl.float32)
        tmp21 = tmp20 * tmp20
        tmp22 = tl.broadcast_to(tmp21, [XBLOCK, R0_BLOCK])
        tmp24 = _tmp23 + tmp22
        _tmp23 = tl.where(r0_mask & xmask, tmp24, _tmp23)
    tmp23 = tl.sum(_tmp23, 1)[:, None]
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp25 = tl.load(in_ptr1 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp26 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp34 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp44 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp27 = tmp26.to(tl.float32)
        tmp28 = tl.full([1, 1], 2560.0, tl.float32)
        tmp29 = (tmp4 / tmp28)
        tmp30 = tl.full([1, 1], 1e-06, tl.float32)
        tmp31 = tmp29 + tmp30
        tmp32 = libdevice.rsqrt(tmp31)
        tmp33 = tmp27 * tmp32
        tmp35 = tmp34.to(tl.float32)
        tmp36 = tmp33 * tmp35
        tmp37 = tmp36.to(tl.float32)
        tmp38 = tmp25 + tmp37
        tmp39 = tmp38.to(tl.float32)
        tmp40 = (tmp23 / tmp28)
        tmp41 = tmp40 + tmp30
        tmp42 = libdevice.rsqrt(tmp41)
        tmp43 = tmp39 * tmp42
        tmp45 = tmp44.to(tl.float32)
        tmp46 = tmp43 * tmp45
        tmp47 = tmp46.to(tl.float32)
        tl.store(out_ptr2 + (r0_1 + 2560*x0), tmp47, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [chunk_3, gelu, mul_19], Original ATen: [aten.split, aten.gelu, aten.mul]
# Source node to ATen node mapping:
#   chunk_3 => split_3
#   gelu => add_10, add_9, convert_element_type_27, convert_element_type_28, mul_19, mul_20, mul_21, mul_22, mul_23, mul_24, tanh
#   mul_19 => mul_25
# Graph fragment:
#   %mm_2 : Tensor "bf16[16, 1024][1024, 1]cpu" = PlaceHolder[target=mm_2]
#   %split_3 : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%mm_2, 512, -1), kwargs = {})
#   %convert_element_type_27 : Tensor "f32[16, 512][512, 1]cpu"[num_users=4] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%getitem_9, torch.float32), kwargs = {})
#   %mul_23 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_27, 0.5), kwargs = {})
#   %mul_19 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_27, %convert_element_type_27), kwargs = {})
#   %mul_20 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_19, %convert_element_type_27), kwargs = {})
#   %mul_21 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_20, 0.044715), kwargs = {})
#   %add_9 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%convert_element_type_27, %mul_21), kwargs = {})
#   %mul_22 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_9, 0.7978845608028654), kwargs = {})
#   %tanh : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.tanh.default](args = (%mul_22,), kwargs = {})
#   %add_10 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%tanh, 1), kwargs = {})
#   %mul_24 : Tensor "f32[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_23, %add_10), kwargs = {})
#   %convert_element_type_28 : Tensor "bf16[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_24, torch.bfloat16), kwargs = {})
#   %mul_25 : Tensor "bf16[16, 512][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_28, %getitem_10), kwargs = {})
#   return %mul_25
triton_poi_fused_gelu_mul_split_8 = async_compile.triton('triton_poi_fused_gelu_mul_split_8', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 8192}, 
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'out_ptr0': '*bf16', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused_gelu_mul_split_8', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 2, 'num_store': 1, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 65536}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused_gelu_mul_split_8(in_ptr0, out_ptr0, xnumel, XBLOCK : tl.constexpr):
    xnumel = 8192
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x0 = (xindex % 512)
    x1 = xindex // 512
    x2 = xindex
    tmp0 = tl.load(in_ptr0 + (x0 + 1024*x1), None).to(tl.float32)
    tmp16 = tl.load(in_ptr0 + (512 + x0 + 1024*x1), None).to(tl.float32)
    tmp1 = tmp0.to(tl.float32)
    tmp2 = tl.full([1], 0.5, tl.float32)
    tmp3 = tmp1 * tmp2
    tmp4 = tmp1 * tmp1
    tmp5 = tmp4 * tmp1
    tmp6 = tl.full([1], 0.044715, tl.float32)
    tmp7 = tmp5 * tmp6
    tmp8 = tmp1 + tmp7
    tmp9 = tl.full([1], 0.7978845608028654, tl.float32)
    tmp10 = tmp8 * tmp9
    tmp11 = libdevice.tanh(tmp10)
    tmp12 = tl.full([1], 1.0, tl.float32)
    tmp13 = tmp11 + tmp12
    tmp14 = tmp3 * tmp13
    tmp15 = tmp14.to(tl.float32)
    tmp17 = tmp15 * tmp16
    tl.store(out_ptr0 + (x2), tmp17, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_17, pow_7, mean_6, add_9, rsqrt_6, wide_18, float_15, wide_19, to_8, out_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_6 => add_6
#   add_9 => add_11
#   float_11 => convert_element_type_20
#   float_15 => convert_element_type_32
#   mean_4 => mean_4
#   mean_6 => mean_6
#   out_1 => add_12
#   pow_5 => pow_5
#   pow_7 => pow_7
#   residual => add_7
#   rsqrt_4 => rsqrt_4
#   rsqrt_6 => rsqrt_6
#   to_6 => convert_element_type_21
#   to_8 => convert_element_type_33
#   wide_11 => convert_element_type_19
#   wide_12 => mul_15
#   wide_13 => mul_16
#   wide_17 => convert_element_type_31
#   wide_18 => mul_26
#   wide_19 => mul_27
# Graph fragment:
#   %mm_3 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_3]
#   %arg1_1 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=arg1_1]
#   %mm_1 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_1]
#   %buf18 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf18]
#   %arg11_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg11_1]
#   %buf24 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf24]
#   %arg15_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg15_1]
#   %convert_element_type_19 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_1, torch.float32), kwargs = {})
#   %pow_5 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_19, 2), kwargs = {})
#   %mean_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_5, [-1], True), kwargs = {})
#   %add_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_4, 1e-06), kwargs = {})
#   %rsqrt_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_6,), kwargs = {})
#   %mul_15 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_19, %rsqrt_4), kwargs = {})
#   %convert_element_type_20 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg11_1, torch.float32), kwargs = {})
#   %mul_16 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_15, %convert_element_type_20), kwargs = {})
#   %convert_element_type_21 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_16, torch.bfloat16), kwargs = {})
#   %add_7 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.add.Tensor](args = (%arg1_1, %convert_element_type_21), kwargs = {})
#   %convert_element_type_31 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_3, torch.float32), kwargs = {})
#   %pow_7 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_31, 2), kwargs = {})
#   %mean_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_7, [-1], True), kwargs = {})
#   %add_11 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_6, 1e-06), kwargs = {})
#   %rsqrt_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_11,), kwargs = {})
#   %mul_26 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_31, %rsqrt_6), kwargs = {})
#   %convert_element_type_32 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg15_1, torch.float32), kwargs = {})
#   %mul_27 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_26, %convert_element_type_32), kwargs = {})
#   %convert_element_type_33 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_27, torch.bfloat16), kwargs = {})
#   %add_12 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.add.Tensor](args = (%add_7, %convert_element_type_33), kwargs = {})
#   return %buf24,%add_12
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*fp32', 'in_ptr3': '*bf16', 'in_ptr4': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (3,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 7, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 64, 'r0_': 419840}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tmp9 = tl.load(in_ptr2 + (x0), xmask, eviction_policy='evict_last')
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_out_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp16 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp21 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp27 = tl.load(in_ptr4 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp10 = tl.full([1, 1], 2560.0, tl.float32)
        tmp11 = (tmp9 / tmp10)
        tmp12 = tl.full([1, 1], 1e-06, tl.float32)
        tmp13 = tmp11 + tmp12
        tmp14 = libdevice.rsqrt(tmp13)
        tmp15 = tmp8 * tmp14
        tmp17 = tmp16.to(tl.float32)
        tmp18 = tmp15 * tmp17
        tmp19 = tmp18.to(tl.float32)
        tmp20 = tmp6 + tmp19
        tmp22 = tmp21.to(tl.float32)
        tmp23 = (tmp4 / tmp10)
        tmp24 = tmp23 + tmp12
        tmp25 = libdevice.rsqrt(tmp24)
        tmp26 = tmp22 * tmp25
        tmp28 = tmp27.to(tl.float32)
        tmp29 = tmp26 * tmp28
        tmp30 = tmp29.to(tl.float32)
        tmp31 = tmp20 + tmp30
        tl.store(in_out_ptr0 + (r0_1 + 2560*x0), tmp31, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [gelu_1, getitem, gated], Original ATen: [aten.gelu, aten.select, aten.mul]
# Source node to ATen node mapping:
#   gated => mul_34
#   gelu_1 => add_13, add_14, convert_element_type_36, convert_element_type_37, mul_28, mul_29, mul_30, mul_31, mul_32, mul_33, tanh_1
#   getitem => select
# Graph fragment:
#   %mm_4 : Tensor "bf16[16, 256][256, 1]cpu" = PlaceHolder[target=mm_4]
#   %arg0_1 : Tensor "bf16[16, 2, 256][512, 256, 1]cpu" = PlaceHolder[target=arg0_1]
#   %convert_element_type_36 : Tensor "f32[16, 256][256, 1]cpu"[num_users=4] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_4, torch.float32), kwargs = {})
#   %mul_32 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_36, 0.5), kwargs = {})
#   %mul_28 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_36, %convert_element_type_36), kwargs = {})
#   %mul_29 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_28, %convert_element_type_36), kwargs = {})
#   %mul_30 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_29, 0.044715), kwargs = {})
#   %add_13 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%convert_element_type_36, %mul_30), kwargs = {})
#   %mul_31 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_13, 0.7978845608028654), kwargs = {})
#   %tanh_1 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.tanh.default](args = (%mul_31,), kwargs = {})
#   %add_14 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%tanh_1, 1), kwargs = {})
#   %mul_33 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_32, %add_14), kwargs = {})
#   %convert_element_type_37 : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_33, torch.bfloat16), kwargs = {})
#   %select : Tensor "bf16[16, 256][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.select.int](args = (%arg0_1, 1, 0), kwargs = {})
#   %mul_34 : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_37, %select), kwargs = {})
#   return %mul_34
triton_poi_fused_gelu_mul_select_10 = async_compile.triton('triton_poi_fused_gelu_mul_select_10', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 4096}, 
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused_gelu_mul_select_10', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 2, 'num_store': 1, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 32768}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused_gelu_mul_select_10(in_out_ptr0, in_ptr0, xnumel, XBLOCK : tl.constexpr):
    xnumel = 4096
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x2 = xindex
    x0 = (xindex % 256)
    x1 = xindex // 256
    tmp0 = tl.load(in_out_ptr0 + (x2), None).to(tl.float32)
    tmp16 = tl.load(in_ptr0 + (x0 + 512*x1), None).to(tl.float32)
    tmp1 = tmp0.to(tl.float32)
    tmp2 = tl.full([1], 0.5, tl.float32)
    tmp3 = tmp1 * tmp2
    tmp4 = tmp1 * tmp1
    tmp5 = tmp4 * tmp1
    tmp6 = tl.full([1], 0.044715, tl.float32)
    tmp7 = tmp5 * tmp6
    tmp8 = tmp1 + tmp7
    tmp9 = tl.full([1], 0.7978845608028654, tl.float32)
    tmp10 = tmp8 * tmp9
    tmp11 = libdevice.tanh(tmp10)
    tmp12 = tl.full([1], 1.0, tl.float32)
    tmp13 = tmp11 + tmp12
    tmp14 = tmp3 * tmp13
    tmp15 = tmp14.to(tl.float32)
    tmp17 = tmp15 * tmp16
    tl.store(in_out_ptr0 + (x2), tmp17, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_20, pow_8, mean_7, add_11, rsqrt_7, wide_21, float_17, wide_22, to_9, out_2, x, wide_23, pow_9, mean_8, add_13, rsqrt_8, wide_24, float_19, wide_25, to_10], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_11 => add_15
#   add_13 => add_17
#   float_17 => convert_element_type_41
#   float_19 => convert_element_type_44
#   mean_7 => mean_7
#   mean_8 => mean_8
#   out_2 => add_16
#   pow_8 => pow_8
#   pow_9 => pow_9
#   rsqrt_7 => rsqrt_7
#   rsqrt_8 => rsqrt_8
#   to_10 => convert_element_type_45
#   to_9 => convert_element_type_42
#   wide_20 => convert_element_type_40
#   wide_21 => mul_35
#   wide_22 => mul_36
#   wide_23 => convert_element_type_43
#   wide_24 => mul_38
#   wide_25 => mul_39
#   x => mul_37
# Graph fragment:
#   %mm_5 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_5]
#   %add_12 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=add_12]
#   %buf29 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf29]
#   %arg18_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg18_1]
#   %arg19_1 : Tensor "bf16[1][1]cpu" = PlaceHolder[target=arg19_1]
#   %mul_37 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mul_37]
#   %buf31 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf31]
#   %arg20_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg20_1]
#   %convert_element_type_40 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_5, torch.float32), kwargs = {})
#   %pow_8 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_40, 2), kwargs = {})
#   %mean_7 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_8, [-1], True), kwargs = {})
#   %add_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_7, 1e-06), kwargs = {})
#   %rsqrt_7 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_15,), kwargs = {})
#   %mul_35 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_40, %rsqrt_7), kwargs = {})
#   %convert_element_type_41 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg18_1, torch.float32), kwargs = {})
#   %mul_36 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_35, %convert_element_type_41), kwargs = {})
#   %convert_element_type_42 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_36, torch.bfloat16), kwargs = {})
#   %add_16 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%add_12, %convert_element_type_42), kwargs = {})
#   %mul_37 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_16, %arg19_1), kwargs = {})
#   %convert_element_type_43 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_37, torch.float32), kwargs = {})
#   %pow_9 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_43, 2), kwargs = {})
#   %mean_8 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_9, [-1], True), kwargs = {})
#   %add_17 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_8, 1e-06), kwargs = {})
#   %rsqrt_8 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_17,), kwargs = {})
#   %mul_38 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_43, %rsqrt_8), kwargs = {})
#   %convert_element_type_44 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg20_1, torch.float32), kwargs = {})
#   %mul_39 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_38, %convert_element_type_44), kwargs = {})
#   %convert_element_type_45 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_39, torch.bfloat16), kwargs = {})
#   return %buf29,%mul_37,%buf31,%convert_element_type_45
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'out_ptr2': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 7, 'num_store': 2, 'num_reduction': 2, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 501760}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, in_ptr3, out_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tmp20 = tl.load(in_ptr2 + (0)).to(tl.float32)
    tmp21 = tl.broadcast_to(tmp20, [1, 1])
    _tmp26 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_out_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp15 = tl.load(in_ptr1 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp9 = tl.full([1, 1], 2560.0, tl.float32)
        tmp10 = (tmp4 / tmp9)
        tmp11 = tl.full([1, 1], 1e-06, tl.float32)
        tmp12 = tmp10 + tmp11
        tmp13 = libdevice.rsqrt(tmp12)
        tmp14 = tmp8 * tmp13
        tmp16 = tmp15.to(tl.float32)
        tmp17 = tmp14 * tmp16
        tmp18 = tmp17.to(tl.float32)
        tmp19 = tmp6 + tmp18
        tmp22 = tmp19 * tmp21
        tmp23 = tmp22.to(tl.float32)
        tmp24 = tmp23 * tmp23
        tmp25 = tl.broadcast_to(tmp24, [XBLOCK, R0_BLOCK])
        tmp27 = _tmp26 + tmp25
        _tmp26 = tl.where(r0_mask & xmask, tmp27, _tmp26)
        tl.store(in_out_ptr0 + (r0_1 + 2560*x0), tmp22, r0_mask & xmask)
    tmp26 = tl.sum(_tmp26, 1)[:, None]
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp28 = tl.load(in_out_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp36 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp29 = tmp28.to(tl.float32)
        tmp30 = tl.full([1, 1], 2560.0, tl.float32)
        tmp31 = (tmp26 / tmp30)
        tmp32 = tl.full([1, 1], 1e-06, tl.float32)
        tmp33 = tmp31 + tmp32
        tmp34 = libdevice.rsqrt(tmp33)
        tmp35 = tmp29 * tmp34
        tmp37 = tmp36.to(tl.float32)
        tmp38 = tmp35 * tmp37
        tmp39 = tmp38.to(tl.float32)
        tl.store(out_ptr2 + (r0_1 + 2560*x0), tmp39, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_34, pow_13, mean_12, add_19, rsqrt_12, wide_35, float_28, wide_36, to_16, residual_1, wide_37, pow_14, mean_13, add_21, rsqrt_13, wide_38, float_30, wide_39, to_17], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_19 => add_23
#   add_21 => add_25
#   float_28 => convert_element_type_63
#   float_30 => convert_element_type_66
#   mean_12 => mean_12
#   mean_13 => mean_13
#   pow_13 => pow_13
#   pow_14 => pow_14
#   residual_1 => add_24
#   rsqrt_12 => rsqrt_12
#   rsqrt_13 => rsqrt_13
#   to_16 => convert_element_type_64
#   to_17 => convert_element_type_67
#   wide_34 => convert_element_type_62
#   wide_35 => mul_53
#   wide_36 => mul_54
#   wide_37 => convert_element_type_65
#   wide_38 => mul_55
#   wide_39 => mul_56
# Graph fragment:
#   %mm_7 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_7]
#   %mul_37 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mul_37]
#   %buf49 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf49]
#   %arg26_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg26_1]
#   %buf50 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf50]
#   %arg27_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg27_1]
#   %convert_element_type_62 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_7, torch.float32), kwargs = {})
#   %pow_13 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_62, 2), kwargs = {})
#   %mean_12 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_13, [-1], True), kwargs = {})
#   %add_23 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_12, 1e-06), kwargs = {})
#   %rsqrt_12 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_23,), kwargs = {})
#   %mul_53 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_62, %rsqrt_12), kwargs = {})
#   %convert_element_type_63 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg26_1, torch.float32), kwargs = {})
#   %mul_54 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_53, %convert_element_type_63), kwargs = {})
#   %convert_element_type_64 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_54, torch.bfloat16), kwargs = {})
#   %add_24 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_37, %convert_element_type_64), kwargs = {})
#   %convert_element_type_65 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_24, torch.float32), kwargs = {})
#   %pow_14 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_65, 2), kwargs = {})
#   %mean_13 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_14, [-1], True), kwargs = {})
#   %add_25 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_13, 1e-06), kwargs = {})
#   %rsqrt_13 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_25,), kwargs = {})
#   %mul_55 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_65, %rsqrt_13), kwargs = {})
#   %convert_element_type_66 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg27_1, torch.float32), kwargs = {})
#   %mul_56 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_55, %convert_element_type_66), kwargs = {})
#   %convert_element_type_67 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_56, torch.bfloat16), kwargs = {})
#   return %buf49,%buf50,%convert_element_type_67
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_12 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_12', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'out_ptr0': '*fp32', 'out_ptr2': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (4,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_12', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 8, 'num_store': 2, 'num_reduction': 2, 'autotune_hints': set(), 'tiling_scores': {'x': 128, 'r0_': 337920}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_12(in_ptr0, in_ptr1, in_ptr2, in_ptr3, out_ptr0, out_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tl.store(out_ptr0 + (x0), tmp4, xmask)
    _tmp23 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp15 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp9 = tl.full([1, 1], 2560.0, tl.float32)
        tmp10 = (tmp4 / tmp9)
        tmp11 = tl.full([1, 1], 1e-06, tl.float32)
        tmp12 = tmp10 + tmp11
        tmp13 = libdevice.rsqrt(tmp12)
        tmp14 = tmp8 * tmp13
        tmp16 = tmp15.to(tl.float32)
        tmp17 = tmp14 * tmp16
        tmp18 = tmp17.to(tl.float32)
        tmp19 = tmp6 + tmp18
        tmp20 = tmp19.to(tl.float32)
        tmp21 = tmp20 * tmp20
        tmp22 = tl.broadcast_to(tmp21, [XBLOCK, R0_BLOCK])
        tmp24 = _tmp23 + tmp22
        _tmp23 = tl.where(r0_mask & xmask, tmp24, _tmp23)
    tmp23 = tl.sum(_tmp23, 1)[:, None]
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp25 = tl.load(in_ptr1 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp26 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp34 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp44 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp27 = tmp26.to(tl.float32)
        tmp28 = tl.full([1, 1], 2560.0, tl.float32)
        tmp29 = (tmp4 / tmp28)
        tmp30 = tl.full([1, 1], 1e-06, tl.float32)
        tmp31 = tmp29 + tmp30
        tmp32 = libdevice.rsqrt(tmp31)
        tmp33 = tmp27 * tmp32
        tmp35 = tmp34.to(tl.float32)
        tmp36 = tmp33 * tmp35
        tmp37 = tmp36.to(tl.float32)
        tmp38 = tmp25 + tmp37
        tmp39 = tmp38.to(tl.float32)
        tmp40 = (tmp23 / tmp28)
        tmp41 = tmp40 + tmp30
        tmp42 = libdevice.rsqrt(tmp41)
        tmp43 = tmp39 * tmp42
        tmp45 = tmp44.to(tl.float32)
        tmp46 = tmp43 * tmp45
        tmp47 = tmp46.to(tl.float32)
        tl.store(out_ptr2 + (r0_1 + 2560*x0), tmp47, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_34, pow_13, mean_12, add_19, rsqrt_12, wide_35, float_28, wide_36, to_16, residual_1, wide_40, pow_15, mean_14, add_22, rsqrt_14, wide_41, float_32, wide_42, to_18, out_4], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_19 => add_23
#   add_22 => add_28
#   float_28 => convert_element_type_63
#   float_32 => convert_element_type_75
#   mean_12 => mean_12
#   mean_14 => mean_14
#   out_4 => add_29
#   pow_13 => pow_13
#   pow_15 => pow_15
#   residual_1 => add_24
#   rsqrt_12 => rsqrt_12
#   rsqrt_14 => rsqrt_14
#   to_16 => convert_element_type_64
#   to_18 => convert_element_type_76
#   wide_34 => convert_element_type_62
#   wide_35 => mul_53
#   wide_36 => mul_54
#   wide_40 => convert_element_type_74
#   wide_41 => mul_64
#   wide_42 => mul_65
# Graph fragment:
#   %mm_9 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_9]
#   %mul_37 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mul_37]
#   %mm_7 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_7]
#   %buf49 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf49]
#   %arg26_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg26_1]
#   %buf55 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf55]
#   %arg30_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg30_1]
#   %convert_element_type_62 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_7, torch.float32), kwargs = {})
#   %pow_13 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_62, 2), kwargs = {})
#   %mean_12 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_13, [-1], True), kwargs = {})
#   %add_23 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_12, 1e-06), kwargs = {})
#   %rsqrt_12 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_23,), kwargs = {})
#   %mul_53 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_62, %rsqrt_12), kwargs = {})
#   %convert_element_type_63 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg26_1, torch.float32), kwargs = {})
#   %mul_54 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_53, %convert_element_type_63), kwargs = {})
#   %convert_element_type_64 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_54, torch.bfloat16), kwargs = {})
#   %add_24 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_37, %convert_element_type_64), kwargs = {})
#   %convert_element_type_74 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_9, torch.float32), kwargs = {})
#   %pow_15 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_74, 2), kwargs = {})
#   %mean_14 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_15, [-1], True), kwargs = {})
#   %add_28 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_14, 1e-06), kwargs = {})
#   %rsqrt_14 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_28,), kwargs = {})
#   %mul_64 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_74, %rsqrt_14), kwargs = {})
#   %convert_element_type_75 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg30_1, torch.float32), kwargs = {})
#   %mul_65 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_64, %convert_element_type_75), kwargs = {})
#   %convert_element_type_76 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_65, torch.bfloat16), kwargs = {})
#   %add_29 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.add.Tensor](args = (%add_24, %convert_element_type_76), kwargs = {})
#   return %buf55,%add_29
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_13 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_13', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*fp32', 'in_ptr3': '*bf16', 'in_ptr4': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (3,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_13', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 7, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 64, 'r0_': 419840}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_13(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tmp9 = tl.load(in_ptr2 + (x0), xmask, eviction_policy='evict_last')
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_out_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr1 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp16 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp21 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp27 = tl.load(in_ptr4 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp10 = tl.full([1, 1], 2560.0, tl.float32)
        tmp11 = (tmp9 / tmp10)
        tmp12 = tl.full([1, 1], 1e-06, tl.float32)
        tmp13 = tmp11 + tmp12
        tmp14 = libdevice.rsqrt(tmp13)
        tmp15 = tmp8 * tmp14
        tmp17 = tmp16.to(tl.float32)
        tmp18 = tmp15 * tmp17
        tmp19 = tmp18.to(tl.float32)
        tmp20 = tmp6 + tmp19
        tmp22 = tmp21.to(tl.float32)
        tmp23 = (tmp4 / tmp10)
        tmp24 = tmp23 + tmp12
        tmp25 = libdevice.rsqrt(tmp24)
        tmp26 = tmp22 * tmp25
        tmp28 = tmp27.to(tl.float32)
        tmp29 = tmp26 * tmp28
        tmp30 = tmp29.to(tl.float32)
        tmp31 = tmp20 + tmp30
        tl.store(in_out_ptr0 + (r0_1 + 2560*x0), tmp31, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [gelu_3, getitem_13, gated_1], Original ATen: [aten.gelu, aten.select, aten.mul]
# Source node to ATen node mapping:
#   gated_1 => mul_72
#   gelu_3 => add_30, add_31, convert_element_type_79, convert_element_type_80, mul_66, mul_67, mul_68, mul_69, mul_70, mul_71, tanh_3
#   getitem_13 => select_1
# Graph fragment:
#   %mm_10 : Tensor "bf16[16, 256][256, 1]cpu" = PlaceHolder[target=mm_10]
#   %arg0_1 : Tensor "bf16[16, 2, 256][512, 256, 1]cpu" = PlaceHolder[target=arg0_1]
#   %convert_element_type_79 : Tensor "f32[16, 256][256, 1]cpu"[num_users=4] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_10, torch.float32), kwargs = {})
#   %mul_70 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_79, 0.5), kwargs = {})
#   %mul_66 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_79, %convert_element_type_79), kwargs = {})
#   %mul_67 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_66, %convert_element_type_79), kwargs = {})
#   %mul_68 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_67, 0.044715), kwargs = {})
#   %add_30 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%convert_element_type_79, %mul_68), kwargs = {})
#   %mul_69 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_30, 0.7978845608028654), kwargs = {})
#   %tanh_3 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.tanh.default](args = (%mul_69,), kwargs = {})
#   %add_31 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%tanh_3, 1), kwargs = {})
#   %mul_71 : Tensor "f32[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_70, %add_31), kwargs = {})
#   %convert_element_type_80 : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_71, torch.bfloat16), kwargs = {})
#   %select_1 : Tensor "bf16[16, 256][512, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.select.int](args = (%arg0_1, 1, 1), kwargs = {})
#   %mul_72 : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_80, %select_1), kwargs = {})
#   return %mul_72
triton_poi_fused_gelu_mul_select_14 = async_compile.triton('triton_poi_fused_gelu_mul_select_14', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 4096}, 
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused_gelu_mul_select_14', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 2, 'num_store': 1, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 32768}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused_gelu_mul_select_14(in_out_ptr0, in_ptr0, xnumel, XBLOCK : tl.constexpr):
    xnumel = 4096
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x2 = xindex
    x0 = (xindex % 256)
    x1 = xindex // 256
    tmp0 = tl.load(in_out_ptr0 + (x2), None).to(tl.float32)
    tmp16 = tl.load(in_ptr0 + (256 + x0 + 512*x1), None).to(tl.float32)
    tmp1 = tmp0.to(tl.float32)
    tmp2 = tl.full([1], 0.5, tl.float32)
    tmp3 = tmp1 * tmp2
    tmp4 = tmp1 * tmp1
    tmp5 = tmp4 * tmp1
    tmp6 = tl.full([1], 0.044715, tl.float32)
    tmp7 = tmp5 * tmp6
    tmp8 = tmp1 + tmp7
    tmp9 = tl.full([1], 0.7978845608028654, tl.float32)
    tmp10 = tmp8 * tmp9
    tmp11 = libdevice.tanh(tmp10)
    tmp12 = tl.full([1], 1.0, tl.float32)
    tmp13 = tmp11 + tmp12
    tmp14 = tmp3 * tmp13
    tmp15 = tmp14.to(tl.float32)
    tmp17 = tmp15 * tmp16
    tl.store(in_out_ptr0 + (x2), tmp17, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_43, pow_16, mean_15, add_24, rsqrt_15, wide_44, float_34, wide_45, to_19, out_5, x_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_24 => add_32
#   float_34 => convert_element_type_84
#   mean_15 => mean_15
#   out_5 => add_33
#   pow_16 => pow_16
#   rsqrt_15 => rsqrt_15
#   to_19 => convert_element_type_85
#   wide_43 => convert_element_type_83
#   wide_44 => mul_73
#   wide_45 => mul_74
#   x_1 => mul_75
# Graph fragment:
#   %mm_11 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=mm_11]
#   %add_29 : Tensor "bf16[16, 2560][2560, 1]cpu" = PlaceHolder[target=add_29]
#   %buf60 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf60]
#   %arg33_1 : Tensor "bf16[2560][1]cpu" = PlaceHolder[target=arg33_1]
#   %arg34_1 : Tensor "bf16[1][1]cpu" = PlaceHolder[target=arg34_1]
#   %convert_element_type_83 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_11, torch.float32), kwargs = {})
#   %pow_16 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_83, 2), kwargs = {})
#   %mean_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_16, [-1], True), kwargs = {})
#   %add_32 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_15, 1e-06), kwargs = {})
#   %rsqrt_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_32,), kwargs = {})
#   %mul_73 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_83, %rsqrt_15), kwargs = {})
#   %convert_element_type_84 : Tensor "f32[2560][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg33_1, torch.float32), kwargs = {})
#   %mul_74 : Tensor "f32[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_73, %convert_element_type_84), kwargs = {})
#   %convert_element_type_85 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_74, torch.bfloat16), kwargs = {})
#   %add_33 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%add_29, %convert_element_type_85), kwargs = {})
#   %mul_75 : Tensor "bf16[16, 2560][2560, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_33, %arg34_1), kwargs = {})
#   return %buf60,%mul_75
triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_15 = async_compile.triton('triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_15', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 16, 'r0_': 4096},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (4,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_15', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 5, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 332800}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_15(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2560
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = xindex
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tmp20 = tl.load(in_ptr2 + (0)).to(tl.float32)
    tmp21 = tl.broadcast_to(tmp20, [1, 1])
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_out_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr0 + (r0_1 + 2560*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp15 = tl.load(in_ptr1 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp9 = tl.full([1, 1], 2560.0, tl.float32)
        tmp10 = (tmp4 / tmp9)
        tmp11 = tl.full([1, 1], 1e-06, tl.float32)
        tmp12 = tmp10 + tmp11
        tmp13 = libdevice.rsqrt(tmp12)
        tmp14 = tmp8 * tmp13
        tmp16 = tmp15.to(tl.float32)
        tmp17 = tmp14 * tmp16
        tmp18 = tmp17.to(tl.float32)
        tmp19 = tmp6 + tmp18
        tmp22 = tmp19 * tmp21
        tl.store(in_out_ptr0 + (r0_1 + 2560*x0), tmp22, r0_mask & xmask)
''', device_str='cpu')


async_compile.wait(globals())
del async_compile

class Runner:
    def __init__(self, partitions):
        self.partitions = partitions

    def recursively_apply_fns(self, fns):
        new_callables = []
        for fn, c in zip(fns, self.partitions):
            new_callables.append(fn(c))
        self.partitions = new_callables

    def call(self, args):
        arg0_1, arg1_1, arg2_1, arg3_1, arg4_1, arg5_1, arg6_1, arg7_1, arg8_1, arg9_1, arg10_1, arg11_1, arg12_1, arg13_1, arg14_1, arg15_1, arg16_1, arg17_1, arg18_1, arg19_1, arg20_1, arg21_1, arg22_1, arg23_1, arg24_1, arg25_1, arg26_1, arg27_1, arg28_1, arg29_1, arg30_1, arg31_1, arg32_1, arg33_1, arg34_1 = args
        args.clear()
        assert_size_stride(arg1_1, (16, 2560), (2560, 1), 'input')
        assert_size_stride(arg2_1, (2560, ), (1, ), 'input')
        buf1 = empty_strided_cpu((16, 2560), (2560, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide, pow_1, mean, add, rsqrt, wide_1, float_2, wide_2, to], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0.run(arg1_1, arg2_1, buf1, 16, 2560, stream=raw_streamNone)
        del arg2_1
        assert_size_stride(arg3_1, (3072, 2560), (2560, 1), 'input')
        buf2 = empty_strided_cpu((16, 3072), (3072, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide, pow_1, mean, add, rsqrt, wide_1, float_2, wide_2, to, linear], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf1, reinterpret_tensor(arg3_1, (2560, 3072), (1, 2560), 0), out=buf2)
        del arg3_1
        buf4 = empty_strided_cpu((16, 2, 1), (2, 1, 32), torch.float32)
        # Topologically Sorted Source Nodes: [split, k, wide_6, pow_3, mean_2], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_per_fused__to_copy_mean_pow_split_with_sizes_view_1.run(buf2, buf4, 32, 256, stream=raw_streamNone)
        buf3 = empty_strided_cpu((16, 8, 1), (8, 1, 128), torch.float32)
        # Topologically Sorted Source Nodes: [split, q, wide_3, pow_2, mean_1], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2.run(buf2, buf3, 128, 256, stream=raw_streamNone)
        assert_size_stride(arg7_1, (256, ), (1, ), 'input')
        assert_size_stride(arg5_1, (16, ), (1, ), 'input')
        assert_size_stride(arg4_1, (128, 256), (256, 1), 'input')
        buf10 = empty_strided_cpu((16, 2, 256), (512, 256, 1), torch.float32)
        buf8 = reinterpret_tensor(buf10, (16, 2, 128), (512, 256, 1), 0)  # alias
        buf9 = reinterpret_tensor(buf10, (16, 2, 128), (512, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split, getitem_4, unsqueeze, chunk, k, wide_6, pow_3, mean_2, add_3, rsqrt_2, wide_7, float_7, wide_8, to_3, float_8, chunk_2, mul_10, mul_11, sub_1, mul_12, mul_13, add_4], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3.run(buf2, buf4, arg7_1, arg5_1, arg4_1, buf8, buf9, 4096, stream=raw_streamNone)
        del arg7_1
        del buf4
        assert_size_stride(arg8_1, (64, 2, 256), (512, 256, 1), 'input')
        assert_size_stride(arg9_1, (64, 2, 256), (512, 256, 1), 'input')
        # Topologically Sorted Source Nodes: [split, k_1, index_copy_, v, wide_9, pow_4, mean_3, add_5, rsqrt_3, wide_10, to_5, index_copy__1], Original ATen: [aten.split_with_sizes, aten._to_copy, aten.index_copy, aten.view, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_per_fused__to_copy_add_index_copy_mean_mul_pow_rsqrt_split_with_sizes_view_4.run(arg5_1, buf10, buf2, arg8_1, arg9_1, 32, 256, stream=raw_streamNone)
        del buf10
        del buf8
        del buf9
        assert_size_stride(arg6_1, (256, ), (1, ), 'input')
        buf7 = empty_strided_cpu((16, 8, 256), (2048, 256, 1), torch.float32)
        buf5 = reinterpret_tensor(buf7, (16, 8, 128), (2048, 256, 1), 0)  # alias
        buf6 = reinterpret_tensor(buf7, (16, 8, 128), (2048, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split, getitem_4, unsqueeze, chunk, q, wide_3, pow_2, mean_1, add_1, rsqrt_1, wide_4, float_4, wide_5, to_1, float_5, chunk_1, mul_4, mul_5, sub, mul_6, mul_7, add_2], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_5.run(buf2, buf3, arg6_1, arg5_1, arg4_1, buf5, buf6, 16384, stream=raw_streamNone)
        del arg4_1
        del arg6_1
        del buf2
        del buf3
        buf14 = empty_strided_cpu((16, 8, 256), (2048, 256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_attention_6.run(buf7, buf14, 32768, stream=raw_streamNone)
        del buf5
        del buf6
        del buf7
        # Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
        buf15 = torch.ops.triage.attention.default(buf14, arg8_1, arg9_1)
        del buf14
        buf16 = buf15
        assert_size_stride(buf16, (16, 8, 256), (2048, 256, 1), 'torch.ops.triage.attention.default')
        # buffer buf16 (op: torch.ops.triage.attention.default) is assumed to be not aligned
        del buf15
        assert_size_stride(arg10_1, (2560, 2048), (2048, 1), 'input')
        buf17 = buf1; del buf1  # reuse
        # Topologically Sorted Source Nodes: [flatten, linear_1], Original ATen: [aten.view, aten.t, aten.mm]
        extern_kernels.mm(reinterpret_tensor(buf16, (16, 2048), (2048, 1), 0), reinterpret_tensor(arg10_1, (2048, 2560), (1, 2048), 0), out=buf17)
        del arg10_1
        del buf16
        assert_size_stride(arg11_1, (2560, ), (1, ), 'input')
        assert_size_stride(arg12_1, (2560, ), (1, ), 'input')
        buf18 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf20 = empty_strided_cpu((16, 2560), (2560, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_7.run(buf17, arg1_1, arg11_1, arg12_1, buf18, buf20, 16, 2560, stream=raw_streamNone)
        del arg12_1
        assert_size_stride(arg13_1, (1024, 2560), (2560, 1), 'input')
        buf21 = empty_strided_cpu((16, 1024), (1024, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7, linear_2], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf20, reinterpret_tensor(arg13_1, (2560, 1024), (1, 2560), 0), out=buf21)
        del arg13_1
        buf22 = empty_strided_cpu((16, 512), (512, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [chunk_3, gelu, mul_19], Original ATen: [aten.split, aten.gelu, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused_gelu_mul_split_8.run(buf21, buf22, 8192, stream=raw_streamNone)
        del buf21
        assert_size_stride(arg14_1, (2560, 512), (512, 1), 'input')
        buf23 = buf20; del buf20  # reuse
        # Topologically Sorted Source Nodes: [chunk_3, gelu, mul_19, out], Original ATen: [aten.split, aten.gelu, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf22, reinterpret_tensor(arg14_1, (512, 2560), (1, 512), 0), out=buf23)
        del arg14_1
        del buf22
        assert_size_stride(arg15_1, (2560, ), (1, ), 'input')
        buf25 = buf17; del buf17  # reuse
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_17, pow_7, mean_6, add_9, rsqrt_6, wide_18, float_15, wide_19, to_8, out_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9.run(buf25, buf23, arg1_1, buf18, arg11_1, arg15_1, 16, 2560, stream=raw_streamNone)
        del arg11_1
        del arg15_1
        del arg1_1
        del buf18
        assert_size_stride(arg16_1, (256, 2560), (2560, 1), 'input')
        buf26 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [linear_4], Original ATen: [aten.t, aten.mm]
        extern_kernels.mm(buf25, reinterpret_tensor(arg16_1, (2560, 256), (1, 2560), 0), out=buf26)
        del arg16_1
        assert_size_stride(arg0_1, (16, 2, 256), (512, 256, 1), 'input')
        buf27 = buf26; del buf26  # reuse
        # Topologically Sorted Source Nodes: [gelu_1, getitem, gated], Original ATen: [aten.gelu, aten.select, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused_gelu_mul_select_10.run(buf27, arg0_1, 4096, stream=raw_streamNone)
        assert_size_stride(arg17_1, (2560, 256), (256, 1), 'input')
        buf28 = buf23; del buf23  # reuse
        # Topologically Sorted Source Nodes: [gelu_1, getitem, gated, linear_5], Original ATen: [aten.gelu, aten.select, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf27, reinterpret_tensor(arg17_1, (256, 2560), (1, 256), 0), out=buf28)
        del arg17_1
        del buf27
        assert_size_stride(arg18_1, (2560, ), (1, ), 'input')
        assert_size_stride(arg19_1, (1, ), (1, ), 'input')
        assert_size_stride(arg20_1, (2560, ), (1, ), 'input')
        buf30 = buf25; del buf25  # reuse
        buf32 = empty_strided_cpu((16, 2560), (2560, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_20, pow_8, mean_7, add_11, rsqrt_7, wide_21, float_17, wide_22, to_9, out_2, x, wide_23, pow_9, mean_8, add_13, rsqrt_8, wide_24, float_19, wide_25, to_10], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11.run(buf30, buf28, arg18_1, arg19_1, arg20_1, buf32, 16, 2560, stream=raw_streamNone)
        del arg18_1
        del arg19_1
        del arg20_1
        del buf28
        assert_size_stride(arg21_1, (3072, 2560), (2560, 1), 'input')
        buf33 = empty_strided_cpu((16, 3072), (3072, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_23, pow_9, mean_8, add_13, rsqrt_8, wide_24, float_19, wide_25, to_10, linear_6], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf32, reinterpret_tensor(arg21_1, (2560, 3072), (1, 2560), 0), out=buf33)
        del arg21_1
        del buf32
        buf35 = empty_strided_cpu((16, 2, 1), (2, 1, 32), torch.float32)
        # Topologically Sorted Source Nodes: [split_1, k_2, wide_29, pow_11, mean_10], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_per_fused__to_copy_mean_pow_split_with_sizes_view_1.run(buf33, buf35, 32, 256, stream=raw_streamNone)
        buf34 = empty_strided_cpu((16, 8, 1), (8, 1, 128), torch.float32)
        # Topologically Sorted Source Nodes: [split_1, q_2, wide_26, pow_10, mean_9], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2.run(buf33, buf34, 128, 256, stream=raw_streamNone)
        assert_size_stride(arg24_1, (256, ), (1, ), 'input')
        assert_size_stride(arg22_1, (128, 256), (256, 1), 'input')
        buf41 = empty_strided_cpu((16, 2, 256), (512, 256, 1), torch.float32)
        buf39 = reinterpret_tensor(buf41, (16, 2, 128), (512, 256, 1), 0)  # alias
        buf40 = reinterpret_tensor(buf41, (16, 2, 128), (512, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split_1, getitem_17, unsqueeze_1, chunk_4, k_2, wide_29, pow_11, mean_10, add_16, rsqrt_10, wide_30, float_24, wide_31, to_13, float_25, chunk_6, mul_36, mul_37, sub_3, mul_38, mul_39, add_17], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3.run(buf33, buf35, arg24_1, arg5_1, arg22_1, buf39, buf40, 4096, stream=raw_streamNone)
        del arg24_1
        del buf35
        # Topologically Sorted Source Nodes: [split_1, k_3, index_copy__2, v_1, wide_32, pow_12, mean_11, add_18, rsqrt_11, wide_33, to_15, index_copy__3], Original ATen: [aten.split_with_sizes, aten._to_copy, aten.index_copy, aten.view, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_per_fused__to_copy_add_index_copy_mean_mul_pow_rsqrt_split_with_sizes_view_4.run(arg5_1, buf41, buf33, arg8_1, arg9_1, 32, 256, stream=raw_streamNone)
        del buf39
        del buf40
        del buf41
        assert_size_stride(arg23_1, (256, ), (1, ), 'input')
        buf38 = empty_strided_cpu((16, 8, 256), (2048, 256, 1), torch.float32)
        buf36 = reinterpret_tensor(buf38, (16, 8, 128), (2048, 256, 1), 0)  # alias
        buf37 = reinterpret_tensor(buf38, (16, 8, 128), (2048, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split_1, getitem_17, unsqueeze_1, chunk_4, q_2, wide_26, pow_10, mean_9, add_14, rsqrt_9, wide_27, float_21, wide_28, to_11, float_22, chunk_5, mul_30, mul_31, sub_2, mul_32, mul_33, add_15], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_5.run(buf33, buf34, arg23_1, arg5_1, arg22_1, buf36, buf37, 16384, stream=raw_streamNone)
        del arg22_1
        del arg23_1
        del arg5_1
        del buf33
        del buf34
        buf45 = empty_strided_cpu((16, 8, 256), (2048, 256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [q_3, attention_1], Original ATen: [aten._to_copy, triage.attention]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_attention_6.run(buf38, buf45, 32768, stream=raw_streamNone)
        del buf36
        del buf37
        del buf38
        # Topologically Sorted Source Nodes: [q_3, attention_1], Original ATen: [aten._to_copy, triage.attention]
        buf46 = torch.ops.triage.attention.default(buf45, arg8_1, arg9_1)
        del arg8_1
        del arg9_1
        del buf45
        buf47 = buf46
        assert_size_stride(buf47, (16, 8, 256), (2048, 256, 1), 'torch.ops.triage.attention.default')
        # buffer buf47 (op: torch.ops.triage.attention.default) is assumed to be not aligned
        del buf46
        assert_size_stride(arg25_1, (2560, 2048), (2048, 1), 'input')
        buf48 = empty_strided_cpu((16, 2560), (2560, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [flatten_1, linear_7], Original ATen: [aten.view, aten.t, aten.mm]
        extern_kernels.mm(reinterpret_tensor(buf47, (16, 2048), (2048, 1), 0), reinterpret_tensor(arg25_1, (2048, 2560), (1, 2048), 0), out=buf48)
        del arg25_1
        del buf47
        assert_size_stride(arg26_1, (2560, ), (1, ), 'input')
        assert_size_stride(arg27_1, (2560, ), (1, ), 'input')
        buf49 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf51 = empty_strided_cpu((16, 2560), (2560, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_34, pow_13, mean_12, add_19, rsqrt_12, wide_35, float_28, wide_36, to_16, residual_1, wide_37, pow_14, mean_13, add_21, rsqrt_13, wide_38, float_30, wide_39, to_17], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_12.run(buf48, buf30, arg26_1, arg27_1, buf49, buf51, 16, 2560, stream=raw_streamNone)
        del arg27_1
        assert_size_stride(arg28_1, (1024, 2560), (2560, 1), 'input')
        buf52 = empty_strided_cpu((16, 1024), (1024, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_34, pow_13, mean_12, add_19, rsqrt_12, wide_35, float_28, wide_36, to_16, residual_1, wide_37, pow_14, mean_13, add_21, rsqrt_13, wide_38, float_30, wide_39, to_17, linear_8], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf51, reinterpret_tensor(arg28_1, (2560, 1024), (1, 2560), 0), out=buf52)
        del arg28_1
        buf53 = empty_strided_cpu((16, 512), (512, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [chunk_7, gelu_2, mul_45], Original ATen: [aten.split, aten.gelu, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused_gelu_mul_split_8.run(buf52, buf53, 8192, stream=raw_streamNone)
        del buf52
        assert_size_stride(arg29_1, (2560, 512), (512, 1), 'input')
        buf54 = buf51; del buf51  # reuse
        # Topologically Sorted Source Nodes: [chunk_7, gelu_2, mul_45, out_3], Original ATen: [aten.split, aten.gelu, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf53, reinterpret_tensor(arg29_1, (512, 2560), (1, 512), 0), out=buf54)
        del arg29_1
        del buf53
        assert_size_stride(arg30_1, (2560, ), (1, ), 'input')
        buf56 = buf30; del buf30  # reuse
        # Topologically Sorted Source Nodes: [wide_34, pow_13, mean_12, add_19, rsqrt_12, wide_35, float_28, wide_36, to_16, residual_1, wide_40, pow_15, mean_14, add_22, rsqrt_14, wide_41, float_32, wide_42, to_18, out_4], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_13.run(buf56, buf54, buf48, buf49, arg26_1, arg30_1, 16, 2560, stream=raw_streamNone)
        del arg26_1
        del arg30_1
        del buf48
        del buf49
        assert_size_stride(arg31_1, (256, 2560), (2560, 1), 'input')
        buf57 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [linear_10], Original ATen: [aten.t, aten.mm]
        extern_kernels.mm(buf56, reinterpret_tensor(arg31_1, (2560, 256), (1, 2560), 0), out=buf57)
        del arg31_1
        buf58 = buf57; del buf57  # reuse
        # Topologically Sorted Source Nodes: [gelu_3, getitem_13, gated_1], Original ATen: [aten.gelu, aten.select, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused_gelu_mul_select_14.run(buf58, arg0_1, 4096, stream=raw_streamNone)
        del arg0_1
        assert_size_stride(arg32_1, (2560, 256), (256, 1), 'input')
        buf59 = buf54; del buf54  # reuse
        # Topologically Sorted Source Nodes: [gelu_3, getitem_13, gated_1, linear_11], Original ATen: [aten.gelu, aten.select, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf58, reinterpret_tensor(arg32_1, (256, 2560), (1, 256), 0), out=buf59)
        del arg32_1
        del buf58
        assert_size_stride(arg33_1, (2560, ), (1, ), 'input')
        assert_size_stride(arg34_1, (1, ), (1, ), 'input')
        buf61 = buf56; del buf56  # reuse
        # Topologically Sorted Source Nodes: [wide_43, pow_16, mean_15, add_24, rsqrt_15, wide_44, float_34, wide_45, to_19, out_5, x_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_15.run(buf61, buf59, arg33_1, arg34_1, 16, 2560, stream=raw_streamNone)
        del arg33_1
        del arg34_1
        return (buf61, )

runner = Runner(partitions=[])
call = runner.call
recursively_apply_fns = runner.recursively_apply_fns


def get_args():
    from torch._dynamo.testing import rand_strided
    _shared_storage_8 = rand_strided((65536,), (1,), device='cpu', dtype=torch.bfloat16)
    arg0_1 = rand_strided((16, 2, 256), (512, 256, 1), device='cpu', dtype=torch.bfloat16)
    arg1_1 = rand_strided((16, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg2_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg3_1 = rand_strided((3072, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg4_1 = rand_strided((128, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg5_1 = rand_strided((16, ), (1, ), device='cpu', dtype=torch.int64)
    arg6_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg7_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg8_1 = torch.as_strided(_shared_storage_8, (64, 2, 256), (512, 256, 1))
    arg9_1 = torch.as_strided(_shared_storage_8, (64, 2, 256), (512, 256, 1))
    arg10_1 = rand_strided((2560, 2048), (2048, 1), device='cpu', dtype=torch.bfloat16)
    arg11_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg12_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg13_1 = rand_strided((1024, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg14_1 = rand_strided((2560, 512), (512, 1), device='cpu', dtype=torch.bfloat16)
    arg15_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg16_1 = rand_strided((256, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg17_1 = rand_strided((2560, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg18_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg19_1 = rand_strided((1, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg20_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg21_1 = rand_strided((3072, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg22_1 = rand_strided((128, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg23_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg24_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg25_1 = rand_strided((2560, 2048), (2048, 1), device='cpu', dtype=torch.bfloat16)
    arg26_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg27_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg28_1 = rand_strided((1024, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg29_1 = rand_strided((2560, 512), (512, 1), device='cpu', dtype=torch.bfloat16)
    arg30_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg31_1 = rand_strided((256, 2560), (2560, 1), device='cpu', dtype=torch.bfloat16)
    arg32_1 = rand_strided((2560, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg33_1 = rand_strided((2560, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg34_1 = rand_strided((1, ), (1, ), device='cpu', dtype=torch.bfloat16)
    return [arg0_1, arg1_1, arg2_1, arg3_1, arg4_1, arg5_1, arg6_1, arg7_1, arg8_1, arg9_1, arg10_1, arg11_1, arg12_1, arg13_1, arg14_1, arg15_1, arg16_1, arg17_1, arg18_1, arg19_1, arg20_1, arg21_1, arg22_1, arg23_1, arg24_1, arg25_1, arg26_1, arg27_1, arg28_1, arg29_1, arg30_1, arg31_1, arg32_1, arg33_1, arg34_1]


def benchmark_compiled_module(args, times=10, repeat=10):
    from torch._inductor.utils import print_performance
    fn = lambda: call(list(args))
    return print_performance(fn, times=times, repeat=repeat, device='cpu')


if __name__ == "__main__":
    from torch._inductor.wrapper_benchmark import compiled_module_main
    args = get_args()
    compiled_module_main('None', lambda times, repeat: benchmark_compiled_module(args, times=times, repeat=repeat))
