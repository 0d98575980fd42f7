# AOT ID: ['1_inference']
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
#   %arg0_1 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=arg0_1]
#   %buf0 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf0]
#   %arg1_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg1_1]
#   %convert_element_type : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg0_1, torch.float32), kwargs = {})
#   %pow_1 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type, 2), kwargs = {})
#   %mean : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_1, [-1], True), kwargs = {})
#   %add : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean, 1e-06), kwargs = {})
#   %rsqrt : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add,), kwargs = {})
#   %mul : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type, %rsqrt), kwargs = {})
#   %convert_element_type_1 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg1_1, torch.float32), kwargs = {})
#   %mul_1 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul, %convert_element_type_1), kwargs = {})
#   %convert_element_type_2 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_1, torch.bfloat16), kwargs = {})
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
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 3, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 275968}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0(in_ptr0, in_ptr1, out_ptr1, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2816
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
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
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
        tmp6 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp14 = tl.load(in_ptr1 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tmp6.to(tl.float32)
        tmp8 = tl.full([1, 1], 2816.0, tl.float32)
        tmp9 = (tmp4 / tmp8)
        tmp10 = tl.full([1, 1], 1e-06, tl.float32)
        tmp11 = tmp9 + tmp10
        tmp12 = libdevice.rsqrt(tmp11)
        tmp13 = tmp7 * tmp12
        tmp15 = tmp14.to(tl.float32)
        tmp16 = tmp13 * tmp15
        tmp17 = tmp16.to(tl.float32)
        tl.store(out_ptr1 + (r0_1 + 2816*x0), tmp17, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, q, wide_3, pow_2, mean_1], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
# Source node to ATen node mapping:
#   mean_1 => mean_1
#   pow_2 => pow_2
#   q => view
#   split => split_with_sizes
#   wide_3 => convert_element_type_5
# Graph fragment:
#   %mm : Tensor "bf16[16, 8192][8192, 1]cpu" = PlaceHolder[target=mm]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [4096, 2048, 2048], -1), kwargs = {})
#   %view : Tensor "bf16[16, 16, 256][8192, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem, [16, 16, 256]), kwargs = {})
#   %convert_element_type_5 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view, torch.float32), kwargs = {})
#   %pow_2 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_5, 2), kwargs = {})
#   %mean_1 : Tensor "f32[16, 16, 1][16, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_2, [-1], True), kwargs = {})
#   return %buf3
triton_red_fused__to_copy_mean_pow_split_with_sizes_view_1 = async_compile.triton('triton_red_fused__to_copy_mean_pow_split_with_sizes_view_1', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.reduction(
    size_hints={'x': 256, 'r0_': 256},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*bf16', 'out_ptr0': '*fp32', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (3,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_mean_pow_split_with_sizes_view_1', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 1, 'num_store': 1, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 2048, 'r0_': 131072}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_mean_pow_split_with_sizes_view_1(in_ptr0, out_ptr0, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 256
    r0_numel = 256
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_base = tl.arange(0, R0_BLOCK)[None, :]
    rbase = r0_base
    x0 = (xindex % 16)
    x1 = xindex // 16
    _tmp4 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    x3 = xindex
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_2 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_2 + 256*x0 + 8192*x1), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tl.store(out_ptr0 + (x3), tmp4, xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, k, wide_6, pow_3, mean_2], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
# Source node to ATen node mapping:
#   k => view_1
#   mean_2 => mean_2
#   pow_3 => pow_3
#   split => split_with_sizes
#   wide_6 => convert_element_type_10
# Graph fragment:
#   %mm : Tensor "bf16[16, 8192][8192, 1]cpu" = PlaceHolder[target=mm]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [4096, 2048, 2048], -1), kwargs = {})
#   %view_1 : Tensor "bf16[16, 8, 256][8192, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem_1, [16, 8, 256]), kwargs = {})
#   %convert_element_type_10 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view_1, torch.float32), kwargs = {})
#   %pow_3 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_10, 2), kwargs = {})
#   %mean_2 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_3, [-1], True), kwargs = {})
#   return %buf4
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
        tmp0 = tl.load(in_ptr0 + (4096 + r0_2 + 256*x0 + 8192*x1), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    tl.store(out_ptr0 + (x3), tmp4, xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [split, getitem_3, unsqueeze, chunk, k, wide_6, pow_3, mean_2, add_3, rsqrt_2, wide_7, float_7, wide_8, to_3, float_8, chunk_2, mul_10, mul_11, sub_1, mul_12, mul_13, add_4], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
# Source node to ATen node mapping:
#   add_3 => add_3
#   add_4 => add_4
#   chunk => split
#   chunk_2 => split_2
#   float_7 => convert_element_type_11
#   float_8 => convert_element_type_13
#   getitem_3 => index
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
#   %mm : Tensor "bf16[16, 8192][8192, 1]cpu" = PlaceHolder[target=mm]
#   %buf4 : Tensor "f32[16, 8, 1][8, 1, 128]cpu" = PlaceHolder[target=buf4]
#   %arg6_1 : Tensor "bf16[256][1]cpu" = PlaceHolder[target=arg6_1]
#   %arg4_1 : Tensor "i64[16][1]cpu" = PlaceHolder[target=arg4_1]
#   %arg3_1 : Tensor "bf16[128, 256][256, 1]cpu" = PlaceHolder[target=arg3_1]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [4096, 2048, 2048], -1), kwargs = {})
#   %index : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg3_1, [%arg4_1]), kwargs = {})
#   %unsqueeze : Tensor "bf16[16, 1, 256][256, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.unsqueeze.default](args = (%index, 1), kwargs = {})
#   %split : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%unsqueeze, 128, -1), kwargs = {})
#   %view_1 : Tensor "bf16[16, 8, 256][8192, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem_1, [16, 8, 256]), kwargs = {})
#   %convert_element_type_10 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view_1, torch.float32), kwargs = {})
#   %pow_3 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_10, 2), kwargs = {})
#   %mean_2 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_3, [-1], True), kwargs = {})
#   %add_3 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_2, 1e-06), kwargs = {})
#   %rsqrt_2 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_3,), kwargs = {})
#   %mul_8 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_10, %rsqrt_2), kwargs = {})
#   %convert_element_type_11 : Tensor "f32[256][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg6_1, torch.float32), kwargs = {})
#   %mul_9 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_8, %convert_element_type_11), kwargs = {})
#   %convert_element_type_12 : Tensor "bf16[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_9, torch.bfloat16), kwargs = {})
#   %convert_element_type_13 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%convert_element_type_12, torch.float32), kwargs = {})
#   %split_2 : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%convert_element_type_13, 128, -1), kwargs = {})
#   %mul_10 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_7, %getitem_3), kwargs = {})
#   %mul_11 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_8, %getitem_4), kwargs = {})
#   %sub_1 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.sub.Tensor](args = (%mul_10, %mul_11), kwargs = {})
#   %mul_12 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_8, %getitem_3), kwargs = {})
#   %mul_13 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_7, %getitem_4), kwargs = {})
#   %add_4 : Tensor "f32[16, 8, 128][1024, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_12, %mul_13), kwargs = {})
#   return %sub_1,%add_4
triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3 = async_compile.triton('triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3', '''
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
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 6, 'num_store': 2, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 328832}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3(in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, out_ptr0, out_ptr1, xnumel, XBLOCK : tl.constexpr):
    xnumel = 16384
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x0 = (xindex % 128)
    x1 = ((xindex // 128) % 8)
    x2 = xindex // 1024
    x3 = xindex // 128
    tmp0 = tl.load(in_ptr0 + (4096 + x0 + 256*x1 + 8192*x2), None).to(tl.float32)
    tmp2 = tl.load(in_ptr1 + (x3), None, eviction_policy='evict_last')
    tmp9 = tl.load(in_ptr2 + (x0), None, eviction_policy='evict_last').to(tl.float32)
    tmp14 = tl.load(in_ptr3 + (x2), None, eviction_policy='evict_last')
    tmp23 = tl.load(in_ptr0 + (4224 + x0 + 256*x1 + 8192*x2), None).to(tl.float32)
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


# Topologically Sorted Source Nodes: [split, getitem_3, unsqueeze, chunk, q, wide_3, pow_2, mean_1, add_1, rsqrt_1, wide_4, float_4, wide_5, to_1, float_5, chunk_1, mul_4, mul_5, sub, mul_6, mul_7, add_2, k_1, index_copy_, v, wide_9, pow_4, mean_3, add_5, rsqrt_3, wide_10, to_5, index_copy__1], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub, aten.index_copy]
# Source node to ATen node mapping:
#   add_1 => add_1
#   add_2 => add_2
#   add_5 => add_5
#   chunk => split
#   chunk_1 => split_1
#   float_4 => convert_element_type_6
#   float_5 => convert_element_type_8
#   getitem_3 => index
#   index_copy_ => index_put
#   index_copy__1 => index_put_1
#   k_1 => convert_element_type_14
#   mean_1 => mean_1
#   mean_3 => mean_3
#   mul_4 => mul_4
#   mul_5 => mul_5
#   mul_6 => mul_6
#   mul_7 => mul_7
#   pow_2 => pow_2
#   pow_4 => pow_4
#   q => view
#   rsqrt_1 => rsqrt_1
#   rsqrt_3 => rsqrt_3
#   split => split_with_sizes
#   sub => sub
#   to_1 => convert_element_type_7
#   to_5 => convert_element_type_16
#   unsqueeze => unsqueeze
#   v => view_2
#   wide_10 => mul_14
#   wide_3 => convert_element_type_5
#   wide_4 => mul_2
#   wide_5 => mul_3
#   wide_9 => convert_element_type_15
# Graph fragment:
#   %mm : Tensor "bf16[16, 8192][8192, 1]cpu" = PlaceHolder[target=mm]
#   %buf3 : Tensor "f32[16, 16, 1][16, 1, 256]cpu" = PlaceHolder[target=buf3]
#   %arg5_1 : Tensor "bf16[256][1]cpu" = PlaceHolder[target=arg5_1]
#   %arg4_1 : Tensor "i64[16][1]cpu" = PlaceHolder[target=arg4_1]
#   %arg3_1 : Tensor "bf16[128, 256][256, 1]cpu" = PlaceHolder[target=arg3_1]
#   %cat_1 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu" = PlaceHolder[target=cat_1]
#   %copy_ : Tensor "bf16[64, 8, 256][2048, 256, 1]cpu" = PlaceHolder[target=copy_]
#   %buf12 : Tensor "f32[16, 8, 1][8, 1, 128]cpu" = PlaceHolder[target=buf12]
#   %copy__1 : Tensor "bf16[64, 8, 256][2048, 256, 1]cpu" = PlaceHolder[target=copy__1]
#   %split_with_sizes : [num_users=3] = call_function[target=torch.ops.aten.split_with_sizes.default](args = (%mm, [4096, 2048, 2048], -1), kwargs = {})
#   %index : Tensor "bf16[16, 256][256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg3_1, [%arg4_1]), kwargs = {})
#   %unsqueeze : Tensor "bf16[16, 1, 256][256, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.unsqueeze.default](args = (%index, 1), kwargs = {})
#   %split : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%unsqueeze, 128, -1), kwargs = {})
#   %view : Tensor "bf16[16, 16, 256][8192, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem, [16, 16, 256]), kwargs = {})
#   %convert_element_type_5 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view, torch.float32), kwargs = {})
#   %pow_2 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_5, 2), kwargs = {})
#   %mean_1 : Tensor "f32[16, 16, 1][16, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_2, [-1], True), kwargs = {})
#   %add_1 : Tensor "f32[16, 16, 1][16, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_1, 1e-06), kwargs = {})
#   %rsqrt_1 : Tensor "f32[16, 16, 1][16, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_1,), kwargs = {})
#   %mul_2 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_5, %rsqrt_1), kwargs = {})
#   %convert_element_type_6 : Tensor "f32[256][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg5_1, torch.float32), kwargs = {})
#   %mul_3 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_2, %convert_element_type_6), kwargs = {})
#   %convert_element_type_7 : Tensor "bf16[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_3, torch.bfloat16), kwargs = {})
#   %convert_element_type_8 : Tensor "f32[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%convert_element_type_7, torch.float32), kwargs = {})
#   %split_1 : [num_users=2] = call_function[target=torch.ops.aten.split.Tensor](args = (%convert_element_type_8, 128, -1), kwargs = {})
#   %mul_4 : Tensor "f32[16, 16, 128][2048, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_5, %getitem_3), kwargs = {})
#   %mul_5 : Tensor "f32[16, 16, 128][2048, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_6, %getitem_4), kwargs = {})
#   %sub : Tensor "f32[16, 16, 128][2048, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.sub.Tensor](args = (%mul_4, %mul_5), kwargs = {})
#   %mul_6 : Tensor "f32[16, 16, 128][2048, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_6, %getitem_3), kwargs = {})
#   %mul_7 : Tensor "f32[16, 16, 128][2048, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%getitem_5, %getitem_4), kwargs = {})
#   %add_2 : Tensor "f32[16, 16, 128][2048, 128, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_6, %mul_7), kwargs = {})
#   %convert_element_type_14 : Tensor "bf16[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%cat_1, torch.bfloat16), kwargs = {})
#   %index_put : Tensor "bf16[64, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.index_put_.default](args = (%arg7_1, [%arg4_1], %convert_element_type_14), kwargs = {})
#   %view_2 : Tensor "bf16[16, 8, 256][8192, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.reshape.default](args = (%getitem_2, [16, 8, 256]), kwargs = {})
#   %convert_element_type_15 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%view_2, torch.float32), kwargs = {})
#   %pow_4 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_15, 2), kwargs = {})
#   %mean_3 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_4, [-1], True), kwargs = {})
#   %add_5 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_3, 1e-06), kwargs = {})
#   %rsqrt_3 : Tensor "f32[16, 8, 1][8, 1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_5,), kwargs = {})
#   %mul_14 : Tensor "f32[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_15, %rsqrt_3), kwargs = {})
#   %convert_element_type_16 : Tensor "bf16[16, 8, 256][2048, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_14, torch.bfloat16), kwargs = {})
#   %index_put_1 : Tensor "bf16[64, 8, 256][2048, 256, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.index_put_.default](args = (%arg8_1, [%arg4_1], %convert_element_type_16), kwargs = {})
#   return %sub,%add_2,%buf11,%buf12,%buf13
triton_red_fused__to_copy_add_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_4 = async_compile.triton('triton_red_fused__to_copy_add_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_4', '''
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
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*fp32', 'in_ptr2': '*bf16', 'in_ptr3': '*i64', 'in_ptr4': '*bf16', 'in_ptr5': '*fp32', 'out_ptr0': '*fp32', 'out_ptr1': '*fp32', 'out_ptr2': '*bf16', 'out_ptr4': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]], (10,): [['tt.divisibility', 16]], (11,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_4', 'mutated_arg_names': ['out_ptr2', 'out_ptr4'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 9, 'num_store': 4, 'num_reduction': 1, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 197632}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_4(in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, in_ptr5, out_ptr0, out_ptr1, out_ptr2, out_ptr4, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
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
    x5 = xindex
    tmp14 = tl.load(in_ptr3 + (x1), xmask, eviction_policy='evict_last')
    _tmp48 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_2 = (r0_index % 128)
        r0_3 = r0_index // 128
        r0_4 = r0_index
        tmp0 = tl.load(in_ptr0 + (r0_2 + 256*r0_3 + 512*x0 + 8192*x1), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp2 = tl.load(in_ptr1 + (r0_3 + 2*x5), r0_mask & xmask, eviction_policy='evict_last', other=0.0)
        tmp9 = tl.load(in_ptr2 + (r0_2), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp23 = tl.load(in_ptr0 + (128 + r0_2 + 256*r0_3 + 512*x0 + 8192*x1), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp26 = tl.load(in_ptr2 + (128 + r0_2), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp42 = tl.load(in_ptr5 + (r0_4 + 256*x5), r0_mask & xmask, eviction_policy='evict_first', other=0.0)
        tmp44 = tl.load(in_ptr0 + (6144 + r0_4 + 256*x0 + 8192*x1), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp3 = tl.full([1, 1], 256.0, tl.float32)
        tmp4 = (tmp2 / tmp3)
        tmp5 = tl.full([1, 1], 1e-06, tl.float32)
        tmp6 = tmp4 + tmp5
        tmp7 = libdevice.rsqrt(tmp6)
        tmp8 = tmp1 * tmp7
        tmp10 = tmp9.to(tl.float32)
        tmp11 = tmp8 * tmp10
        tmp12 = tmp11.to(tl.float32)
        tmp13 = tmp12.to(tl.float32)
        tmp15 = (tl.full([1, 1], 128, tl.int32)).to(tl.int32)
        tmp16 = tmp14 + tmp15
        tmp17 = tmp14 < 0
        tmp18 = tl.where(tmp17, tmp16, tmp14)
        tl.device_assert(((0 <= tmp18) & (tmp18 < 128)) | ~(xmask), "index out of bounds: 0 <= tmp18 < 128")
        tmp20 = tl.load(in_ptr4 + (r0_2 + 256*tmp18), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp21 = tmp20.to(tl.float32)
        tmp22 = tmp13 * tmp21
        tmp24 = tmp23.to(tl.float32)
        tmp25 = tmp24 * tmp7
        tmp27 = tmp26.to(tl.float32)
        tmp28 = tmp25 * tmp27
        tmp29 = tmp28.to(tl.float32)
        tmp30 = tmp29.to(tl.float32)
        tmp31 = tl.load(in_ptr4 + (128 + r0_2 + 256*tmp18), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp32 = tmp31.to(tl.float32)
        tmp33 = tmp30 * tmp32
        tmp34 = tmp22 - tmp33
        tmp35 = tmp30 * tmp21
        tmp36 = tmp13 * tmp32
        tmp37 = tmp35 + tmp36
        tmp38 = (tl.full([1, 1], 64, tl.int32)).to(tl.int32)
        tmp39 = tmp14 + tmp38
        tmp40 = tl.where(tmp17, tmp39, tmp14)
        tl.device_assert(((0 <= tmp40) & (tmp40 < 64)) | ~(xmask), "index out of bounds: 0 <= tmp40 < 64")
        tmp43 = tmp42.to(tl.float32)
        tmp45 = tmp44.to(tl.float32)
        tmp46 = tmp45 * tmp45
        tmp47 = tl.broadcast_to(tmp46, [XBLOCK, R0_BLOCK])
        tmp49 = _tmp48 + tmp47
        _tmp48 = tl.where(r0_mask & xmask, tmp49, _tmp48)
        tl.store(out_ptr0 + (r0_2 + 256*r0_3 + 512*x5), tmp34, r0_mask & xmask)
        tl.store(out_ptr1 + (r0_2 + 256*r0_3 + 512*x5), tmp37, r0_mask & xmask)
        tl.store(out_ptr2 + (r0_4 + 256*x0 + 2048*tmp40), tmp43, r0_mask & xmask)
    tmp48 = tl.sum(_tmp48, 1)[:, None]
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_4 = r0_index
        tmp55 = tl.load(in_ptr0 + (6144 + r0_4 + 256*x0 + 8192*x1), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp50 = (tl.full([1, 1], 64, tl.int32)).to(tl.int32)
        tmp51 = tmp14 + tmp50
        tmp52 = tmp14 < 0
        tmp53 = tl.where(tmp52, tmp51, tmp14)
        tl.device_assert(((0 <= tmp53) & (tmp53 < 64)) | ~(xmask), "index out of bounds: 0 <= tmp53 < 64")
        tmp56 = tmp55.to(tl.float32)
        tmp57 = tl.full([1, 1], 256.0, tl.float32)
        tmp58 = (tmp48 / tmp57)
        tmp59 = tl.full([1, 1], 1e-06, tl.float32)
        tmp60 = tmp58 + tmp59
        tmp61 = libdevice.rsqrt(tmp60)
        tmp62 = tmp56 * tmp61
        tmp63 = tmp62.to(tl.float32)
        tl.store(out_ptr4 + (r0_4 + 256*x0 + 2048*tmp53), tmp63, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
# Source node to ATen node mapping:
#   attention => attention
#   q_1 => convert_element_type_9
# Graph fragment:
#   %cat : Tensor "f32[16, 16, 256][4096, 256, 1]cpu" = PlaceHolder[target=cat]
#   %convert_element_type_9 : Tensor "bf16[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%cat, torch.bfloat16), kwargs = {})
#   %attention : Tensor "bf16[16, 16, 256][4096, 256, 1]cpu"[num_users=1] = call_function[target=torch.ops.triage.attention.default](args = (%convert_element_type_9, %index_put, %index_put_1), kwargs = {})
#   return %buf14
triton_poi_fused__to_copy_attention_5 = async_compile.triton('triton_poi_fused__to_copy_attention_5', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.pointwise(
    size_hints={'x': 65536}, 
    filename=__file__,
    triton_meta={'signature': {'in_ptr0': '*fp32', 'out_ptr0': '*bf16', 'xnumel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused__to_copy_attention_5', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 1, 'num_store': 1, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 524288}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused__to_copy_attention_5(in_ptr0, out_ptr0, xnumel, XBLOCK : tl.constexpr):
    xnumel = 65536
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:]
    xmask = tl.full([XBLOCK], True, tl.int1)[:]
    x0 = xindex
    tmp0 = tl.load(in_ptr0 + (x0), None)
    tmp1 = tmp0.to(tl.float32)
    tl.store(out_ptr0 + (x0), tmp1, None)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7, wide_17, pow_7, mean_6, add_9, rsqrt_6, wide_18, to_8, mul_21, scaled, wide_19, pow_8, mean_7, add_10, rsqrt_7, wide_20, float_16, wide_21, x, softmax, getitem_14, weights, moe_forward], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
# Source node to ATen node mapping:
#   add_10 => add_12
#   add_6 => add_6
#   add_8 => add_8
#   add_9 => add_11
#   float_11 => convert_element_type_20
#   float_13 => convert_element_type_23
#   float_16 => convert_element_type_37
#   getitem_14 => index_1
#   mean_4 => mean_4
#   mean_5 => mean_5
#   mean_6 => mean_6
#   mean_7 => mean_7
#   moe_forward => moe_forward
#   mul_21 => mul_27
#   pow_5 => pow_5
#   pow_6 => pow_6
#   pow_7 => pow_7
#   pow_8 => pow_8
#   residual => add_7
#   rsqrt_4 => rsqrt_4
#   rsqrt_5 => rsqrt_5
#   rsqrt_6 => rsqrt_6
#   rsqrt_7 => rsqrt_7
#   scaled => mul_28
#   softmax => div
#   to_6 => convert_element_type_21
#   to_7 => convert_element_type_24
#   to_8 => convert_element_type_32
#   weights => mul_29
#   wide_11 => convert_element_type_19
#   wide_12 => mul_15
#   wide_13 => mul_16
#   wide_14 => convert_element_type_22
#   wide_15 => mul_17
#   wide_16 => mul_18
#   wide_17 => convert_element_type_31
#   wide_18 => mul_26
#   wide_19 => convert_element_type_36
#   wide_20 => mul_30
#   wide_21 => mul_31
#   x => convert_element_type_38
# Graph fragment:
#   %mm_1 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mm_1]
#   %arg0_1 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=arg0_1]
#   %buf18 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf18]
#   %arg10_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg10_1]
#   %buf19 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf19]
#   %arg11_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg11_1]
#   %buf22 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf22]
#   %arg14_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg14_1]
#   %buf31 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf31]
#   %arg17_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg17_1]
#   %convert_element_type_19 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_1, torch.float32), kwargs = {})
#   %pow_5 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_19, 2), kwargs = {})
#   %mean_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_5, [-1], True), kwargs = {})
#   %add_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_4, 1e-06), kwargs = {})
#   %rsqrt_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_6,), kwargs = {})
#   %mul_15 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_19, %rsqrt_4), kwargs = {})
#   %convert_element_type_20 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg10_1, torch.float32), kwargs = {})
#   %mul_16 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_15, %convert_element_type_20), kwargs = {})
#   %convert_element_type_21 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_16, torch.bfloat16), kwargs = {})
#   %add_7 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=4] = call_function[target=torch.ops.aten.add.Tensor](args = (%arg0_1, %convert_element_type_21), kwargs = {})
#   %convert_element_type_22 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_7, torch.float32), kwargs = {})
#   %pow_6 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_22, 2), kwargs = {})
#   %mean_5 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_6, [-1], True), kwargs = {})
#   %add_8 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_5, 1e-06), kwargs = {})
#   %rsqrt_5 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_8,), kwargs = {})
#   %mul_17 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_22, %rsqrt_5), kwargs = {})
#   %convert_element_type_23 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg11_1, torch.float32), kwargs = {})
#   %mul_18 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_17, %convert_element_type_23), kwargs = {})
#   %convert_element_type_24 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_18, torch.bfloat16), kwargs = {})
#   %convert_element_type_31 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_7, torch.float32), kwargs = {})
#   %pow_7 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_31, 2), kwargs = {})
#   %mean_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_7, [-1], True), kwargs = {})
#   %add_11 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_6, 1e-06), kwargs = {})
#   %rsqrt_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_11,), kwargs = {})
#   %mul_26 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_31, %rsqrt_6), kwargs = {})
#   %convert_element_type_32 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_26, torch.bfloat16), kwargs = {})
#   %mul_27 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_32, %arg14_1), kwargs = {})
#   %mul_28 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_27, 0.018844459036110227), kwargs = {})
#   %convert_element_type_36 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_7, torch.float32), kwargs = {})
#   %pow_8 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_36, 2), kwargs = {})
#   %mean_7 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_8, [-1], True), kwargs = {})
#   %add_12 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_7, 1e-06), kwargs = {})
#   %rsqrt_7 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_12,), kwargs = {})
#   %mul_30 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_36, %rsqrt_7), kwargs = {})
#   %convert_element_type_37 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg17_1, torch.float32), kwargs = {})
#   %mul_31 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_30, %convert_element_type_37), kwargs = {})
#   %convert_element_type_38 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_31, torch.bfloat16), kwargs = {})
#   %div : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.div.Tensor](args = (%exp, %sum_1), kwargs = {})
#   %index_1 : Tensor "bf16[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg16_1, [%getitem_12]), kwargs = {})
#   %mul_29 : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%div, %index_1), kwargs = {})
#   %moe_forward : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.triage.moe_forward.default](args = (%convert_element_type_38, %mul_29, %getitem_12), kwargs = {})
#   return %buf18,%buf19,%buf22,%buf31,%convert_element_type_24,%mul_28,%buf35
triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_6 = async_compile.triton('triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_6', '''
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
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'in_ptr4': '*bf16', 'in_ptr5': '*bf16', 'out_ptr0': '*fp32', 'out_ptr4': '*bf16', 'out_ptr5': '*bf16', 'out_ptr6': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]], (8,): [['tt.divisibility', 16]], (9,): [['tt.divisibility', 16]], (10,): [['tt.divisibility', 16]], (11,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_6', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 10, 'num_store': 4, 'num_reduction': 4, 'autotune_hints': set(), 'tiling_scores': {'x': 128, 'r0_': 743424}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_6(in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, in_ptr5, out_ptr0, out_ptr4, out_ptr5, out_ptr6, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2816
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
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
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
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp15 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp9 = tl.full([1, 1], 2816.0, tl.float32)
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
        tmp25 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp26 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp34 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp44 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp49 = tl.load(in_ptr4 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp53 = tl.load(in_ptr5 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp27 = tmp26.to(tl.float32)
        tmp28 = tl.full([1, 1], 2816.0, tl.float32)
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
        tmp48 = tmp43.to(tl.float32)
        tmp50 = tmp48 * tmp49
        tmp51 = tl.full([1, 1], 0.018844459036110227, tl.float32)
        tmp52 = tmp50 * tmp51
        tmp54 = tmp53.to(tl.float32)
        tmp55 = tmp43 * tmp54
        tmp56 = tmp55.to(tl.float32)
        tl.store(out_ptr4 + (r0_1 + 2816*x0), tmp47, r0_mask & xmask)
        tl.store(out_ptr5 + (r0_1 + 2816*x0), tmp52, r0_mask & xmask)
        tl.store(out_ptr6 + (r0_1 + 2816*x0), tmp56, r0_mask & xmask)
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
triton_poi_fused_gelu_mul_split_7 = async_compile.triton('triton_poi_fused_gelu_mul_split_7', '''
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
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_poi_fused_gelu_mul_split_7', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 2, 'num_store': 1, 'num_reduction': 0, 'autotune_hints': set(), 'tiling_scores': {'x': 65536}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False},
    min_elem_per_thread=0
)
@triton.jit
def triton_poi_fused_gelu_mul_split_7(in_ptr0, out_ptr0, xnumel, XBLOCK : tl.constexpr):
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


# Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_19, pow_8, mean_7, add_10, rsqrt_7, wide_20, float_16, wide_21, x, softmax, getitem_14, weights, moe_forward], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
# Source node to ATen node mapping:
#   add_10 => add_12
#   add_6 => add_6
#   float_11 => convert_element_type_20
#   float_16 => convert_element_type_37
#   getitem_14 => index_1
#   mean_4 => mean_4
#   mean_7 => mean_7
#   moe_forward => moe_forward
#   pow_5 => pow_5
#   pow_8 => pow_8
#   residual => add_7
#   rsqrt_4 => rsqrt_4
#   rsqrt_7 => rsqrt_7
#   softmax => amax, convert_element_type_35, div, exp, sub_2, sum_1
#   to_6 => convert_element_type_21
#   weights => mul_29
#   wide_11 => convert_element_type_19
#   wide_12 => mul_15
#   wide_13 => mul_16
#   wide_19 => convert_element_type_36
#   wide_20 => mul_30
#   wide_21 => mul_31
#   x => convert_element_type_38
# Graph fragment:
#   %getitem_11 : Tensor "bf16[16, 8][8, 1]cpu" = PlaceHolder[target=getitem_11]
#   %amax : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=amax]
#   %exp : Tensor "f32[16, 8][8, 1]cpu" = PlaceHolder[target=exp]
#   %sum_1 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=sum_1]
#   %getitem_12 : Tensor "i64[16, 8][8, 1]cpu" = PlaceHolder[target=getitem_12]
#   %arg16_1 : Tensor "bf16[128][1]cpu" = PlaceHolder[target=arg16_1]
#   %convert_element_type_19 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_1, torch.float32), kwargs = {})
#   %pow_5 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_19, 2), kwargs = {})
#   %mean_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_5, [-1], True), kwargs = {})
#   %add_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_4, 1e-06), kwargs = {})
#   %rsqrt_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_6,), kwargs = {})
#   %mul_15 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_19, %rsqrt_4), kwargs = {})
#   %convert_element_type_20 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg10_1, torch.float32), kwargs = {})
#   %mul_16 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_15, %convert_element_type_20), kwargs = {})
#   %convert_element_type_21 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_16, torch.bfloat16), kwargs = {})
#   %add_7 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=4] = call_function[target=torch.ops.aten.add.Tensor](args = (%arg0_1, %convert_element_type_21), kwargs = {})
#   %convert_element_type_36 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_7, torch.float32), kwargs = {})
#   %pow_8 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_36, 2), kwargs = {})
#   %mean_7 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_8, [-1], True), kwargs = {})
#   %add_12 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_7, 1e-06), kwargs = {})
#   %rsqrt_7 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_12,), kwargs = {})
#   %mul_30 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_36, %rsqrt_7), kwargs = {})
#   %convert_element_type_37 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg17_1, torch.float32), kwargs = {})
#   %mul_31 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_30, %convert_element_type_37), kwargs = {})
#   %convert_element_type_38 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_31, torch.bfloat16), kwargs = {})
#   %convert_element_type_35 : Tensor "f32[16, 8][8, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%getitem_11, torch.float32), kwargs = {})
#   %amax : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.amax.default](args = (%convert_element_type_35, [-1], True), kwargs = {})
#   %sub_2 : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.sub.Tensor](args = (%convert_element_type_35, %amax), kwargs = {})
#   %exp : Tensor "f32[16, 8][8, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.exp.default](args = (%sub_2,), kwargs = {})
#   %sum_1 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.sum.dim_IntList](args = (%exp, [-1], True), kwargs = {})
#   %div : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.div.Tensor](args = (%exp, %sum_1), kwargs = {})
#   %index_1 : Tensor "bf16[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg16_1, [%getitem_12]), kwargs = {})
#   %mul_29 : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%div, %index_1), kwargs = {})
#   %moe_forward : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.triage.moe_forward.default](args = (%convert_element_type_38, %mul_29, %getitem_12), kwargs = {})
#   return %amax,%exp,%sum_1,%buf36
triton_per_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_8 = async_compile.triton('triton_per_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_8', '''
import triton
import triton.language as tl

from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
from torch._inductor.runtime.hints import AutotuneHint, ReductionHint, TileHint, DeviceProperties
triton_helpers.set_driver_to_cpu()

@triton_heuristics.persistent_reduction(
    size_hints={'x': 16, 'r0_': 8},
    reduction_hint=ReductionHint.INNER,
    filename=__file__,
    triton_meta={'signature': {'in_out_ptr0': '*fp32', 'in_ptr0': '*bf16', 'in_ptr1': '*i64', 'in_ptr2': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (4,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_per_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_8', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': None, 'atomic_add_found': False, 'num_load': 2, 'num_store': 1, 'num_reduction': 2, 'autotune_hints': set(), 'tiling_scores': {'x': 0, 'r0_': 2304}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_per_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_8(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 8
    R0_BLOCK: tl.constexpr = 8
    rnumel = r0_numel
    RBLOCK: tl.constexpr = R0_BLOCK
    xoffset = tl.program_id(0) * XBLOCK
    xindex = xoffset + tl.arange(0, XBLOCK)[:, None]
    xmask = xindex < xnumel
    r0_index = tl.arange(0, R0_BLOCK)[None, :]
    r0_offset = 0
    r0_mask = r0_index < r0_numel
    roffset = r0_offset
    rindex = r0_index
    r0_1 = r0_index
    x0 = xindex
    tmp0 = tl.load(in_ptr0 + (r0_1 + 8*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
    tmp13 = tl.load(in_ptr1 + (r0_1 + 8*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0)
    tmp1 = tmp0.to(tl.float32)
    tmp2 = tl.broadcast_to(tmp1, [XBLOCK, R0_BLOCK])
    tmp4 = tl.where(r0_mask & xmask, tmp2, float("-inf"))
    tmp5 = triton_helpers.max2(tmp4, 1)[:, None].to(tl.float32)
    tmp6 = tmp1 - tmp5
    tmp7 = libdevice.exp(tmp6)
    tmp8 = tl.broadcast_to(tmp7, [XBLOCK, R0_BLOCK])
    tmp10 = tl.where(r0_mask & xmask, tmp8, 0)
    tmp11 = tl.sum(tmp10, 1)[:, None].to(tl.float32)
    tmp12 = (tmp7 / tmp11)
    tmp14 = (tl.full([1, 1], 128, tl.int32)).to(tl.int32)
    tmp15 = tmp13 + tmp14
    tmp16 = tmp13 < 0
    tmp17 = tl.where(tmp16, tmp15, tmp13)
    tl.device_assert(((0 <= tmp17) & (tmp17 < 128)) | ~(r0_mask & xmask), "index out of bounds: 0 <= tmp17 < 128")
    tmp19 = tl.load(in_ptr2 + (tmp17), r0_mask & xmask, eviction_policy='evict_last').to(tl.float32)
    tmp20 = tmp19.to(tl.float32)
    tmp21 = tmp12 * tmp20
    tl.store(in_out_ptr0 + (r0_1 + 8*x0), tmp21, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_25, pow_10, mean_9, add_12, rsqrt_9, wide_26, float_20, wide_27, to_11, wide_22, pow_9, mean_8, add_11, rsqrt_8, wide_23, float_18, wide_24, routed, out_1, wide_28, pow_11, mean_10, add_14, rsqrt_10, wide_29, float_22, wide_30, to_12, out_2, x_1, wide_31, pow_12, mean_11, add_16, rsqrt_11, wide_32, float_24, wide_33, to_13], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_11 => add_13
#   add_12 => add_14
#   add_14 => add_16
#   add_16 => add_18
#   add_6 => add_6
#   float_11 => convert_element_type_20
#   float_18 => convert_element_type_40
#   float_20 => convert_element_type_43
#   float_22 => convert_element_type_46
#   float_24 => convert_element_type_49
#   mean_10 => mean_10
#   mean_11 => mean_11
#   mean_4 => mean_4
#   mean_8 => mean_8
#   mean_9 => mean_9
#   out_1 => add_15
#   out_2 => add_17
#   pow_10 => pow_10
#   pow_11 => pow_11
#   pow_12 => pow_12
#   pow_5 => pow_5
#   pow_9 => pow_9
#   residual => add_7
#   routed => convert_element_type_41
#   rsqrt_10 => rsqrt_10
#   rsqrt_11 => rsqrt_11
#   rsqrt_4 => rsqrt_4
#   rsqrt_8 => rsqrt_8
#   rsqrt_9 => rsqrt_9
#   to_11 => convert_element_type_44
#   to_12 => convert_element_type_47
#   to_13 => convert_element_type_50
#   to_6 => convert_element_type_21
#   wide_11 => convert_element_type_19
#   wide_12 => mul_15
#   wide_13 => mul_16
#   wide_22 => convert_element_type_39
#   wide_23 => mul_32
#   wide_24 => mul_33
#   wide_25 => convert_element_type_42
#   wide_26 => mul_34
#   wide_27 => mul_35
#   wide_28 => convert_element_type_45
#   wide_29 => mul_36
#   wide_30 => mul_37
#   wide_31 => convert_element_type_48
#   wide_32 => mul_39
#   wide_33 => mul_40
#   x_1 => mul_38
# Graph fragment:
#   %mm_3 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mm_3]
#   %moe_forward : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=moe_forward]
#   %buf30 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf30]
#   %arg19_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg19_1]
#   %buf39 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf39]
#   %arg18_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg18_1]
#   %convert_element_type_45 : Tensor "f32[16, 2816][2816, 1]cpu" = PlaceHolder[target=convert_element_type_45]
#   %arg0_1 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=arg0_1]
#   %mm_1 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mm_1]
#   %buf18 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf18]
#   %arg10_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg10_1]
#   %buf41 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf41]
#   %arg20_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg20_1]
#   %arg21_1 : Tensor "bf16[1][1]cpu" = PlaceHolder[target=arg21_1]
#   %mul_38 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mul_38]
#   %buf43 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf43]
#   %arg22_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg22_1]
#   %convert_element_type_19 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_1, torch.float32), kwargs = {})
#   %pow_5 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_19, 2), kwargs = {})
#   %mean_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_5, [-1], True), kwargs = {})
#   %add_6 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_4, 1e-06), kwargs = {})
#   %rsqrt_4 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_6,), kwargs = {})
#   %mul_15 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_19, %rsqrt_4), kwargs = {})
#   %convert_element_type_20 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg10_1, torch.float32), kwargs = {})
#   %mul_16 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_15, %convert_element_type_20), kwargs = {})
#   %convert_element_type_21 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_16, torch.bfloat16), kwargs = {})
#   %add_7 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=4] = call_function[target=torch.ops.aten.add.Tensor](args = (%arg0_1, %convert_element_type_21), kwargs = {})
#   %convert_element_type_42 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_3, torch.float32), kwargs = {})
#   %pow_10 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_42, 2), kwargs = {})
#   %mean_9 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_10, [-1], True), kwargs = {})
#   %add_14 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_9, 1e-06), kwargs = {})
#   %rsqrt_9 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_14,), kwargs = {})
#   %mul_34 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_42, %rsqrt_9), kwargs = {})
#   %convert_element_type_43 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg19_1, torch.float32), kwargs = {})
#   %mul_35 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_34, %convert_element_type_43), kwargs = {})
#   %convert_element_type_44 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_35, torch.bfloat16), kwargs = {})
#   %convert_element_type_39 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%moe_forward, torch.float32), kwargs = {})
#   %pow_9 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_39, 2), kwargs = {})
#   %mean_8 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_9, [-1], True), kwargs = {})
#   %add_13 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_8, 1e-06), kwargs = {})
#   %rsqrt_8 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_13,), kwargs = {})
#   %mul_32 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_39, %rsqrt_8), kwargs = {})
#   %convert_element_type_40 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg18_1, torch.float32), kwargs = {})
#   %mul_33 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_32, %convert_element_type_40), kwargs = {})
#   %convert_element_type_41 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_33, torch.bfloat16), kwargs = {})
#   %add_15 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%convert_element_type_44, %convert_element_type_41), kwargs = {})
#   %convert_element_type_45 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_15, torch.float32), kwargs = {})
#   %pow_11 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_45, 2), kwargs = {})
#   %mean_10 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_11, [-1], True), kwargs = {})
#   %add_16 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_10, 1e-06), kwargs = {})
#   %rsqrt_10 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_16,), kwargs = {})
#   %mul_36 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_45, %rsqrt_10), kwargs = {})
#   %convert_element_type_46 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg20_1, torch.float32), kwargs = {})
#   %mul_37 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_36, %convert_element_type_46), kwargs = {})
#   %convert_element_type_47 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_37, torch.bfloat16), kwargs = {})
#   %add_17 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%add_7, %convert_element_type_47), kwargs = {})
#   %mul_38 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_17, %arg21_1), kwargs = {})
#   %convert_element_type_48 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_38, torch.float32), kwargs = {})
#   %pow_12 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_48, 2), kwargs = {})
#   %mean_11 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_12, [-1], True), kwargs = {})
#   %add_18 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_11, 1e-06), kwargs = {})
#   %rsqrt_11 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_18,), kwargs = {})
#   %mul_39 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_48, %rsqrt_11), kwargs = {})
#   %convert_element_type_49 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg22_1, torch.float32), kwargs = {})
#   %mul_40 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_39, %convert_element_type_49), kwargs = {})
#   %convert_element_type_50 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_40, torch.bfloat16), kwargs = {})
#   return %buf30,%buf39,%convert_element_type_45,%buf41,%mul_38,%buf43,%convert_element_type_50
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
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'in_ptr4': '*bf16', 'in_ptr5': '*fp32', 'in_ptr6': '*bf16', 'in_ptr7': '*bf16', 'in_ptr8': '*bf16', 'in_ptr9': '*bf16', 'out_ptr2': '*fp32', 'out_ptr5': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (11,): [['tt.divisibility', 16]], (12,): [['tt.divisibility', 16]], (13,): [['tt.divisibility', 16]], (14,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 15, 'num_store': 3, 'num_reduction': 4, 'autotune_hints': set(), 'tiling_scores': {'x': 64, 'r0_': 749056}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, in_ptr5, in_ptr6, in_ptr7, in_ptr8, in_ptr9, out_ptr2, out_ptr5, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2816
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
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    _tmp10 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tmp6.to(tl.float32)
        tmp8 = tmp7 * tmp7
        tmp9 = tl.broadcast_to(tmp8, [XBLOCK, R0_BLOCK])
        tmp11 = _tmp10 + tmp9
        _tmp10 = tl.where(r0_mask & xmask, tmp11, _tmp10)
    tmp10 = tl.sum(_tmp10, 1)[:, None]
    _tmp38 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp12 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp20 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp24 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp30 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp13 = tmp12.to(tl.float32)
        tmp14 = tl.full([1, 1], 2816.0, tl.float32)
        tmp15 = (tmp4 / tmp14)
        tmp16 = tl.full([1, 1], 1e-06, tl.float32)
        tmp17 = tmp15 + tmp16
        tmp18 = libdevice.rsqrt(tmp17)
        tmp19 = tmp13 * tmp18
        tmp21 = tmp20.to(tl.float32)
        tmp22 = tmp19 * tmp21
        tmp23 = tmp22.to(tl.float32)
        tmp25 = tmp24.to(tl.float32)
        tmp26 = (tmp10 / tmp14)
        tmp27 = tmp26 + tmp16
        tmp28 = libdevice.rsqrt(tmp27)
        tmp29 = tmp25 * tmp28
        tmp31 = tmp30.to(tl.float32)
        tmp32 = tmp29 * tmp31
        tmp33 = tmp32.to(tl.float32)
        tmp34 = tmp23 + tmp33
        tmp35 = tmp34.to(tl.float32)
        tmp36 = tmp35 * tmp35
        tmp37 = tl.broadcast_to(tmp36, [XBLOCK, R0_BLOCK])
        tmp39 = _tmp38 + tmp37
        _tmp38 = tl.where(r0_mask & xmask, tmp39, _tmp38)
        tl.store(out_ptr2 + (r0_1 + 2816*x0), tmp35, r0_mask & xmask)
    tmp38 = tl.sum(_tmp38, 1)[:, None]
    tmp43 = tl.load(in_ptr5 + (x0), xmask, eviction_policy='evict_last')
    tmp65 = tl.load(in_ptr8 + (0)).to(tl.float32)
    tmp66 = tl.broadcast_to(tmp65, [1, 1])
    _tmp71 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp40 = tl.load(in_ptr4 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp41 = tl.load(in_out_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp50 = tl.load(in_ptr6 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp55 = tl.load(out_ptr2 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0)
        tmp60 = tl.load(in_ptr7 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp42 = tmp41.to(tl.float32)
        tmp44 = tl.full([1, 1], 2816.0, tl.float32)
        tmp45 = (tmp43 / tmp44)
        tmp46 = tl.full([1, 1], 1e-06, tl.float32)
        tmp47 = tmp45 + tmp46
        tmp48 = libdevice.rsqrt(tmp47)
        tmp49 = tmp42 * tmp48
        tmp51 = tmp50.to(tl.float32)
        tmp52 = tmp49 * tmp51
        tmp53 = tmp52.to(tl.float32)
        tmp54 = tmp40 + tmp53
        tmp56 = (tmp38 / tmp44)
        tmp57 = tmp56 + tmp46
        tmp58 = libdevice.rsqrt(tmp57)
        tmp59 = tmp55 * tmp58
        tmp61 = tmp60.to(tl.float32)
        tmp62 = tmp59 * tmp61
        tmp63 = tmp62.to(tl.float32)
        tmp64 = tmp54 + tmp63
        tmp67 = tmp64 * tmp66
        tmp68 = tmp67.to(tl.float32)
        tmp69 = tmp68 * tmp68
        tmp70 = tl.broadcast_to(tmp69, [XBLOCK, R0_BLOCK])
        tmp72 = _tmp71 + tmp70
        _tmp71 = tl.where(r0_mask & xmask, tmp72, _tmp71)
        tl.store(in_out_ptr0 + (r0_1 + 2816*x0), tmp67, r0_mask & xmask)
    tmp71 = tl.sum(_tmp71, 1)[:, None]
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp73 = tl.load(in_out_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp81 = tl.load(in_ptr9 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp74 = tmp73.to(tl.float32)
        tmp75 = tl.full([1, 1], 2816.0, tl.float32)
        tmp76 = (tmp71 / tmp75)
        tmp77 = tl.full([1, 1], 1e-06, tl.float32)
        tmp78 = tmp76 + tmp77
        tmp79 = libdevice.rsqrt(tmp78)
        tmp80 = tmp74 * tmp79
        tmp82 = tmp81.to(tl.float32)
        tmp83 = tmp80 * tmp82
        tmp84 = tmp83.to(tl.float32)
        tl.store(out_ptr5 + (r0_1 + 2816*x0), tmp84, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_45, pow_17, mean_16, add_24, rsqrt_16, wide_46, float_35, wide_47, to_20, wide_48, pow_18, mean_17, add_25, rsqrt_17, wide_49, to_21, mul_54, scaled_1, wide_50, pow_19, mean_18, add_26, rsqrt_18, wide_51, float_38, wide_52, x_2, softmax_1, getitem_29, weights_1, moe_forward_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
# Source node to ATen node mapping:
#   add_22 => add_24
#   add_24 => add_26
#   add_25 => add_29
#   add_26 => add_30
#   float_33 => convert_element_type_68
#   float_35 => convert_element_type_71
#   float_38 => convert_element_type_85
#   getitem_29 => index_3
#   mean_15 => mean_15
#   mean_16 => mean_16
#   mean_17 => mean_17
#   mean_18 => mean_18
#   moe_forward_1 => moe_forward_1
#   mul_54 => mul_66
#   pow_16 => pow_16
#   pow_17 => pow_17
#   pow_18 => pow_18
#   pow_19 => pow_19
#   residual_1 => add_25
#   rsqrt_15 => rsqrt_15
#   rsqrt_16 => rsqrt_16
#   rsqrt_17 => rsqrt_17
#   rsqrt_18 => rsqrt_18
#   scaled_1 => mul_67
#   softmax_1 => div_1
#   to_19 => convert_element_type_69
#   to_20 => convert_element_type_72
#   to_21 => convert_element_type_80
#   weights_1 => mul_68
#   wide_42 => convert_element_type_67
#   wide_43 => mul_54
#   wide_44 => mul_55
#   wide_45 => convert_element_type_70
#   wide_46 => mul_56
#   wide_47 => mul_57
#   wide_48 => convert_element_type_79
#   wide_49 => mul_65
#   wide_50 => convert_element_type_84
#   wide_51 => mul_69
#   wide_52 => mul_70
#   x_2 => convert_element_type_86
# Graph fragment:
#   %mm_6 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mm_6]
#   %mul_38 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mul_38]
#   %buf61 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf61]
#   %arg28_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg28_1]
#   %buf62 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf62]
#   %arg29_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg29_1]
#   %buf65 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf65]
#   %arg32_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg32_1]
#   %buf74 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf74]
#   %arg35_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg35_1]
#   %convert_element_type_67 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_6, torch.float32), kwargs = {})
#   %pow_16 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_67, 2), kwargs = {})
#   %mean_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_16, [-1], True), kwargs = {})
#   %add_24 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_15, 1e-06), kwargs = {})
#   %rsqrt_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_24,), kwargs = {})
#   %mul_54 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_67, %rsqrt_15), kwargs = {})
#   %convert_element_type_68 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg28_1, torch.float32), kwargs = {})
#   %mul_55 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_54, %convert_element_type_68), kwargs = {})
#   %convert_element_type_69 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_55, torch.bfloat16), kwargs = {})
#   %add_25 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=4] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_38, %convert_element_type_69), kwargs = {})
#   %convert_element_type_70 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_25, torch.float32), kwargs = {})
#   %pow_17 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_70, 2), kwargs = {})
#   %mean_16 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_17, [-1], True), kwargs = {})
#   %add_26 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_16, 1e-06), kwargs = {})
#   %rsqrt_16 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_26,), kwargs = {})
#   %mul_56 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_70, %rsqrt_16), kwargs = {})
#   %convert_element_type_71 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg29_1, torch.float32), kwargs = {})
#   %mul_57 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_56, %convert_element_type_71), kwargs = {})
#   %convert_element_type_72 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_57, torch.bfloat16), kwargs = {})
#   %convert_element_type_79 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_25, torch.float32), kwargs = {})
#   %pow_18 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_79, 2), kwargs = {})
#   %mean_17 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_18, [-1], True), kwargs = {})
#   %add_29 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_17, 1e-06), kwargs = {})
#   %rsqrt_17 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_29,), kwargs = {})
#   %mul_65 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_79, %rsqrt_17), kwargs = {})
#   %convert_element_type_80 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_65, torch.bfloat16), kwargs = {})
#   %mul_66 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_80, %arg32_1), kwargs = {})
#   %mul_67 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_66, 0.018844459036110227), kwargs = {})
#   %convert_element_type_84 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_25, torch.float32), kwargs = {})
#   %pow_19 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_84, 2), kwargs = {})
#   %mean_18 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_19, [-1], True), kwargs = {})
#   %add_30 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_18, 1e-06), kwargs = {})
#   %rsqrt_18 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_30,), kwargs = {})
#   %mul_69 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_84, %rsqrt_18), kwargs = {})
#   %convert_element_type_85 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg35_1, torch.float32), kwargs = {})
#   %mul_70 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_69, %convert_element_type_85), kwargs = {})
#   %convert_element_type_86 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_70, torch.bfloat16), kwargs = {})
#   %div_1 : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.div.Tensor](args = (%exp_1, %sum_2), kwargs = {})
#   %index_3 : Tensor "bf16[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.index.Tensor](args = (%arg34_1, [%getitem_25]), kwargs = {})
#   %mul_68 : Tensor "f32[16, 8][8, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%div_1, %index_3), kwargs = {})
#   %moe_forward_1 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.triage.moe_forward.default](args = (%convert_element_type_86, %mul_68, %getitem_25), kwargs = {})
#   return %buf61,%buf62,%buf65,%buf74,%convert_element_type_72,%mul_67,%buf78
triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_10 = async_compile.triton('triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_10', '''
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
    triton_meta={'signature': {'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'in_ptr4': '*bf16', 'in_ptr5': '*bf16', 'out_ptr0': '*fp32', 'out_ptr4': '*bf16', 'out_ptr5': '*bf16', 'out_ptr6': '*bf16', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (7,): [['tt.divisibility', 16]], (8,): [['tt.divisibility', 16]], (9,): [['tt.divisibility', 16]], (10,): [['tt.divisibility', 16]], (11,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_10', 'mutated_arg_names': [], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 10, 'num_store': 4, 'num_reduction': 4, 'autotune_hints': set(), 'tiling_scores': {'x': 128, 'r0_': 743424}, 'add_persistent_rblock': True, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_10(in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, in_ptr5, out_ptr0, out_ptr4, out_ptr5, out_ptr6, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2816
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
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
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
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp15 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp8 = tmp7.to(tl.float32)
        tmp9 = tl.full([1, 1], 2816.0, tl.float32)
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
        tmp25 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp26 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp34 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp44 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp49 = tl.load(in_ptr4 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp53 = tl.load(in_ptr5 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp27 = tmp26.to(tl.float32)
        tmp28 = tl.full([1, 1], 2816.0, tl.float32)
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
        tmp48 = tmp43.to(tl.float32)
        tmp50 = tmp48 * tmp49
        tmp51 = tl.full([1, 1], 0.018844459036110227, tl.float32)
        tmp52 = tmp50 * tmp51
        tmp54 = tmp53.to(tl.float32)
        tmp55 = tmp43 * tmp54
        tmp56 = tmp55.to(tl.float32)
        tl.store(out_ptr4 + (r0_1 + 2816*x0), tmp47, r0_mask & xmask)
        tl.store(out_ptr5 + (r0_1 + 2816*x0), tmp52, r0_mask & xmask)
        tl.store(out_ptr6 + (r0_1 + 2816*x0), tmp56, r0_mask & xmask)
''', device_str='cpu')


# Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_56, pow_21, mean_20, add_28, rsqrt_20, wide_57, float_42, wide_58, to_24, wide_53, pow_20, mean_19, add_27, rsqrt_19, wide_54, float_40, wide_55, routed_1, out_4, wide_59, pow_22, mean_21, add_30, rsqrt_21, wide_60, float_44, wide_61, to_25, out_5, x_3], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
# Source node to ATen node mapping:
#   add_22 => add_24
#   add_27 => add_31
#   add_28 => add_32
#   add_30 => add_34
#   float_33 => convert_element_type_68
#   float_40 => convert_element_type_88
#   float_42 => convert_element_type_91
#   float_44 => convert_element_type_94
#   mean_15 => mean_15
#   mean_19 => mean_19
#   mean_20 => mean_20
#   mean_21 => mean_21
#   out_4 => add_33
#   out_5 => add_35
#   pow_16 => pow_16
#   pow_20 => pow_20
#   pow_21 => pow_21
#   pow_22 => pow_22
#   residual_1 => add_25
#   routed_1 => convert_element_type_89
#   rsqrt_15 => rsqrt_15
#   rsqrt_19 => rsqrt_19
#   rsqrt_20 => rsqrt_20
#   rsqrt_21 => rsqrt_21
#   to_19 => convert_element_type_69
#   to_24 => convert_element_type_92
#   to_25 => convert_element_type_95
#   wide_42 => convert_element_type_67
#   wide_43 => mul_54
#   wide_44 => mul_55
#   wide_53 => convert_element_type_87
#   wide_54 => mul_71
#   wide_55 => mul_72
#   wide_56 => convert_element_type_90
#   wide_57 => mul_73
#   wide_58 => mul_74
#   wide_59 => convert_element_type_93
#   wide_60 => mul_75
#   wide_61 => mul_76
#   x_3 => mul_77
# Graph fragment:
#   %mm_8 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mm_8]
#   %moe_forward_1 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=moe_forward_1]
#   %buf73 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf73]
#   %arg37_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg37_1]
#   %buf82 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf82]
#   %arg36_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg36_1]
#   %convert_element_type_93 : Tensor "f32[16, 2816][2816, 1]cpu" = PlaceHolder[target=convert_element_type_93]
#   %mul_38 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mul_38]
#   %mm_6 : Tensor "bf16[16, 2816][2816, 1]cpu" = PlaceHolder[target=mm_6]
#   %buf61 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf61]
#   %arg28_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg28_1]
#   %buf84 : Tensor "f32[16, 1][1, 16]cpu" = PlaceHolder[target=buf84]
#   %arg38_1 : Tensor "bf16[2816][1]cpu" = PlaceHolder[target=arg38_1]
#   %arg39_1 : Tensor "bf16[1][1]cpu" = PlaceHolder[target=arg39_1]
#   %convert_element_type_67 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_6, torch.float32), kwargs = {})
#   %pow_16 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_67, 2), kwargs = {})
#   %mean_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_16, [-1], True), kwargs = {})
#   %add_24 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_15, 1e-06), kwargs = {})
#   %rsqrt_15 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_24,), kwargs = {})
#   %mul_54 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_67, %rsqrt_15), kwargs = {})
#   %convert_element_type_68 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg28_1, torch.float32), kwargs = {})
#   %mul_55 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_54, %convert_element_type_68), kwargs = {})
#   %convert_element_type_69 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_55, torch.bfloat16), kwargs = {})
#   %add_25 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=4] = call_function[target=torch.ops.aten.add.Tensor](args = (%mul_38, %convert_element_type_69), kwargs = {})
#   %convert_element_type_90 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mm_8, torch.float32), kwargs = {})
#   %pow_21 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_90, 2), kwargs = {})
#   %mean_20 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_21, [-1], True), kwargs = {})
#   %add_32 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_20, 1e-06), kwargs = {})
#   %rsqrt_20 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_32,), kwargs = {})
#   %mul_73 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_90, %rsqrt_20), kwargs = {})
#   %convert_element_type_91 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg37_1, torch.float32), kwargs = {})
#   %mul_74 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_73, %convert_element_type_91), kwargs = {})
#   %convert_element_type_92 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_74, torch.bfloat16), kwargs = {})
#   %convert_element_type_87 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%moe_forward_1, torch.float32), kwargs = {})
#   %pow_20 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_87, 2), kwargs = {})
#   %mean_19 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_20, [-1], True), kwargs = {})
#   %add_31 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_19, 1e-06), kwargs = {})
#   %rsqrt_19 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_31,), kwargs = {})
#   %mul_71 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_87, %rsqrt_19), kwargs = {})
#   %convert_element_type_88 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg36_1, torch.float32), kwargs = {})
#   %mul_72 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_71, %convert_element_type_88), kwargs = {})
#   %convert_element_type_89 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_72, torch.bfloat16), kwargs = {})
#   %add_33 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%convert_element_type_92, %convert_element_type_89), kwargs = {})
#   %convert_element_type_93 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=2] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%add_33, torch.float32), kwargs = {})
#   %pow_22 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.pow.Tensor_Scalar](args = (%convert_element_type_93, 2), kwargs = {})
#   %mean_21 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%pow_22, [-1], True), kwargs = {})
#   %add_34 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%mean_21, 1e-06), kwargs = {})
#   %rsqrt_21 : Tensor "f32[16, 1][1, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.rsqrt.default](args = (%add_34,), kwargs = {})
#   %mul_75 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%convert_element_type_93, %rsqrt_21), kwargs = {})
#   %convert_element_type_94 : Tensor "f32[2816][1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%arg38_1, torch.float32), kwargs = {})
#   %mul_76 : Tensor "f32[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%mul_75, %convert_element_type_94), kwargs = {})
#   %convert_element_type_95 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.prims.convert_element_type.default](args = (%mul_76, torch.bfloat16), kwargs = {})
#   %add_35 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.add.Tensor](args = (%add_25, %convert_element_type_95), kwargs = {})
#   %mul_77 : Tensor "bf16[16, 2816][2816, 1]cpu"[num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%add_35, %arg39_1), kwargs = {})
#   return %buf73,%buf82,%convert_element_type_93,%buf84,%mul_77
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
    triton_meta={'signature': {'in_out_ptr0': '*bf16', 'in_ptr0': '*bf16', 'in_ptr1': '*bf16', 'in_ptr2': '*bf16', 'in_ptr3': '*bf16', 'in_ptr4': '*bf16', 'in_ptr5': '*fp32', 'in_ptr6': '*bf16', 'in_ptr7': '*bf16', 'in_ptr8': '*bf16', 'out_ptr2': '*fp32', 'xnumel': 'i32', 'r0_numel': 'i32', 'XBLOCK': 'constexpr', 'R0_BLOCK': 'constexpr'}, 'device': DeviceProperties(type='cpu', index=None, multi_processor_count=2, cc='', major=None, regs_per_multiprocessor=None, max_threads_per_multi_processor=None, max_threads_per_block=1024, warp_size=None), 'constants': {}, 'native_matmul': False, 'enable_fp_fusion': True, 'launch_pdl': False, 'disable_ftz': False, 'configs': [{(0,): [['tt.divisibility', 16]], (1,): [['tt.divisibility', 16]], (2,): [['tt.divisibility', 16]], (5,): [['tt.divisibility', 16]], (6,): [['tt.divisibility', 16]], (10,): [['tt.divisibility', 16]], (11,): [['tt.divisibility', 16]], (12,): [['tt.divisibility', 16]]}]},
    inductor_meta={'grid_type': 'Grid1D', 'kernel_name': 'triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11', 'mutated_arg_names': ['in_out_ptr0'], 'optimize_mem': True, 'no_x_dim': False, 'atomic_add_found': False, 'num_load': 13, 'num_store': 2, 'num_reduction': 3, 'autotune_hints': set(), 'tiling_scores': {'x': 64, 'r0_': 563200}, 'backend_hash': 'A7974629523B4D795A8C0C90B2297822F17759D8C9C132184692A517F69FBE14', 'assert_indirect_indexing': True, 'autotune_local_cache': True, 'autotune_pointwise': True, 'autotune_remote_cache': None, 'force_disable_caches': False, 'dynamic_scale_rblock': True, 'incremental_autotune': False, 'max_autotune': False, 'max_autotune_pointwise': False, 'min_split_scan_rblock': 256, 'spill_threshold': 16, 'store_cubin': False, 'deterministic': False, 'batch_invariant': False, 'force_filter_reduction_configs': False, 'mix_order_reduction_allow_multi_stages': True, 'dynamic_disable_pipelining': True, 'are_deterministic_algorithms_enabled': False}
)
@triton.jit
def triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11(in_out_ptr0, in_ptr0, in_ptr1, in_ptr2, in_ptr3, in_ptr4, in_ptr5, in_ptr6, in_ptr7, in_ptr8, out_ptr2, xnumel, r0_numel, XBLOCK : tl.constexpr, R0_BLOCK : tl.constexpr):
    xnumel = 16
    r0_numel = 2816
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
        tmp0 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp1 = tmp0.to(tl.float32)
        tmp2 = tmp1 * tmp1
        tmp3 = tl.broadcast_to(tmp2, [XBLOCK, R0_BLOCK])
        tmp5 = _tmp4 + tmp3
        _tmp4 = tl.where(r0_mask & xmask, tmp5, _tmp4)
    tmp4 = tl.sum(_tmp4, 1)[:, None]
    _tmp10 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp6 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp7 = tmp6.to(tl.float32)
        tmp8 = tmp7 * tmp7
        tmp9 = tl.broadcast_to(tmp8, [XBLOCK, R0_BLOCK])
        tmp11 = _tmp10 + tmp9
        _tmp10 = tl.where(r0_mask & xmask, tmp11, _tmp10)
    tmp10 = tl.sum(_tmp10, 1)[:, None]
    _tmp38 = tl.full([XBLOCK, R0_BLOCK], 0, tl.float32)
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp12 = tl.load(in_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp20 = tl.load(in_ptr2 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp24 = tl.load(in_ptr1 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp30 = tl.load(in_ptr3 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp13 = tmp12.to(tl.float32)
        tmp14 = tl.full([1, 1], 2816.0, tl.float32)
        tmp15 = (tmp4 / tmp14)
        tmp16 = tl.full([1, 1], 1e-06, tl.float32)
        tmp17 = tmp15 + tmp16
        tmp18 = libdevice.rsqrt(tmp17)
        tmp19 = tmp13 * tmp18
        tmp21 = tmp20.to(tl.float32)
        tmp22 = tmp19 * tmp21
        tmp23 = tmp22.to(tl.float32)
        tmp25 = tmp24.to(tl.float32)
        tmp26 = (tmp10 / tmp14)
        tmp27 = tmp26 + tmp16
        tmp28 = libdevice.rsqrt(tmp27)
        tmp29 = tmp25 * tmp28
        tmp31 = tmp30.to(tl.float32)
        tmp32 = tmp29 * tmp31
        tmp33 = tmp32.to(tl.float32)
        tmp34 = tmp23 + tmp33
        tmp35 = tmp34.to(tl.float32)
        tmp36 = tmp35 * tmp35
        tmp37 = tl.broadcast_to(tmp36, [XBLOCK, R0_BLOCK])
        tmp39 = _tmp38 + tmp37
        _tmp38 = tl.where(r0_mask & xmask, tmp39, _tmp38)
        tl.store(out_ptr2 + (r0_1 + 2816*x0), tmp35, r0_mask & xmask)
    tmp38 = tl.sum(_tmp38, 1)[:, None]
    tmp43 = tl.load(in_ptr5 + (x0), xmask, eviction_policy='evict_last')
    tmp65 = tl.load(in_ptr8 + (0)).to(tl.float32)
    tmp66 = tl.broadcast_to(tmp65, [1, 1])
    for r0_offset in tl.range(0, r0_numel, R0_BLOCK):
        r0_index = r0_offset + r0_base
        r0_mask = r0_index < r0_numel
        roffset = r0_offset
        rindex = r0_index
        r0_1 = r0_index
        tmp40 = tl.load(in_out_ptr0 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp41 = tl.load(in_ptr4 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0).to(tl.float32)
        tmp50 = tl.load(in_ptr6 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp55 = tl.load(out_ptr2 + (r0_1 + 2816*x0), r0_mask & xmask, eviction_policy='evict_first', other=0.0)
        tmp60 = tl.load(in_ptr7 + (r0_1), r0_mask, eviction_policy='evict_last', other=0.0).to(tl.float32)
        tmp42 = tmp41.to(tl.float32)
        tmp44 = tl.full([1, 1], 2816.0, tl.float32)
        tmp45 = (tmp43 / tmp44)
        tmp46 = tl.full([1, 1], 1e-06, tl.float32)
        tmp47 = tmp45 + tmp46
        tmp48 = libdevice.rsqrt(tmp47)
        tmp49 = tmp42 * tmp48
        tmp51 = tmp50.to(tl.float32)
        tmp52 = tmp49 * tmp51
        tmp53 = tmp52.to(tl.float32)
        tmp54 = tmp40 + tmp53
        tmp56 = (tmp38 / tmp44)
        tmp57 = tmp56 + tmp46
        tmp58 = libdevice.rsqrt(tmp57)
        tmp59 = tmp55 * tmp58
        tmp61 = tmp60.to(tl.float32)
        tmp62 = tmp59 * tmp61
        tmp63 = tmp62.to(tl.float32)
        tmp64 = tmp54 + tmp63
        tmp67 = tmp64 * tmp66
        tl.store(in_out_ptr0 + (r0_1 + 2816*x0), tmp67, r0_mask & xmask)
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
        arg0_1, arg1_1, arg2_1, arg3_1, arg4_1, arg5_1, arg6_1, arg7_1, arg8_1, arg9_1, arg10_1, arg11_1, arg12_1, arg13_1, arg14_1, arg15_1, arg16_1, arg17_1, arg18_1, arg19_1, arg20_1, arg21_1, arg22_1, arg23_1, arg24_1, arg25_1, arg26_1, arg27_1, arg28_1, arg29_1, arg30_1, arg31_1, arg32_1, arg33_1, arg34_1, arg35_1, arg36_1, arg37_1, arg38_1, arg39_1 = args
        args.clear()
        assert_size_stride(arg0_1, (16, 2816), (2816, 1), 'input')
        assert_size_stride(arg1_1, (2816, ), (1, ), 'input')
        buf1 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide, pow_1, mean, add, rsqrt, wide_1, float_2, wide_2, to], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0.run(arg0_1, arg1_1, buf1, 16, 2816, stream=raw_streamNone)
        del arg1_1
        assert_size_stride(arg2_1, (8192, 2816), (2816, 1), 'input')
        buf2 = empty_strided_cpu((16, 8192), (8192, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide, pow_1, mean, add, rsqrt, wide_1, float_2, wide_2, to, linear], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf1, reinterpret_tensor(arg2_1, (2816, 8192), (1, 2816), 0), out=buf2)
        del arg2_1
        buf3 = empty_strided_cpu((16, 16, 1), (16, 1, 256), torch.float32)
        # Topologically Sorted Source Nodes: [split, q, wide_3, pow_2, mean_1], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_mean_pow_split_with_sizes_view_1.run(buf2, buf3, 256, 256, stream=raw_streamNone)
        buf4 = empty_strided_cpu((16, 8, 1), (8, 1, 128), torch.float32)
        # Topologically Sorted Source Nodes: [split, k, wide_6, pow_3, mean_2], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2.run(buf2, buf4, 128, 256, stream=raw_streamNone)
        assert_size_stride(arg6_1, (256, ), (1, ), 'input')
        assert_size_stride(arg4_1, (16, ), (1, ), 'input')
        assert_size_stride(arg3_1, (128, 256), (256, 1), 'input')
        buf10 = empty_strided_cpu((16, 8, 256), (2048, 256, 1), torch.float32)
        buf8 = reinterpret_tensor(buf10, (16, 8, 128), (2048, 256, 1), 0)  # alias
        buf9 = reinterpret_tensor(buf10, (16, 8, 128), (2048, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split, getitem_3, unsqueeze, chunk, k, wide_6, pow_3, mean_2, add_3, rsqrt_2, wide_7, float_7, wide_8, to_3, float_8, chunk_2, mul_10, mul_11, sub_1, mul_12, mul_13, add_4], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3.run(buf2, buf4, arg6_1, arg4_1, arg3_1, buf8, buf9, 16384, stream=raw_streamNone)
        del arg6_1
        del buf4
        assert_size_stride(arg5_1, (256, ), (1, ), 'input')
        assert_size_stride(arg7_1, (64, 8, 256), (2048, 256, 1), 'input')
        assert_size_stride(arg8_1, (64, 8, 256), (2048, 256, 1), 'input')
        buf7 = empty_strided_cpu((16, 16, 256), (4096, 256, 1), torch.float32)
        buf5 = reinterpret_tensor(buf7, (16, 16, 128), (4096, 256, 1), 0)  # alias
        buf6 = reinterpret_tensor(buf7, (16, 16, 128), (4096, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split, getitem_3, unsqueeze, chunk, q, wide_3, pow_2, mean_1, add_1, rsqrt_1, wide_4, float_4, wide_5, to_1, float_5, chunk_1, mul_4, mul_5, sub, mul_6, mul_7, add_2, k_1, index_copy_, v, wide_9, pow_4, mean_3, add_5, rsqrt_3, wide_10, to_5, index_copy__1], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub, aten.index_copy]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_4.run(buf2, buf3, arg5_1, arg4_1, arg3_1, buf10, buf5, buf6, arg7_1, arg8_1, 128, 256, stream=raw_streamNone)
        del arg3_1
        del arg5_1
        del buf10
        del buf2
        del buf8
        del buf9
        buf14 = empty_strided_cpu((16, 16, 256), (4096, 256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_attention_5.run(buf7, buf14, 65536, stream=raw_streamNone)
        del buf5
        del buf6
        del buf7
        # Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
        buf15 = torch.ops.triage.attention.default(buf14, arg7_1, arg8_1)
        del buf14
        buf16 = buf15
        assert_size_stride(buf16, (16, 16, 256), (4096, 256, 1), 'torch.ops.triage.attention.default')
        # buffer buf16 (op: torch.ops.triage.attention.default) is assumed to be not aligned
        del buf15
        assert_size_stride(arg9_1, (2816, 4096), (4096, 1), 'input')
        buf17 = buf1; del buf1  # reuse
        # Topologically Sorted Source Nodes: [flatten, linear_1], Original ATen: [aten.view, aten.t, aten.mm]
        extern_kernels.mm(reinterpret_tensor(buf16, (16, 4096), (4096, 1), 0), reinterpret_tensor(arg9_1, (4096, 2816), (1, 4096), 0), out=buf17)
        del arg9_1
        del buf16
        assert_size_stride(arg10_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg11_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg14_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg17_1, (2816, ), (1, ), 'input')
        buf18 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf20 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        buf23 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        buf35 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7, wide_17, pow_7, mean_6, add_9, rsqrt_6, wide_18, to_8, mul_21, scaled, wide_19, pow_8, mean_7, add_10, rsqrt_7, wide_20, float_16, wide_21, x, softmax, getitem_14, weights, moe_forward], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_6.run(buf17, arg0_1, arg10_1, arg11_1, arg14_1, arg17_1, buf18, buf20, buf23, buf35, 16, 2816, stream=raw_streamNone)
        del arg11_1
        del arg14_1
        del arg17_1
        assert_size_stride(arg12_1, (1024, 2816), (2816, 1), 'input')
        buf21 = empty_strided_cpu((16, 1024), (1024, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7, linear_2], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf20, reinterpret_tensor(arg12_1, (2816, 1024), (1, 2816), 0), out=buf21)
        del arg12_1
        del buf20
        assert_size_stride(arg15_1, (128, 2816), (2816, 1), 'input')
        buf24 = empty_strided_cpu((16, 128), (128, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_17, pow_7, mean_6, add_9, rsqrt_6, wide_18, to_8, mul_21, scaled, logits], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf23, reinterpret_tensor(arg15_1, (2816, 128), (1, 2816), 0), out=buf24)
        del arg15_1
        # Topologically Sorted Source Nodes: [topk], Original ATen: [aten.topk]
        buf25 = torch.ops.aten.topk.default(buf24, 8, -1, True, True)
        del buf24
        buf26 = buf25[0]
        assert_size_stride(buf26, (16, 8), (8, 1), 'torch.ops.aten.topk.default')
        assert_alignment(buf26, 16, 'torch.ops.aten.topk.default')
        buf27 = buf25[1]
        assert_size_stride(buf27, (16, 8), (8, 1), 'torch.ops.aten.topk.default')
        assert_alignment(buf27, 16, 'torch.ops.aten.topk.default')
        del buf25
        buf28 = empty_strided_cpu((16, 512), (512, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [chunk_3, gelu, mul_19], Original ATen: [aten.split, aten.gelu, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused_gelu_mul_split_7.run(buf21, buf28, 8192, stream=raw_streamNone)
        del buf21
        assert_size_stride(arg13_1, (2816, 512), (512, 1), 'input')
        buf29 = buf23; del buf23  # reuse
        # Topologically Sorted Source Nodes: [chunk_3, gelu, mul_19, out], Original ATen: [aten.split, aten.gelu, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf28, reinterpret_tensor(arg13_1, (512, 2816), (1, 512), 0), out=buf29)
        del arg13_1
        del buf28
        assert_size_stride(arg16_1, (128, ), (1, ), 'input')
        buf33 = empty_strided_cpu((16, 8), (8, 1), torch.float32)
        buf36 = buf33; del buf33  # reuse
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_19, pow_8, mean_7, add_10, rsqrt_7, wide_20, float_16, wide_21, x, softmax, getitem_14, weights, moe_forward], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
        raw_streamNone = get_raw_stream(None)
        triton_per_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_8.run(buf36, buf26, buf27, arg16_1, 16, 8, stream=raw_streamNone)
        del arg16_1
        del buf26
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_19, pow_8, mean_7, add_10, rsqrt_7, wide_20, float_16, wide_21, x, softmax, getitem_14, weights, moe_forward], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
        buf37 = torch.ops.triage.moe_forward.default(buf35, buf36, buf27)
        del buf27
        buf38 = buf37
        assert_size_stride(buf38, (16, 2816), (2816, 1), 'torch.ops.triage.moe_forward.default')
        assert_alignment(buf38, 16, 'torch.ops.triage.moe_forward.default')
        del buf37
        assert_size_stride(arg19_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg18_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg20_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg21_1, (1, ), (1, ), 'input')
        assert_size_stride(arg22_1, (2816, ), (1, ), 'input')
        buf40 = empty_strided_cpu((16, 2816), (2816, 1), torch.float32)
        buf42 = buf17; del buf17  # reuse
        buf44 = buf35; del buf35  # reuse
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_25, pow_10, mean_9, add_12, rsqrt_9, wide_26, float_20, wide_27, to_11, wide_22, pow_9, mean_8, add_11, rsqrt_8, wide_23, float_18, wide_24, routed, out_1, wide_28, pow_11, mean_10, add_14, rsqrt_10, wide_29, float_22, wide_30, to_12, out_2, x_1, wide_31, pow_12, mean_11, add_16, rsqrt_11, wide_32, float_24, wide_33, to_13], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_9.run(buf42, buf29, buf38, arg19_1, arg18_1, arg0_1, buf18, arg10_1, arg20_1, arg21_1, arg22_1, buf40, buf44, 16, 2816, stream=raw_streamNone)
        del arg0_1
        del arg10_1
        del arg18_1
        del arg19_1
        del arg20_1
        del arg21_1
        del arg22_1
        del buf18
        del buf29
        del buf38
        del buf40
        assert_size_stride(arg23_1, (8192, 2816), (2816, 1), 'input')
        buf45 = empty_strided_cpu((16, 8192), (8192, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_31, pow_12, mean_11, add_16, rsqrt_11, wide_32, float_24, wide_33, to_13, linear_5], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf44, reinterpret_tensor(arg23_1, (2816, 8192), (1, 2816), 0), out=buf45)
        del arg23_1
        del buf44
        buf46 = buf3; del buf3  # reuse
        # Topologically Sorted Source Nodes: [split_1, q_2, wide_34, pow_13, mean_12], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_mean_pow_split_with_sizes_view_1.run(buf45, buf46, 256, 256, stream=raw_streamNone)
        buf47 = reinterpret_tensor(buf36, (16, 8, 1), (8, 1, 128), 0); del buf36  # reuse
        # Topologically Sorted Source Nodes: [split_1, k_2, wide_37, pow_14, mean_13], Original ATen: [aten.split_with_sizes, aten.view, aten._to_copy, aten.pow, aten.mean]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_mean_pow_split_with_sizes_view_2.run(buf45, buf47, 128, 256, stream=raw_streamNone)
        assert_size_stride(arg26_1, (256, ), (1, ), 'input')
        assert_size_stride(arg24_1, (128, 256), (256, 1), 'input')
        buf53 = empty_strided_cpu((16, 8, 256), (2048, 256, 1), torch.float32)
        buf51 = reinterpret_tensor(buf53, (16, 8, 128), (2048, 256, 1), 0)  # alias
        buf52 = reinterpret_tensor(buf53, (16, 8, 128), (2048, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split_1, getitem_18, unsqueeze_1, chunk_4, k_2, wide_37, pow_14, mean_13, add_19, rsqrt_13, wide_38, float_29, wide_39, to_16, float_30, chunk_6, mul_43, mul_44, sub_3, mul_45, mul_46, add_20], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_add_index_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_3.run(buf45, buf47, arg26_1, arg4_1, arg24_1, buf51, buf52, 16384, stream=raw_streamNone)
        del arg26_1
        del buf47
        assert_size_stride(arg25_1, (256, ), (1, ), 'input')
        buf50 = empty_strided_cpu((16, 16, 256), (4096, 256, 1), torch.float32)
        buf48 = reinterpret_tensor(buf50, (16, 16, 128), (4096, 256, 1), 0)  # alias
        buf49 = reinterpret_tensor(buf50, (16, 16, 128), (4096, 256, 1), 128)  # alias
        # Topologically Sorted Source Nodes: [split_1, getitem_18, unsqueeze_1, chunk_4, q_2, wide_34, pow_13, mean_12, add_17, rsqrt_12, wide_35, float_26, wide_36, to_14, float_27, chunk_5, mul_37, mul_38, sub_2, mul_39, mul_40, add_18, k_3, index_copy__2, v_1, wide_40, pow_15, mean_14, add_21, rsqrt_14, wide_41, to_18, index_copy__3], Original ATen: [aten.split_with_sizes, aten.index, aten.unsqueeze, aten.split, aten.view, aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.sub, aten.index_copy]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_4.run(buf45, buf46, arg25_1, arg4_1, arg24_1, buf53, buf48, buf49, arg7_1, arg8_1, 128, 256, stream=raw_streamNone)
        del arg24_1
        del arg25_1
        del arg4_1
        del buf45
        del buf46
        del buf51
        del buf52
        del buf53
        buf57 = empty_strided_cpu((16, 16, 256), (4096, 256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [q_3, attention_1], Original ATen: [aten._to_copy, triage.attention]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused__to_copy_attention_5.run(buf50, buf57, 65536, stream=raw_streamNone)
        del buf48
        del buf49
        del buf50
        # Topologically Sorted Source Nodes: [q_3, attention_1], Original ATen: [aten._to_copy, triage.attention]
        buf58 = torch.ops.triage.attention.default(buf57, arg7_1, arg8_1)
        del arg7_1
        del arg8_1
        del buf57
        buf59 = buf58
        assert_size_stride(buf59, (16, 16, 256), (4096, 256, 1), 'torch.ops.triage.attention.default')
        # buffer buf59 (op: torch.ops.triage.attention.default) is assumed to be not aligned
        del buf58
        assert_size_stride(arg27_1, (2816, 4096), (4096, 1), 'input')
        buf60 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [flatten_1, linear_6], Original ATen: [aten.view, aten.t, aten.mm]
        extern_kernels.mm(reinterpret_tensor(buf59, (16, 4096), (4096, 1), 0), reinterpret_tensor(arg27_1, (4096, 2816), (1, 4096), 0), out=buf60)
        del arg27_1
        del buf59
        assert_size_stride(arg28_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg29_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg32_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg35_1, (2816, ), (1, ), 'input')
        buf61 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf63 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        buf66 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        buf78 = empty_strided_cpu((16, 2816), (2816, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_45, pow_17, mean_16, add_24, rsqrt_16, wide_46, float_35, wide_47, to_20, wide_48, pow_18, mean_17, add_25, rsqrt_17, wide_49, to_21, mul_54, scaled_1, wide_50, pow_19, mean_18, add_26, rsqrt_18, wide_51, float_38, wide_52, x_2, softmax_1, getitem_29, weights_1, moe_forward_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_10.run(buf60, buf42, arg28_1, arg29_1, arg32_1, arg35_1, buf61, buf63, buf66, buf78, 16, 2816, stream=raw_streamNone)
        del arg29_1
        del arg32_1
        del arg35_1
        assert_size_stride(arg30_1, (1024, 2816), (2816, 1), 'input')
        buf64 = empty_strided_cpu((16, 1024), (1024, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_45, pow_17, mean_16, add_24, rsqrt_16, wide_46, float_35, wide_47, to_20, linear_7], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf63, reinterpret_tensor(arg30_1, (2816, 1024), (1, 2816), 0), out=buf64)
        del arg30_1
        del buf63
        assert_size_stride(arg33_1, (128, 2816), (2816, 1), 'input')
        buf67 = empty_strided_cpu((16, 128), (128, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_48, pow_18, mean_17, add_25, rsqrt_17, wide_49, to_21, mul_54, scaled_1, logits_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf66, reinterpret_tensor(arg33_1, (2816, 128), (1, 2816), 0), out=buf67)
        del arg33_1
        # Topologically Sorted Source Nodes: [topk_1], Original ATen: [aten.topk]
        buf68 = torch.ops.aten.topk.default(buf67, 8, -1, True, True)
        del buf67
        buf69 = buf68[0]
        assert_size_stride(buf69, (16, 8), (8, 1), 'torch.ops.aten.topk.default')
        assert_alignment(buf69, 16, 'torch.ops.aten.topk.default')
        buf70 = buf68[1]
        assert_size_stride(buf70, (16, 8), (8, 1), 'torch.ops.aten.topk.default')
        assert_alignment(buf70, 16, 'torch.ops.aten.topk.default')
        del buf68
        buf71 = empty_strided_cpu((16, 512), (512, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [chunk_7, gelu_1, mul_52], Original ATen: [aten.split, aten.gelu, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_poi_fused_gelu_mul_split_7.run(buf64, buf71, 8192, stream=raw_streamNone)
        del buf64
        assert_size_stride(arg31_1, (2816, 512), (512, 1), 'input')
        buf72 = buf66; del buf66  # reuse
        # Topologically Sorted Source Nodes: [chunk_7, gelu_1, mul_52, out_3], Original ATen: [aten.split, aten.gelu, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf71, reinterpret_tensor(arg31_1, (512, 2816), (1, 512), 0), out=buf72)
        del arg31_1
        del buf71
        assert_size_stride(arg34_1, (128, ), (1, ), 'input')
        buf76 = empty_strided_cpu((16, 8), (8, 1), torch.float32)
        buf79 = buf76; del buf76  # reuse
        # Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_50, pow_19, mean_18, add_26, rsqrt_18, wide_51, float_38, wide_52, x_2, softmax_1, getitem_29, weights_1, moe_forward_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
        raw_streamNone = get_raw_stream(None)
        triton_per_fused__softmax__to_copy_add_index_mean_moe_forward_mul_pow_rsqrt_8.run(buf79, buf69, buf70, arg34_1, 16, 8, stream=raw_streamNone)
        del arg34_1
        del buf69
        # Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_50, pow_19, mean_18, add_26, rsqrt_18, wide_51, float_38, wide_52, x_2, softmax_1, getitem_29, weights_1, moe_forward_1], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten._softmax, aten.index, triage.moe_forward]
        buf80 = torch.ops.triage.moe_forward.default(buf78, buf79, buf70)
        del buf70
        del buf78
        del buf79
        buf81 = buf80
        assert_size_stride(buf81, (16, 2816), (2816, 1), 'torch.ops.triage.moe_forward.default')
        assert_alignment(buf81, 16, 'torch.ops.triage.moe_forward.default')
        del buf80
        assert_size_stride(arg37_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg36_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg38_1, (2816, ), (1, ), 'input')
        assert_size_stride(arg39_1, (1, ), (1, ), 'input')
        buf83 = empty_strided_cpu((16, 2816), (2816, 1), torch.float32)
        buf85 = buf42; del buf42  # reuse
        # Topologically Sorted Source Nodes: [wide_42, pow_16, mean_15, add_22, rsqrt_15, wide_43, float_33, wide_44, to_19, residual_1, wide_56, pow_21, mean_20, add_28, rsqrt_20, wide_57, float_42, wide_58, to_24, wide_53, pow_20, mean_19, add_27, rsqrt_19, wide_54, float_40, wide_55, routed_1, out_4, wide_59, pow_22, mean_21, add_30, rsqrt_21, wide_60, float_44, wide_61, to_25, out_5, x_3], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul]
        raw_streamNone = get_raw_stream(None)
        triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_11.run(buf85, buf72, buf81, arg37_1, arg36_1, buf60, buf61, arg28_1, arg38_1, arg39_1, buf83, 16, 2816, stream=raw_streamNone)
        del arg28_1
        del arg36_1
        del arg37_1
        del arg38_1
        del arg39_1
        return (buf85, )

runner = Runner(partitions=[])
call = runner.call
recursively_apply_fns = runner.recursively_apply_fns


def get_args():
    from torch._dynamo.testing import rand_strided
    _shared_storage_7 = rand_strided((262144,), (1,), device='cpu', dtype=torch.bfloat16)
    arg0_1 = rand_strided((16, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg1_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg2_1 = rand_strided((8192, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg3_1 = rand_strided((128, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg4_1 = rand_strided((16, ), (1, ), device='cpu', dtype=torch.int64)
    arg5_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg6_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg7_1 = torch.as_strided(_shared_storage_7, (64, 8, 256), (2048, 256, 1))
    arg8_1 = torch.as_strided(_shared_storage_7, (64, 8, 256), (2048, 256, 1))
    arg9_1 = rand_strided((2816, 4096), (4096, 1), device='cpu', dtype=torch.bfloat16)
    arg10_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg11_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg12_1 = rand_strided((1024, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg13_1 = rand_strided((2816, 512), (512, 1), device='cpu', dtype=torch.bfloat16)
    arg14_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg15_1 = rand_strided((128, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg16_1 = rand_strided((128, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg17_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg18_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg19_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg20_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg21_1 = rand_strided((1, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg22_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg23_1 = rand_strided((8192, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg24_1 = rand_strided((128, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg25_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg26_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg27_1 = rand_strided((2816, 4096), (4096, 1), device='cpu', dtype=torch.bfloat16)
    arg28_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg29_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg30_1 = rand_strided((1024, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg31_1 = rand_strided((2816, 512), (512, 1), device='cpu', dtype=torch.bfloat16)
    arg32_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg33_1 = rand_strided((128, 2816), (2816, 1), device='cpu', dtype=torch.bfloat16)
    arg34_1 = rand_strided((128, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg35_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg36_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg37_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg38_1 = rand_strided((2816, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg39_1 = rand_strided((1, ), (1, ), device='cpu', dtype=torch.bfloat16)
    return [arg0_1, arg1_1, arg2_1, arg3_1, arg4_1, arg5_1, arg6_1, arg7_1, arg8_1, arg9_1, arg10_1, arg11_1, arg12_1, arg13_1, arg14_1, arg15_1, arg16_1, arg17_1, arg18_1, arg19_1, arg20_1, arg21_1, arg22_1, arg23_1, arg24_1, arg25_1, arg26_1, arg27_1, arg28_1, arg29_1, arg30_1, arg31_1, arg32_1, arg33_1, arg34_1, arg35_1, arg36_1, arg37_1, arg38_1, arg39_1]


def benchmark_compiled_module(args, times=10, repeat=10):
    from torch._inductor.utils import print_performance
    fn = lambda: call(list(args))
    return print_performance(fn, times=times, repeat=repeat, device='cpu')


if __name__ == "__main__":
    from torch._inductor.wrapper_benchmark import compiled_module_main
    args = get_args()
    compiled_module_main('None', lambda times, repeat: benchmark_compiled_module(args, times=times, repeat=repeat))
