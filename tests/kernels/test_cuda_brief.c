/* test_cuda_brief.c - rows that a bf16 device keeps rounded between a prompt's ops: near the
 * reference, which rounds where the device may, and the same bits whoever looks on. */
#include "tests/kernels/gpu.h"

#define OUTPUTS 48

/* A block's second half, in the device's memory: see kernels.h for the ops. */
struct half {
    float *x, *y, *gain, *sum, *centred, *scale, *normalized, *out, *up[2], *post;
    void *pages[4];
};

/* What somebody who looks on has made of it: floats. */
static void look(bool looks, const float *x)
{
    if (looks)
        gpu->widen(gpu, x);
}

static void run(struct half *h, int n, int d, const struct matrix w[2], bool looks)
{
    struct workspace work = {.bytes = gpu->workspace_bytes(gpu, n, 1)};
    enum keeping within = looks ? KEEP_FLOATS : KEEP_NOTHING;
    work.data = gpu->alloc(gpu, work.bytes);
    assert_non_null(work.data);
    gpu->add(gpu, h->x, h->y, h->sum, (size_t)n * (size_t)d);
    gpu->rows_save(gpu, h->pages, 64, DTYPE_F32, d, 3, n, h->sum);
    gpu->brief(gpu, h->centred, n, d, within);
    gpu->center(gpu, h->sum, h->centred, n, d);
    gpu->rms(gpu, h->centred, 1e-5f, h->scale, n, d);
    gpu->brief(gpu, h->normalized, n, d, within);
    gpu->divide(gpu, h->centred, h->scale, h->normalized, n, d);
    gpu->brief(gpu, h->out, n, d, KEEP_ROUNDED);
    gpu->gain(gpu, h->normalized, h->gain, NULL, h->out, n, d);
    look(looks, h->out);
    for (int i = 0; i < 2; i++) {
        gpu->brief(gpu, h->up[i], n, OUTPUTS, KEEP_ROUNDED);
        gpu->matmul(gpu, h->out, (size_t)d, &w[i], NULL, h->up[i], OUTPUTS, n, work);
        look(looks, h->up[i]);
    }
    gpu->brief(gpu, h->post, n, OUTPUTS, KEEP_ROUNDED);
    gpu->gate(gpu, ACT_SILU, h->up[0], h->up[1], h->post, (size_t)n * OUTPUTS);
    gpu->widen(gpu, h->post);
    gpu->brief(gpu, NULL, 0, 0, KEEP_FLOATS);
    gpu->free(gpu, work.data);
}

static float *round_all(float *x, size_t n)
{
    round_for(x, n);
    return x;
}

static void halves_of(int n, int d)
{
    size_t count = (size_t)n * (size_t)d, weights = (size_t)OUTPUTS * (size_t)d;
    size_t outputs = (size_t)n * OUTPUTS, page = 64 + (size_t)KV_PAGE * (size_t)d * sizeof(float);
    float *x = random_floats(count), *y = random_floats(count), *gain = random_floats((size_t)d);
    float *norm = blank_floats(count), *scale = blank_floats((size_t)n), *up[2], *post, *got[2];
    uint16_t *bits = malloc(weights * sizeof *bits);
    struct matrix w[2], far[2];
    cpu->add(cpu, x, y, norm, count);
    float *sum = malloc(count * sizeof *sum);
    memcpy(sum, norm, count * sizeof *sum);
    cpu->center(cpu, norm, norm, n, d);
    cpu->rms(cpu, norm, 1e-5f, scale, n, d);
    cpu->divide(cpu, norm, scale, norm, n, d);
    cpu->gain(cpu, norm, gain, NULL, norm, n, d);
    round_for(norm, count);
    for (int i = 0; i < 2; i++) {
        float *full = round_all(random_floats(weights), weights);
        for (size_t k = 0; k < weights; k++) {
            full[k] = as_bf16(full[k] * 2 / sqrtf((float)d));
            uint32_t u;
            memcpy(&u, &full[k], sizeof u);
            bits[k] = (uint16_t)(u >> 16);
        }
        w[i] = (struct matrix){.data = full,
                               .dtype = DTYPE_F32,
                               .n_out = OUTPUTS,
                               .n_in = d,
                               .out_stride = d,
                               .in_stride = 1};
        far[i] = w[i];
        far[i].dtype = DTYPE_BF16;
        far[i].data = put(bits, weights * sizeof *bits);
        up[i] = blank_floats(outputs);
        cpu->matmul(cpu, norm, (size_t)d, &w[i], NULL, up[i], OUTPUTS, n, (struct workspace){0});
        round_for(up[i], outputs);
    }
    post = blank_floats(outputs);
    cpu->gate(cpu, ACT_SILU, up[0], up[1], post, outputs);
    for (int looks = 0; looks < 2; looks++) {
        struct half h = {put_floats(x, count),
                         put_floats(y, count),
                         put_floats(gain, (size_t)d),
                         put_blank(count),
                         put_blank(count),
                         put_blank((size_t)n),
                         put_blank(count),
                         put_blank(count),
                         {put_blank(outputs), put_blank(outputs)},
                         put_blank(outputs),
                         {NULL}};
        for (int i = 0; i < 4; i++)
            h.pages[i] = gpu->alloc(gpu, page);
        run(&h, n, d, far, looks);
        float *saved = put_blank(count);
        gpu->rows_load(gpu, h.pages, 64, DTYPE_F32, d, 3, n, saved);
        got[looks] = get_floats(h.post, outputs);
        float *kept = get_floats(saved, count), *far_sum = get_floats(h.sum, count);
        float *far_scale = get_floats(h.scale, (size_t)n);
        expect_same("the sum", gpu, sum, far_sum, count);
        expect_same("the sum, kept", gpu, sum, kept, count);
        expect_all("scale", scale, far_scale, (size_t)n, TOLERANCE);
        for (size_t i = 0; i < outputs; i++)
            expect_near("post", post, got[looks], i,
                        0.02 * (1 + fabs((double)up[0][i])) * (1 + fabs((double)up[1][i])));
        float *rest[] = {h.x, h.y, h.gain, h.centred, h.normalized, h.out, h.up[0], h.up[1]};
        for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
            gpu->free(gpu, rest[i]);
        for (int i = 0; i < 4; i++)
            gpu->free(gpu, h.pages[i]);
        free(kept), free(far_sum), free(far_scale);
    }
    expect_same("looked at", gpu, got[0], got[1], outputs);
    for (int i = 0; i < 2; i++) {
        gpu->free(gpu, (void *)far[i].data);
        free((void *)w[i].data), free(up[i]), free(got[i]);
    }
    free(x), free(y), free(gain), free(norm), free(scale), free(sum), free(post), free(bits);
}

static void halves(void **state)
{
    NEEDS_GPU();
    static const int sizes[][2] = {{20, 1028}, {9, 64}, {33, 4096}, {12, 8192}, {16, 20}, {3, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        halves_of(sizes[i][0], sizes[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(halves)};
    int f32 = cmocka_run_group_tests_name("CUDA: rounded rows, f32", tests, open_f32, close_both);
    return f32 +
           cmocka_run_group_tests_name("CUDA: rounded rows, bf16", tests, open_bf16, close_both);
}
