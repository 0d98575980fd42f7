# AOT ID: ['0_inference']
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


cpp_fused__to_copy_add_mean_mul_pow_rsqrt_0 = async_compile.cpp_pybinding(['const at::BFloat16*', 'const at::BFloat16*', 'float*', 'at::BFloat16*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(const at::BFloat16* in_ptr0,
                       const at::BFloat16* in_ptr1,
                       float* out_ptr0,
                       at::BFloat16* out_ptr1)
{
    std::atomic<int> inductor_cpu_integer_div_error{0};
    inductor_cpu_integer_div_error_flag = &inductor_cpu_integer_div_error;
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            {
                float tmp_acc0 = 0;
                at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp2 = tmp1 * tmp1;
                            tmp_acc0_vec = tmp_acc0_vec + tmp2;
                        }
                    }
                }
                tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                out_ptr0[static_cast<int64_t>(x0)] = static_cast<float>(tmp_acc0);
            }
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
            {
                {
                    if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                    {
                        auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp2 = out_ptr0[static_cast<int64_t>(x0)];
                        auto tmp10 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr1 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                        auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                        auto tmp3 = static_cast<float>(256.0);
                        auto tmp4 = tmp2 / tmp3;
                        auto tmp5 = static_cast<float>(1e-06);
                        auto tmp6 = float(tmp4 + tmp5);
                        auto tmp7 = 1 / std::sqrt(tmp6);
                        auto tmp8 = at::vec::VectorizedN<float,2>(tmp7);
                        auto tmp9 = tmp1 * tmp8;
                        auto tmp11 = at::vec::convert<float,2,at::BFloat16,1>(tmp10);
                        auto tmp12 = tmp9 * tmp11;
                        auto tmp13 = at::vec::convert<at::BFloat16,1,float,2>(tmp12);
                        tmp13.store(out_ptr1 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                    }
                }
            }
        }
    }
    inductor_cpu_integer_div_error_flag = nullptr;
    inductor_cpu_throw_if_integer_div_error(inductor_cpu_integer_div_error);
}
''')


cpp_fused__to_copy_add_attention_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_1 = async_compile.cpp_pybinding(['const at::BFloat16*', 'const int64_t*', 'const at::BFloat16*', 'const at::BFloat16*', 'const float*', 'const at::BFloat16*', 'const float*', 'float*', 'at::BFloat16*', 'float*', 'float*', 'float*', 'at::BFloat16*', 'float*', 'float*', 'float*', 'at::BFloat16*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(const at::BFloat16* in_ptr0,
                       const int64_t* in_ptr1,
                       const at::BFloat16* in_ptr2,
                       const at::BFloat16* in_ptr3,
                       const float* in_ptr4,
                       const at::BFloat16* in_ptr5,
                       const float* in_ptr6,
                       float* out_ptr0,
                       at::BFloat16* out_ptr1,
                       float* out_ptr2,
                       float* out_ptr3,
                       float* out_ptr4,
                       at::BFloat16* out_ptr5,
                       float* out_ptr6,
                       float* out_ptr7,
                       float* out_ptr8,
                       at::BFloat16* out_ptr9)
{
    std::atomic<int> inductor_cpu_integer_div_error{0};
    inductor_cpu_integer_div_error_flag = &inductor_cpu_integer_div_error;
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            #pragma GCC ivdep
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(16L); x1+=static_cast<int64_t>(1L))
            {
                {
                    float tmp_acc0 = 0;
                    at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                    for(int64_t x2=static_cast<int64_t>(0L); x2<static_cast<int64_t>(256L); x2+=static_cast<int64_t>(32L))
                    {
                        {
                            if(C10_LIKELY(x2 >= static_cast<int64_t>(0) && x2 < static_cast<int64_t>(256L)))
                            {
                                auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(12288L + x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                                auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                                auto tmp2 = tmp1 * tmp1;
                                tmp_acc0_vec = tmp_acc0_vec + tmp2;
                            }
                        }
                    }
                    tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                    out_ptr0[static_cast<int64_t>(x1 + 16L*x0)] = static_cast<float>(tmp_acc0);
                }
                for(int64_t x2=static_cast<int64_t>(0L); x2<static_cast<int64_t>(256L); x2+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x2 >= static_cast<int64_t>(0) && x2 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = in_ptr1[static_cast<int64_t>(x0)];
                            auto tmp9 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(12288L + x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                            auto tmp11 = out_ptr0[static_cast<int64_t>(x1 + 16L*x0)];
                            auto tmp1 = 64L;
                            auto tmp2 = c10::convert<int64_t>(tmp1);
                            auto tmp3 = int64_t(tmp0 + tmp2);
                            auto tmp4 = tmp0 < 0;
                            auto tmp5 = tmp4 ? tmp3 : tmp0;
                            auto tmp6 = tmp5;
                            auto tmp7 = c10::convert<int64_t>(tmp6);
                            TORCH_CHECK((0 <= tmp7) & (tmp7 < 64L), "index out of bounds: 0 <= tmp7 < 64L");
                            auto tmp10 = at::vec::convert<float,2,at::BFloat16,1>(tmp9);
                            auto tmp12 = static_cast<float>(256.0);
                            auto tmp13 = tmp11 / tmp12;
                            auto tmp14 = static_cast<float>(1e-06);
                            auto tmp15 = float(tmp13 + tmp14);
                            auto tmp16 = 1 / std::sqrt(tmp15);
                            auto tmp17 = at::vec::VectorizedN<float,2>(tmp16);
                            auto tmp18 = tmp10 * tmp17;
                            auto tmp19 = at::vec::convert<at::BFloat16,1,float,2>(tmp18);
                            tmp19.store(out_ptr1 + static_cast<int64_t>(x2 + 256L*x1 + 4096L*tmp5), static_cast<int64_t>(32));
                        }
                    }
                }
            }
        }
    }
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            #pragma GCC ivdep
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(16L); x1+=static_cast<int64_t>(1L))
            {
                {
                    float tmp_acc0 = 0;
                    at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                    for(int64_t x2=static_cast<int64_t>(0L); x2<static_cast<int64_t>(256L); x2+=static_cast<int64_t>(32L))
                    {
                        {
                            if(C10_LIKELY(x2 >= static_cast<int64_t>(0) && x2 < static_cast<int64_t>(256L)))
                            {
                                auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(8192L + x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                                auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                                auto tmp2 = tmp1 * tmp1;
                                tmp_acc0_vec = tmp_acc0_vec + tmp2;
                            }
                        }
                    }
                    tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                    out_ptr2[static_cast<int64_t>(x1 + 16L*x0)] = static_cast<float>(tmp_acc0);
                }
                for(int64_t x2=static_cast<int64_t>(0L); x2<static_cast<int64_t>(128L); x2+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x2 >= static_cast<int64_t>(0) && x2 < static_cast<int64_t>(128L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(8192L + x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                            auto tmp2 = out_ptr2[static_cast<int64_t>(x1 + 16L*x0)];
                            auto tmp10 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr2 + static_cast<int64_t>(x2), static_cast<int64_t>(32));
                            auto tmp14 = in_ptr1[static_cast<int64_t>(x0)];
                            auto tmp26 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(8320L + x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                            auto tmp29 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr2 + static_cast<int64_t>(128L + x2), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp3 = static_cast<float>(256.0);
                            auto tmp4 = tmp2 / tmp3;
                            auto tmp5 = static_cast<float>(1e-06);
                            auto tmp6 = float(tmp4 + tmp5);
                            auto tmp7 = 1 / std::sqrt(tmp6);
                            auto tmp8 = at::vec::VectorizedN<float,2>(tmp7);
                            auto tmp9 = tmp1 * tmp8;
                            auto tmp11 = at::vec::convert<float,2,at::BFloat16,1>(tmp10);
                            auto tmp12 = tmp9 * tmp11;
                            auto tmp13 = at::vec::convert<at::BFloat16,1,float,2>(tmp12);
                            auto tmp15 = 128L;
                            auto tmp16 = c10::convert<int64_t>(tmp15);
                            auto tmp17 = int64_t(tmp14 + tmp16);
                            auto tmp18 = tmp14 < 0;
                            auto tmp19 = tmp18 ? tmp17 : tmp14;
                            auto tmp20 = tmp19;
                            auto tmp21 = c10::convert<int64_t>(tmp20);
                            TORCH_CHECK((0 <= tmp21) & (tmp21 < 128L), "index out of bounds: 0 <= tmp21 < 128L");
                            auto tmp23 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(x2 + 256L*tmp19), static_cast<int64_t>(32));
                            auto tmp24 = at::vec::convert<float,2,at::BFloat16,1>(tmp23);
                            auto tmp25 = tmp12 * tmp24;
                            auto tmp27 = at::vec::convert<float,2,at::BFloat16,1>(tmp26);
                            auto tmp28 = tmp27 * tmp8;
                            auto tmp30 = at::vec::convert<float,2,at::BFloat16,1>(tmp29);
                            auto tmp31 = tmp28 * tmp30;
                            auto tmp32 = at::vec::convert<at::BFloat16,1,float,2>(tmp31);
                            auto tmp33 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(128L + x2 + 256L*tmp19), static_cast<int64_t>(32));
                            auto tmp34 = at::vec::convert<float,2,at::BFloat16,1>(tmp33);
                            auto tmp35 = tmp31 * tmp34;
                            auto tmp36 = tmp25 - tmp35;
                            auto tmp37 = tmp31 * tmp24;
                            auto tmp38 = tmp12 * tmp34;
                            auto tmp39 = tmp37 + tmp38;
                            tmp36.store(out_ptr3 + static_cast<int64_t>(x2 + 256L*x1 + 4096L*x0));
                            tmp39.store(out_ptr4 + static_cast<int64_t>(x2 + 256L*x1 + 4096L*x0));
                        }
                    }
                }
            }
        }
    }
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(4096L); x1+=static_cast<int64_t>(32L))
            {
                {
                    if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(4096L)))
                    {
                        auto tmp0 = in_ptr1[static_cast<int64_t>(x0)];
                        auto tmp9 = at::vec::VectorizedN<float,2>::loadu(in_ptr4 + static_cast<int64_t>(x1 + 4096L*x0), static_cast<int64_t>(32));
                        auto tmp1 = 64L;
                        auto tmp2 = c10::convert<int64_t>(tmp1);
                        auto tmp3 = int64_t(tmp0 + tmp2);
                        auto tmp4 = tmp0 < 0;
                        auto tmp5 = tmp4 ? tmp3 : tmp0;
                        auto tmp6 = tmp5;
                        auto tmp7 = c10::convert<int64_t>(tmp6);
                        TORCH_CHECK((0 <= tmp7) & (tmp7 < 64L), "index out of bounds: 0 <= tmp7 < 64L");
                        auto tmp10 = at::vec::convert<at::BFloat16,1,float,2>(tmp9);
                        tmp10.store(out_ptr5 + static_cast<int64_t>(x1 + 4096L*tmp5), static_cast<int64_t>(32));
                    }
                }
            }
        }
    }
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            #pragma GCC ivdep
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(32L); x1+=static_cast<int64_t>(1L))
            {
                {
                    float tmp_acc0 = 0;
                    at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                    for(int64_t x2=static_cast<int64_t>(0L); x2<static_cast<int64_t>(256L); x2+=static_cast<int64_t>(32L))
                    {
                        {
                            if(C10_LIKELY(x2 >= static_cast<int64_t>(0) && x2 < static_cast<int64_t>(256L)))
                            {
                                auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                                auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                                auto tmp2 = tmp1 * tmp1;
                                tmp_acc0_vec = tmp_acc0_vec + tmp2;
                            }
                        }
                    }
                    tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                    out_ptr6[static_cast<int64_t>(x1 + 32L*x0)] = static_cast<float>(tmp_acc0);
                }
                for(int64_t x2=static_cast<int64_t>(0L); x2<static_cast<int64_t>(128L); x2+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x2 >= static_cast<int64_t>(0) && x2 < static_cast<int64_t>(128L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                            auto tmp2 = out_ptr6[static_cast<int64_t>(x1 + 32L*x0)];
                            auto tmp10 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr5 + static_cast<int64_t>(x2), static_cast<int64_t>(32));
                            auto tmp14 = in_ptr1[static_cast<int64_t>(x0)];
                            auto tmp26 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(128L + x2 + 256L*x1 + 16384L*x0), static_cast<int64_t>(32));
                            auto tmp29 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr5 + static_cast<int64_t>(128L + x2), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp3 = static_cast<float>(256.0);
                            auto tmp4 = tmp2 / tmp3;
                            auto tmp5 = static_cast<float>(1e-06);
                            auto tmp6 = float(tmp4 + tmp5);
                            auto tmp7 = 1 / std::sqrt(tmp6);
                            auto tmp8 = at::vec::VectorizedN<float,2>(tmp7);
                            auto tmp9 = tmp1 * tmp8;
                            auto tmp11 = at::vec::convert<float,2,at::BFloat16,1>(tmp10);
                            auto tmp12 = tmp9 * tmp11;
                            auto tmp13 = at::vec::convert<at::BFloat16,1,float,2>(tmp12);
                            auto tmp15 = 128L;
                            auto tmp16 = c10::convert<int64_t>(tmp15);
                            auto tmp17 = int64_t(tmp14 + tmp16);
                            auto tmp18 = tmp14 < 0;
                            auto tmp19 = tmp18 ? tmp17 : tmp14;
                            auto tmp20 = tmp19;
                            auto tmp21 = c10::convert<int64_t>(tmp20);
                            TORCH_CHECK((0 <= tmp21) & (tmp21 < 128L), "index out of bounds: 0 <= tmp21 < 128L");
                            auto tmp23 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(x2 + 256L*tmp19), static_cast<int64_t>(32));
                            auto tmp24 = at::vec::convert<float,2,at::BFloat16,1>(tmp23);
                            auto tmp25 = tmp12 * tmp24;
                            auto tmp27 = at::vec::convert<float,2,at::BFloat16,1>(tmp26);
                            auto tmp28 = tmp27 * tmp8;
                            auto tmp30 = at::vec::convert<float,2,at::BFloat16,1>(tmp29);
                            auto tmp31 = tmp28 * tmp30;
                            auto tmp32 = at::vec::convert<at::BFloat16,1,float,2>(tmp31);
                            auto tmp33 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(128L + x2 + 256L*tmp19), static_cast<int64_t>(32));
                            auto tmp34 = at::vec::convert<float,2,at::BFloat16,1>(tmp33);
                            auto tmp35 = tmp31 * tmp34;
                            auto tmp36 = tmp25 - tmp35;
                            auto tmp37 = tmp31 * tmp24;
                            auto tmp38 = tmp12 * tmp34;
                            auto tmp39 = tmp37 + tmp38;
                            tmp36.store(out_ptr7 + static_cast<int64_t>(x2 + 256L*x1 + 8192L*x0));
                            tmp39.store(out_ptr8 + static_cast<int64_t>(x2 + 256L*x1 + 8192L*x0));
                        }
                    }
                }
            }
        }
    }
    {
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(131072L); x0+=static_cast<int64_t>(32L))
        {
            {
                if(C10_LIKELY(x0 >= static_cast<int64_t>(0) && x0 < static_cast<int64_t>(131072L)))
                {
                    auto tmp0 = at::vec::VectorizedN<float,2>::loadu(in_ptr6 + static_cast<int64_t>(x0), static_cast<int64_t>(32));
                    auto tmp1 = at::vec::convert<at::BFloat16,1,float,2>(tmp0);
                    tmp1.store(out_ptr9 + static_cast<int64_t>(x0), static_cast<int64_t>(32));
                }
            }
        }
    }
    inductor_cpu_integer_div_error_flag = nullptr;
    inductor_cpu_throw_if_integer_div_error(inductor_cpu_integer_div_error);
}
''')


cpp_fused__to_copy_add_mean_mul_pow_rsqrt_2 = async_compile.cpp_pybinding(['const at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'float*', 'float*', 'at::BFloat16*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(const at::BFloat16* in_ptr0,
                       const at::BFloat16* in_ptr1,
                       const at::BFloat16* in_ptr2,
                       const at::BFloat16* in_ptr3,
                       float* out_ptr0,
                       float* out_ptr1,
                       at::BFloat16* out_ptr2)
{
    std::atomic<int> inductor_cpu_integer_div_error{0};
    inductor_cpu_integer_div_error_flag = &inductor_cpu_integer_div_error;
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            {
                float tmp_acc0 = 0;
                at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp2 = tmp1 * tmp1;
                            tmp_acc0_vec = tmp_acc0_vec + tmp2;
                        }
                    }
                }
                tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                out_ptr0[static_cast<int64_t>(x0)] = static_cast<float>(tmp_acc0);
            }
            {
                float tmp_acc0 = 0;
                at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr1 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp2 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp4 = out_ptr0[static_cast<int64_t>(x0)];
                            auto tmp12 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr2 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp3 = at::vec::convert<float,2,at::BFloat16,1>(tmp2);
                            auto tmp5 = static_cast<float>(256.0);
                            auto tmp6 = tmp4 / tmp5;
                            auto tmp7 = static_cast<float>(1e-06);
                            auto tmp8 = float(tmp6 + tmp7);
                            auto tmp9 = 1 / std::sqrt(tmp8);
                            auto tmp10 = at::vec::VectorizedN<float,2>(tmp9);
                            auto tmp11 = tmp3 * tmp10;
                            auto tmp13 = at::vec::convert<float,2,at::BFloat16,1>(tmp12);
                            auto tmp14 = tmp11 * tmp13;
                            auto tmp15 = (tmp14);
                            auto tmp16 = tmp1 + tmp15;
                            auto tmp17 = (tmp16);
                            auto tmp18 = tmp17 * tmp17;
                            tmp_acc0_vec = tmp_acc0_vec + tmp18;
                        }
                    }
                }
                tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                out_ptr1[static_cast<int64_t>(x0)] = static_cast<float>(tmp_acc0);
            }
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
            {
                {
                    if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                    {
                        auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr1 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp2 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp4 = out_ptr0[static_cast<int64_t>(x0)];
                        auto tmp12 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr2 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                        auto tmp18 = out_ptr1[static_cast<int64_t>(x0)];
                        auto tmp24 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                        auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                        auto tmp3 = at::vec::convert<float,2,at::BFloat16,1>(tmp2);
                        auto tmp5 = static_cast<float>(256.0);
                        auto tmp6 = tmp4 / tmp5;
                        auto tmp7 = static_cast<float>(1e-06);
                        auto tmp8 = float(tmp6 + tmp7);
                        auto tmp9 = 1 / std::sqrt(tmp8);
                        auto tmp10 = at::vec::VectorizedN<float,2>(tmp9);
                        auto tmp11 = tmp3 * tmp10;
                        auto tmp13 = at::vec::convert<float,2,at::BFloat16,1>(tmp12);
                        auto tmp14 = tmp11 * tmp13;
                        auto tmp15 = (tmp14);
                        auto tmp16 = tmp1 + tmp15;
                        auto tmp17 = (tmp16);
                        auto tmp19 = tmp18 / tmp5;
                        auto tmp20 = float(tmp19 + tmp7);
                        auto tmp21 = 1 / std::sqrt(tmp20);
                        auto tmp22 = at::vec::VectorizedN<float,2>(tmp21);
                        auto tmp23 = tmp17 * tmp22;
                        auto tmp25 = at::vec::convert<float,2,at::BFloat16,1>(tmp24);
                        auto tmp26 = tmp23 * tmp25;
                        auto tmp27 = at::vec::convert<at::BFloat16,1,float,2>(tmp26);
                        tmp27.store(out_ptr2 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                    }
                }
            }
        }
    }
    inductor_cpu_integer_div_error_flag = nullptr;
    inductor_cpu_throw_if_integer_div_error(inductor_cpu_integer_div_error);
}
''')


cpp_fused_gelu_mul_split_3 = async_compile.cpp_pybinding(['const at::BFloat16*', 'at::BFloat16*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(const at::BFloat16* in_ptr0,
                       at::BFloat16* out_ptr0)
{
    std::atomic<int> inductor_cpu_integer_div_error{0};
    inductor_cpu_integer_div_error_flag = &inductor_cpu_integer_div_error;
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(512L); x1+=static_cast<int64_t>(32L))
            {
                {
                    if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(512L)))
                    {
                        auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 1024L*x0), static_cast<int64_t>(32));
                        auto tmp20 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(512L + x1 + 1024L*x0), static_cast<int64_t>(32));
                        auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                        auto tmp2 = static_cast<float>(0.5);
                        auto tmp3 = at::vec::VectorizedN<float,2>(tmp2);
                        auto tmp4 = tmp1 * tmp3;
                        auto tmp5 = tmp1 * tmp1;
                        auto tmp6 = tmp5 * tmp1;
                        auto tmp7 = static_cast<float>(0.044715);
                        auto tmp8 = at::vec::VectorizedN<float,2>(tmp7);
                        auto tmp9 = tmp6 * tmp8;
                        auto tmp10 = tmp1 + tmp9;
                        auto tmp11 = static_cast<float>(0.7978845608028654);
                        auto tmp12 = at::vec::VectorizedN<float,2>(tmp11);
                        auto tmp13 = tmp10 * tmp12;
                        auto tmp14 = tmp13.tanh();
                        auto tmp15 = static_cast<float>(1.0);
                        auto tmp16 = at::vec::VectorizedN<float,2>(tmp15);
                        auto tmp17 = tmp14 + tmp16;
                        auto tmp18 = tmp4 * tmp17;
                        auto tmp19 = (tmp18);
                        auto tmp21 = at::vec::convert<float,2,at::BFloat16,1>(tmp20);
                        auto tmp22 = tmp19 * tmp21;
                        auto tmp23 = at::vec::convert<at::BFloat16,1,float,2>(tmp22);
                        tmp23.store(out_ptr0 + static_cast<int64_t>(x1 + 512L*x0), static_cast<int64_t>(32));
                    }
                }
            }
        }
    }
    inductor_cpu_integer_div_error_flag = nullptr;
    inductor_cpu_throw_if_integer_div_error(inductor_cpu_integer_div_error);
}
''')


cpp_fused__to_copy_add_mean_mul_pow_rsqrt_4 = async_compile.cpp_pybinding(['at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'const float*', 'const at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'float*', 'float*', 'at::BFloat16*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(at::BFloat16* in_out_ptr0,
                       const at::BFloat16* in_ptr0,
                       const at::BFloat16* in_ptr1,
                       const float* in_ptr2,
                       const at::BFloat16* in_ptr3,
                       const at::BFloat16* in_ptr4,
                       const at::BFloat16* in_ptr5,
                       const at::BFloat16* in_ptr6,
                       float* out_ptr0,
                       float* out_ptr1,
                       at::BFloat16* out_ptr2)
{
    std::atomic<int> inductor_cpu_integer_div_error{0};
    inductor_cpu_integer_div_error_flag = &inductor_cpu_integer_div_error;
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            {
                float tmp_acc0 = 0;
                at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp2 = tmp1 * tmp1;
                            tmp_acc0_vec = tmp_acc0_vec + tmp2;
                        }
                    }
                }
                tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                out_ptr0[static_cast<int64_t>(x0)] = static_cast<float>(tmp_acc0);
            }
            {
                float tmp_acc0 = 0;
                at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr1 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp2 = at::vec::Vectorized<at::BFloat16>::loadu(in_out_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp4 = in_ptr2[static_cast<int64_t>(x0)];
                            auto tmp12 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                            auto tmp17 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp19 = out_ptr0[static_cast<int64_t>(x0)];
                            auto tmp25 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr4 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                            auto tmp30 = in_ptr5[static_cast<int64_t>(0L)];
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp3 = at::vec::convert<float,2,at::BFloat16,1>(tmp2);
                            auto tmp5 = static_cast<float>(256.0);
                            auto tmp6 = tmp4 / tmp5;
                            auto tmp7 = static_cast<float>(1e-06);
                            auto tmp8 = float(tmp6 + tmp7);
                            auto tmp9 = 1 / std::sqrt(tmp8);
                            auto tmp10 = at::vec::VectorizedN<float,2>(tmp9);
                            auto tmp11 = tmp3 * tmp10;
                            auto tmp13 = at::vec::convert<float,2,at::BFloat16,1>(tmp12);
                            auto tmp14 = tmp11 * tmp13;
                            auto tmp15 = (tmp14);
                            auto tmp16 = tmp1 + tmp15;
                            auto tmp18 = at::vec::convert<float,2,at::BFloat16,1>(tmp17);
                            auto tmp20 = tmp19 / tmp5;
                            auto tmp21 = float(tmp20 + tmp7);
                            auto tmp22 = 1 / std::sqrt(tmp21);
                            auto tmp23 = at::vec::VectorizedN<float,2>(tmp22);
                            auto tmp24 = tmp18 * tmp23;
                            auto tmp26 = at::vec::convert<float,2,at::BFloat16,1>(tmp25);
                            auto tmp27 = tmp24 * tmp26;
                            auto tmp28 = (tmp27);
                            auto tmp29 = tmp16 + tmp28;
                            auto tmp31 = c10::convert<float>(tmp30);
                            auto tmp32 = at::vec::VectorizedN<float,2>(tmp31);
                            auto tmp33 = tmp29 * tmp32;
                            auto tmp34 = at::vec::convert<at::BFloat16,1,float,2>(tmp33);
                            auto tmp35 = tmp33 * tmp33;
                            tmp34.store(in_out_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            tmp_acc0_vec = tmp_acc0_vec + tmp35;
                        }
                    }
                }
                tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                out_ptr1[static_cast<int64_t>(x0)] = static_cast<float>(tmp_acc0);
            }
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
            {
                {
                    if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                    {
                        auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_out_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp2 = out_ptr1[static_cast<int64_t>(x0)];
                        auto tmp10 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr6 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                        auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                        auto tmp3 = static_cast<float>(256.0);
                        auto tmp4 = tmp2 / tmp3;
                        auto tmp5 = static_cast<float>(1e-06);
                        auto tmp6 = float(tmp4 + tmp5);
                        auto tmp7 = 1 / std::sqrt(tmp6);
                        auto tmp8 = at::vec::VectorizedN<float,2>(tmp7);
                        auto tmp9 = tmp1 * tmp8;
                        auto tmp11 = at::vec::convert<float,2,at::BFloat16,1>(tmp10);
                        auto tmp12 = tmp9 * tmp11;
                        auto tmp13 = at::vec::convert<at::BFloat16,1,float,2>(tmp12);
                        tmp13.store(out_ptr2 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                    }
                }
            }
        }
    }
    inductor_cpu_integer_div_error_flag = nullptr;
    inductor_cpu_throw_if_integer_div_error(inductor_cpu_integer_div_error);
}
''')


cpp_fused__to_copy_add_mean_mul_pow_rsqrt_5 = async_compile.cpp_pybinding(['at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'const float*', 'const at::BFloat16*', 'const at::BFloat16*', 'const at::BFloat16*', 'float*'], r'''
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(at::BFloat16* in_out_ptr0,
                       const at::BFloat16* in_ptr0,
                       const at::BFloat16* in_ptr1,
                       const float* in_ptr2,
                       const at::BFloat16* in_ptr3,
                       const at::BFloat16* in_ptr4,
                       const at::BFloat16* in_ptr5,
                       float* out_ptr0)
{
    std::atomic<int> inductor_cpu_integer_div_error{0};
    inductor_cpu_integer_div_error_flag = &inductor_cpu_integer_div_error;
    {
        #pragma GCC ivdep
        for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(16L); x0+=static_cast<int64_t>(1L))
        {
            {
                float tmp_acc0 = 0;
                at::vec::VectorizedN<float,2> tmp_acc0_vec = at::vec::VectorizedN<float,2>(0);
                for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
                {
                    {
                        if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                        {
                            auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                            auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                            auto tmp2 = tmp1 * tmp1;
                            tmp_acc0_vec = tmp_acc0_vec + tmp2;
                        }
                    }
                }
                tmp_acc0 = tmp_acc0 + at::vec::vec_reduce_all<float, 2>([](at::vec::Vectorized<float>& x, at::vec::Vectorized<float>& y) { return x + y; }, tmp_acc0_vec);
                out_ptr0[static_cast<int64_t>(x0)] = static_cast<float>(tmp_acc0);
            }
            for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(256L); x1+=static_cast<int64_t>(32L))
            {
                {
                    if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(256L)))
                    {
                        auto tmp0 = at::vec::Vectorized<at::BFloat16>::loadu(in_out_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp2 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr1 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp4 = in_ptr2[static_cast<int64_t>(x0)];
                        auto tmp12 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr3 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                        auto tmp17 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                        auto tmp19 = out_ptr0[static_cast<int64_t>(x0)];
                        auto tmp25 = at::vec::Vectorized<at::BFloat16>::loadu(in_ptr4 + static_cast<int64_t>(x1), static_cast<int64_t>(32));
                        auto tmp30 = in_ptr5[static_cast<int64_t>(0L)];
                        auto tmp1 = at::vec::convert<float,2,at::BFloat16,1>(tmp0);
                        auto tmp3 = at::vec::convert<float,2,at::BFloat16,1>(tmp2);
                        auto tmp5 = static_cast<float>(256.0);
                        auto tmp6 = tmp4 / tmp5;
                        auto tmp7 = static_cast<float>(1e-06);
                        auto tmp8 = float(tmp6 + tmp7);
                        auto tmp9 = 1 / std::sqrt(tmp8);
                        auto tmp10 = at::vec::VectorizedN<float,2>(tmp9);
                        auto tmp11 = tmp3 * tmp10;
                        auto tmp13 = at::vec::convert<float,2,at::BFloat16,1>(tmp12);
                        auto tmp14 = tmp11 * tmp13;
                        auto tmp15 = (tmp14);
                        auto tmp16 = tmp1 + tmp15;
                        auto tmp18 = at::vec::convert<float,2,at::BFloat16,1>(tmp17);
                        auto tmp20 = tmp19 / tmp5;
                        auto tmp21 = float(tmp20 + tmp7);
                        auto tmp22 = 1 / std::sqrt(tmp21);
                        auto tmp23 = at::vec::VectorizedN<float,2>(tmp22);
                        auto tmp24 = tmp18 * tmp23;
                        auto tmp26 = at::vec::convert<float,2,at::BFloat16,1>(tmp25);
                        auto tmp27 = tmp24 * tmp26;
                        auto tmp28 = (tmp27);
                        auto tmp29 = tmp16 + tmp28;
                        auto tmp31 = c10::convert<float>(tmp30);
                        auto tmp32 = at::vec::VectorizedN<float,2>(tmp31);
                        auto tmp33 = tmp29 * tmp32;
                        auto tmp34 = at::vec::convert<at::BFloat16,1,float,2>(tmp33);
                        tmp34.store(in_out_ptr0 + static_cast<int64_t>(x1 + 256L*x0), static_cast<int64_t>(32));
                    }
                }
            }
        }
    }
    inductor_cpu_integer_div_error_flag = nullptr;
    inductor_cpu_throw_if_integer_div_error(inductor_cpu_integer_div_error);
}
''')


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
        arg0_1, arg1_1, arg2_1, arg3_1, arg4_1, arg5_1, arg6_1, arg7_1, arg8_1, arg9_1, arg10_1, arg11_1, arg12_1, arg13_1, arg14_1, arg15_1, arg16_1, arg17_1, arg18_1, arg19_1, arg20_1, arg21_1, arg22_1, arg23_1, arg24_1, arg25_1, arg26_1, arg27_1 = args
        args.clear()
        assert_size_stride(arg0_1, (16, 256), (256, 1), 'input')
        assert_size_stride(arg1_1, (256, ), (1, ), 'input')
        buf0 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf1 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        assert_size_stride(arg2_1, (16384, 256), (256, 1), 'input')
        cpp_fused__to_copy_add_mean_mul_pow_rsqrt_0(arg0_1, arg1_1, buf0, buf1)
        del arg1_1
        del buf0
        buf2 = empty_strided_cpu((16, 16384), (16384, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide, pow_1, mean, add, rsqrt, wide_1, float_2, wide_2, to, linear], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf1, reinterpret_tensor(arg2_1, (256, 16384), (1, 256), 0), out=buf2)
        del arg2_1
        assert_size_stride(arg4_1, (16, ), (1, ), 'input')
        assert_size_stride(arg8_1, (64, 16, 256), (4096, 256, 1), 'input')
        buf12 = empty_strided_cpu((16, 16, 1), (16, 1, 256), torch.float32)
        assert_size_stride(arg6_1, (256, ), (1, ), 'input')
        assert_size_stride(arg3_1, (128, 256), (256, 1), 'input')
        buf4 = empty_strided_cpu((16, 16, 1), (16, 1, 256), torch.float32)
        buf10 = empty_strided_cpu((16, 16, 256), (4096, 256, 1), torch.float32)
        buf8 = reinterpret_tensor(buf10, (16, 16, 128), (4096, 256, 1), 0)  # alias
        buf9 = reinterpret_tensor(buf10, (16, 16, 128), (4096, 256, 1), 128)  # alias
        assert_size_stride(arg7_1, (64, 16, 256), (4096, 256, 1), 'input')
        assert_size_stride(arg5_1, (256, ), (1, ), 'input')
        buf3 = empty_strided_cpu((16, 32, 1), (32, 1, 512), torch.float32)
        buf7 = empty_strided_cpu((16, 32, 256), (8192, 256, 1), torch.float32)
        buf5 = reinterpret_tensor(buf7, (16, 32, 128), (8192, 256, 1), 0)  # alias
        buf6 = reinterpret_tensor(buf7, (16, 32, 128), (8192, 256, 1), 128)  # alias
        buf14 = empty_strided_cpu((16, 32, 256), (8192, 256, 1), torch.bfloat16)
        cpp_fused__to_copy_add_attention_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_1(buf2, arg4_1, arg6_1, arg3_1, buf10, arg5_1, buf7, buf12, arg8_1, buf4, buf8, buf9, arg7_1, buf3, buf5, buf6, buf14)
        del arg3_1
        del arg5_1
        del arg6_1
        del buf10
        del buf3
        del buf5
        del buf6
        del buf7
        del buf8
        del buf9
        # Topologically Sorted Source Nodes: [q_1, attention], Original ATen: [aten._to_copy, triage.attention]
        buf15 = torch.ops.triage.attention.default(buf14, arg7_1, arg8_1)
        del buf14
        buf16 = buf15
        assert_size_stride(buf16, (16, 32, 256), (8192, 256, 1), 'torch.ops.triage.attention.default')
        # buffer buf16 (op: torch.ops.triage.attention.default) is assumed to be not aligned
        del buf15
        assert_size_stride(arg9_1, (256, 8192), (8192, 1), 'input')
        buf17 = buf1; del buf1  # reuse
        # Topologically Sorted Source Nodes: [flatten, linear_1], Original ATen: [aten.view, aten.t, aten.mm]
        extern_kernels.mm(reinterpret_tensor(buf16, (16, 8192), (8192, 1), 0), reinterpret_tensor(arg9_1, (8192, 256), (1, 8192), 0), out=buf17)
        del arg9_1
        del buf16
        assert_size_stride(arg10_1, (256, ), (1, ), 'input')
        assert_size_stride(arg11_1, (256, ), (1, ), 'input')
        buf18 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf19 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf20 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        assert_size_stride(arg12_1, (1024, 256), (256, 1), 'input')
        cpp_fused__to_copy_add_mean_mul_pow_rsqrt_2(buf17, arg0_1, arg10_1, arg11_1, buf18, buf19, buf20)
        del arg11_1
        buf21 = empty_strided_cpu((16, 1024), (1024, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_11, pow_5, mean_4, add_6, rsqrt_4, wide_12, float_11, wide_13, to_6, residual, wide_14, pow_6, mean_5, add_8, rsqrt_5, wide_15, float_13, wide_16, to_7, linear_2], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf20, reinterpret_tensor(arg12_1, (256, 1024), (1, 256), 0), out=buf21)
        del arg12_1
        buf22 = empty_strided_cpu((16, 512), (512, 1), torch.bfloat16)
        assert_size_stride(arg13_1, (256, 512), (512, 1), 'input')
        cpp_fused_gelu_mul_split_3(buf21, buf22)
        del buf21
        buf23 = buf20; del buf20  # reuse
        # Topologically Sorted Source Nodes: [chunk_3, gelu, mul_19, out], Original ATen: [aten.split, aten.gelu, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf22, reinterpret_tensor(arg13_1, (512, 256), (1, 512), 0), out=buf23)
        del arg13_1
        del buf22
        assert_size_stride(arg14_1, (256, ), (1, ), 'input')
        assert_size_stride(arg15_1, (1, ), (1, ), 'input')
        assert_size_stride(arg16_1, (256, ), (1, ), 'input')
        buf24 = buf19; del buf19  # reuse
        buf25 = buf17; del buf17  # reuse
        buf26 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf27 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        assert_size_stride(arg17_1, (16384, 256), (256, 1), 'input')
        cpp_fused__to_copy_add_mean_mul_pow_rsqrt_4(buf25, buf23, arg0_1, buf18, arg10_1, arg14_1, arg15_1, arg16_1, buf24, buf26, buf27)
        del arg0_1
        del arg10_1
        del arg14_1
        del arg15_1
        del arg16_1
        del buf18
        del buf23
        del buf24
        del buf26
        buf28 = buf2; del buf2  # reuse
        # Topologically Sorted Source Nodes: [wide_20, pow_8, mean_7, add_11, rsqrt_7, wide_21, float_17, wide_22, to_9, linear_4], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf27, reinterpret_tensor(arg17_1, (256, 16384), (1, 256), 0), out=buf28)
        del arg17_1
        del buf27
        buf38 = buf4; del buf4  # reuse
        assert_size_stride(arg20_1, (256, ), (1, ), 'input')
        assert_size_stride(arg18_1, (128, 256), (256, 1), 'input')
        buf30 = buf12; del buf12  # reuse
        buf36 = empty_strided_cpu((16, 16, 256), (4096, 256, 1), torch.float32)
        buf34 = reinterpret_tensor(buf36, (16, 16, 128), (4096, 256, 1), 0)  # alias
        buf35 = reinterpret_tensor(buf36, (16, 16, 128), (4096, 256, 1), 128)  # alias
        assert_size_stride(arg19_1, (256, ), (1, ), 'input')
        buf29 = empty_strided_cpu((16, 32, 1), (32, 1, 512), torch.float32)
        buf33 = empty_strided_cpu((16, 32, 256), (8192, 256, 1), torch.float32)
        buf31 = reinterpret_tensor(buf33, (16, 32, 128), (8192, 256, 1), 0)  # alias
        buf32 = reinterpret_tensor(buf33, (16, 32, 128), (8192, 256, 1), 128)  # alias
        buf40 = empty_strided_cpu((16, 32, 256), (8192, 256, 1), torch.bfloat16)
        cpp_fused__to_copy_add_attention_index_index_copy_mean_mul_pow_rsqrt_split_split_with_sizes_sub_unsqueeze_view_1(buf28, arg4_1, arg20_1, arg18_1, buf36, arg19_1, buf33, buf38, arg8_1, buf30, buf34, buf35, arg7_1, buf29, buf31, buf32, buf40)
        del arg18_1
        del arg19_1
        del arg20_1
        del arg4_1
        del buf28
        del buf29
        del buf30
        del buf31
        del buf32
        del buf33
        del buf34
        del buf35
        del buf36
        del buf38
        # Topologically Sorted Source Nodes: [q_3, attention_1], Original ATen: [aten._to_copy, triage.attention]
        buf41 = torch.ops.triage.attention.default(buf40, arg7_1, arg8_1)
        del arg7_1
        del arg8_1
        del buf40
        buf42 = buf41
        assert_size_stride(buf42, (16, 32, 256), (8192, 256, 1), 'torch.ops.triage.attention.default')
        # buffer buf42 (op: torch.ops.triage.attention.default) is assumed to be not aligned
        del buf41
        assert_size_stride(arg21_1, (256, 8192), (8192, 1), 'input')
        buf43 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [flatten_1, linear_5], Original ATen: [aten.view, aten.t, aten.mm]
        extern_kernels.mm(reinterpret_tensor(buf42, (16, 8192), (8192, 1), 0), reinterpret_tensor(arg21_1, (8192, 256), (1, 8192), 0), out=buf43)
        del arg21_1
        del buf42
        assert_size_stride(arg22_1, (256, ), (1, ), 'input')
        assert_size_stride(arg23_1, (256, ), (1, ), 'input')
        buf44 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf45 = empty_strided_cpu((16, 1), (1, 16), torch.float32)
        buf46 = empty_strided_cpu((16, 256), (256, 1), torch.bfloat16)
        assert_size_stride(arg24_1, (1024, 256), (256, 1), 'input')
        cpp_fused__to_copy_add_mean_mul_pow_rsqrt_2(buf43, buf25, arg22_1, arg23_1, buf44, buf45, buf46)
        del arg23_1
        buf47 = empty_strided_cpu((16, 1024), (1024, 1), torch.bfloat16)
        # Topologically Sorted Source Nodes: [wide_31, pow_12, mean_11, add_17, rsqrt_11, wide_32, float_26, wide_33, to_15, residual_1, wide_34, pow_13, mean_12, add_19, rsqrt_12, wide_35, float_28, wide_36, to_16, linear_6], Original ATen: [aten._to_copy, aten.pow, aten.mean, aten.add, aten.rsqrt, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf46, reinterpret_tensor(arg24_1, (256, 1024), (1, 256), 0), out=buf47)
        del arg24_1
        buf48 = empty_strided_cpu((16, 512), (512, 1), torch.bfloat16)
        assert_size_stride(arg25_1, (256, 512), (512, 1), 'input')
        cpp_fused_gelu_mul_split_3(buf47, buf48)
        del buf47
        buf49 = buf46; del buf46  # reuse
        # Topologically Sorted Source Nodes: [chunk_7, gelu_1, mul_42, out_2], Original ATen: [aten.split, aten.gelu, aten.mul, aten.t, aten.mm]
        extern_kernels.mm(buf48, reinterpret_tensor(arg25_1, (512, 256), (1, 512), 0), out=buf49)
        del arg25_1
        del buf48
        assert_size_stride(arg26_1, (256, ), (1, ), 'input')
        assert_size_stride(arg27_1, (1, ), (1, ), 'input')
        buf50 = buf45; del buf45  # reuse
        buf51 = buf25; del buf25  # reuse
        cpp_fused__to_copy_add_mean_mul_pow_rsqrt_5(buf51, buf49, buf43, buf44, arg22_1, arg26_1, arg27_1, buf50)
        del arg22_1
        del arg26_1
        del arg27_1
        return (buf51, )

runner = Runner(partitions=[])
call = runner.call
recursively_apply_fns = runner.recursively_apply_fns


def get_args():
    from torch._dynamo.testing import rand_strided
    _shared_storage_7 = rand_strided((524288,), (1,), device='cpu', dtype=torch.bfloat16)
    arg0_1 = rand_strided((16, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg1_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg2_1 = rand_strided((16384, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg3_1 = rand_strided((128, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg4_1 = rand_strided((16, ), (1, ), device='cpu', dtype=torch.int64)
    arg5_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg6_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg7_1 = torch.as_strided(_shared_storage_7, (64, 16, 256), (4096, 256, 1))
    arg8_1 = torch.as_strided(_shared_storage_7, (64, 16, 256), (4096, 256, 1))
    arg9_1 = rand_strided((256, 8192), (8192, 1), device='cpu', dtype=torch.bfloat16)
    arg10_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg11_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg12_1 = rand_strided((1024, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg13_1 = rand_strided((256, 512), (512, 1), device='cpu', dtype=torch.bfloat16)
    arg14_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg15_1 = rand_strided((1, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg16_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg17_1 = rand_strided((16384, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg18_1 = rand_strided((128, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg19_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg20_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg21_1 = rand_strided((256, 8192), (8192, 1), device='cpu', dtype=torch.bfloat16)
    arg22_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg23_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg24_1 = rand_strided((1024, 256), (256, 1), device='cpu', dtype=torch.bfloat16)
    arg25_1 = rand_strided((256, 512), (512, 1), device='cpu', dtype=torch.bfloat16)
    arg26_1 = rand_strided((256, ), (1, ), device='cpu', dtype=torch.bfloat16)
    arg27_1 = rand_strided((1, ), (1, ), device='cpu', dtype=torch.bfloat16)
    return [arg0_1, arg1_1, arg2_1, arg3_1, arg4_1, arg5_1, arg6_1, arg7_1, arg8_1, arg9_1, arg10_1, arg11_1, arg12_1, arg13_1, arg14_1, arg15_1, arg16_1, arg17_1, arg18_1, arg19_1, arg20_1, arg21_1, arg22_1, arg23_1, arg24_1, arg25_1, arg26_1, arg27_1]


def benchmark_compiled_module(args, times=10, repeat=10):
    from torch._inductor.utils import print_performance
    fn = lambda: call(list(args))
    return print_performance(fn, times=times, repeat=repeat, device='cpu')


if __name__ == "__main__":
    from torch._inductor.wrapper_benchmark import compiled_module_main
    args = get_args()
    compiled_module_main('None', lambda times, repeat: benchmark_compiled_module(args, times=times, repeat=repeat))
