/* single.cu - one query over many keys, on GPUs before 9.0: as token.cu does it, a launch for each.
 * A block takes a turn (query.cuh). */
#include "kernels/cuda/query.cuh"

/* C: 16-byte chunks of a head that a lane holds. */
template <typename T, int C>
__global__ void __launch_bounds__(SEEKERS)
    single_kernel(const __grid_constant__ struct attention_stage s)
{
    constexpr int VEC = 16 / (int)sizeof(T), N = C * VEC, STEP = step_of<T>::KEYS;
    __shared__ struct query_room room;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int head = (int)blockIdx.y, g = head / (s.a.n_heads / s.a.n_kv_heads), split = (int)blockIdx.x;
    struct stretch keys = stretch_of(s, split);
    own_row<T>(s, head, has_own(s, split), split == 0, &room);
    __syncthreads();
    float q[N];
    struct mixed<N> m = {
        - INFINITY, 0,
        {
        }
    };
    lane_take<T, C>(room.query, q);
    for (int k0 = keys.from + warp * STEP; k0 < keys.to; k0 += SEEK_WARPS * STEP) {
        const T *key[2] = {}, *value[2] = {};
        int there = 0;
#pragma unroll
        for (int i = 0; i < step_of<T>::EACH; i++) {
            int k = k0 + 8 * i + lane / 4;
            there += k < keys.to;
            k = k < keys.to ? k : keys.to - 1;
            key[i] = paged<T>(s.kv, s.kv.key_offset, g, k);
            value[i] = paged<T>(s.kv, s.kv.value_offset, g, k);
        }
        seek_step<T, C, false>(s, q, key, value, there, &m);
    }
    turn_end<T, C, 0>(s, head, split, q, &m, &room);
}

template <typename T, int C> static void run(struct cuda *c, const struct attention_stage *s)
{
    dim3 grid((unsigned)s->splits, (unsigned)s->a.n_heads);
    single_kernel<T, C><<<grid, SEEKERS, 0, c->stream>>>(*s);
    launched(c, "attention");
}

void single_launch(struct cuda *c, const struct attention_stage *s)
{
    bool two_bytes = c->b.dtype == DTYPE_BF16;
    int chunks = (s->a.d_head / (two_bytes ? 8 : 4) + 3) / 4; /* as token.cu cuts them */
    if (two_bytes && chunks == 1)
        run<bf16, 1>(c, s);
    else if (two_bytes && chunks == 2)
        run<bf16, 2>(c, s);
    else if (two_bytes && chunks == 3)
        run<bf16, 3>(c, s);
    else if (two_bytes)
        run<bf16, 4>(c, s);
    else if (chunks <= 2)
        run<float, 2>(c, s);
    else if (chunks <= 4)
        run<float, 4>(c, s);
    else if (chunks <= 6)
        run<float, 6>(c, s);
    else
        run<float, 8>(c, s);
}
