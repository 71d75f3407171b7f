/* matrix.cuh - matrices that are multiplied with a few rows, as the kernels see them. */
#ifndef MIDPASS_CUDA_MATRIX_CUH
#define MIDPASS_CUDA_MATRIX_CUH

#include "kernels/cuda/cuda.cuh"

template <typename T> struct layout {
    const T *data;
    int n_out, n_in, group;
    ptrdiff_t out_stride, in_stride, group_stride;
    __device__ const T *output(int o) const
    {
        return data + (ptrdiff_t)(o / group) * group_stride + (ptrdiff_t)(o % group) * out_stride;
    }
};

/* Products with the same rows. */
template <typename T> struct parts {
    struct layout<T> w[TOGETHER];
    const float *bias[TOGETHER];
    float *out[TOGETHER];
    size_t out_stride[TOGETHER];
};

template <typename T> static struct parts<T> parts_of(const struct product_job *j) {
    struct parts<T> p = {
    };
    for (int i = 0; i < j->parts; i++) {
        const struct matrix *m = &j->w[i];
        p.w[i] = {(const T *)m->data,
                  m->n_out,
                  m->n_in,
                  m->group > 0 ? m->group : m->n_out,
                  m->out_stride,
                  m->in_stride,
                  m->group > 0 ? m->group_stride : 0};
        p.bias[i] = j->bias[i];
        p.out[i] = j->out[i];
        p.out_stride[i] = j->out_stride[i];
    }
    return p;
}

#endif
