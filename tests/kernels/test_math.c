/* test_math.c - exp, tanh, erf and the activations: their error against double, over all
 * floats in steps, and what they do at the ends. The scalar ones are measured; every other
 * instruction set must give the same bits on the same numbers. */
#include "tests/kernels/compare.h"

#include "kernels/cpu/simd_scalar.h"
#include "kernels/cpu/vector_math.h"

#define STEP 1021 /* of 2^32 floats: a prime, so that low bits vary */

static float my_exp(float x)
{
    return vec_exp(x);
}

static float my_tanh(float x)
{
    return vec_tanh(x);
}

static float my_erf(float x)
{
    return vec_erf(x);
}

/* The distance in units of the last place of a float of want's size. */
static double ulps(float got, double want)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : INFINITY;
    if ((double)got == want || got == (float)want)
        return 0;
    int exponent;
    frexp(want, &exponent);
    double unit = ldexp(1, exponent - 24 > -149 ? exponent - 24 : -149);
    return fabs((double)got - want) / unit;
}

static void sweep(const char *name, float (*f)(float), double (*g)(double), double bound)
{
    double worst = 0;
    float at = 0;
    for (uint64_t bits = 0; bits < 0x100000000u; bits += STEP) {
        float x = of_bits((uint32_t)bits);
        double u = ulps(f(x), g((double)x));
        if (!(u <= worst)) {
            worst = u;
            at = x;
        }
    }
    /* The middle again and finer, where a sweep over all exponents is thin. */
    for (int i = -1000000; i <= 1000000; i++) {
        float x = (float)i * 1.04e-4f;
        double u = ulps(f(x), g((double)x));
        if (!(u <= worst)) {
            worst = u;
            at = x;
        }
    }
    printf("  %s: %.3f ulp at %.9g\n", name, worst, (double)at);
    if (!(worst <= bound))
        fail_msg("%s is %.3f ulp off at %.9g", name, worst, (double)at);
}

static void exp_is_close(void **state)
{
    (void)state;
    sweep("exp", my_exp, exp, 1.0);
    assert_true(my_exp(0.0f) == 1 && my_exp(-0.0f) == 1);
    assert_true(my_exp(-INFINITY) == 0 && my_exp(INFINITY) == INFINITY && isnan(my_exp(NAN)));
    assert_true(my_exp(89) == INFINITY && my_exp(88.72f) < INFINITY);
    assert_true(my_exp(-103.9f) == 0x1p-149f && my_exp(-104) == 0);
}

static void tanh_is_close(void **state)
{
    (void)state;
    sweep("tanh", my_tanh, tanh, 1.5);
    assert_true(bits_of(my_tanh(-0.0f)) == 0x80000000u && bits_of(my_tanh(0.0f)) == 0);
    assert_true(my_tanh(INFINITY) == 1 && my_tanh(-INFINITY) == -1 && isnan(my_tanh(NAN)));
}

static void erf_is_close(void **state)
{
    (void)state;
    sweep("erf", my_erf, erf, 1.5);
    assert_true(bits_of(my_erf(-0.0f)) == 0x80000000u && bits_of(my_erf(0.0f)) == 0);
    assert_true(my_erf(INFINITY) == 1 && my_erf(-INFINITY) == -1 && isnan(my_erf(NAN)));
}

/* gelu's own formula cancels far below zero, so there the error is held against the size of
 * its terms: that is the formula's, not ours. */
static void activations_are_close(void **state)
{
    (void)state;
    for (int i = -100000; i <= 100000; i++) {
        float x = (float)i * 2e-4f;
        double v = (double)x, room = fabs(v) * 3e-7 + 1e-37;
        double silu = v / (1 + exp(-v)), gelu = v / 2 * (1 + erf(v / sqrt(2)));
        double inner = sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v);
        double gelu_tanh = v / 2 * (1 + tanh(inner));
        assert_true(fabs((double)vec_activate(ACT_SILU, x) - silu) <= fabs(silu) * 3e-7 + 1e-37);
        assert_true(fabs((double)vec_activate(ACT_GELU, x) - gelu) <= room);
        assert_true(fabs((double)vec_activate(ACT_GELU_TANH, x) - gelu_tanh) <= room);
        assert_true(vec_activate(ACT_RELU, x) == (x > 0 ? x : 0));
    }
    for (int f = 0; f < ACT_N; f++) {
        assert_true(isnan(vec_activate((enum activation)f, NAN)));
        assert_true(vec_activate((enum activation)f, INFINITY) == INFINITY);
        assert_true(vec_activate((enum activation)f, 0.0f) == 0);
    }
}

/* All activations and the exponential (through a softmax of two) on floats of every size. */
static void every_isa_has_the_same_bits(void **state)
{
    enum { BLOCK = 1 << 16 };
    float *x = blank_floats(BLOCK), *want = blank_floats(BLOCK), *got = blank_floats(BLOCK);
    uint64_t bits = 0;
    (void)state;
    while (bits < 0x100000000u) {
        for (int i = 0; i < BLOCK; i++, bits += STEP)
            x[i] = of_bits((uint32_t)bits);
        for (int f = 0; f < ACT_N; f++) {
            backends[0]->activate(backends[0], (enum activation)f, x, want, BLOCK);
            for (int i = 1; i < n_backends; i++) {
                backends[i]->activate(backends[i], (enum activation)f, x, got, BLOCK);
                expect_same("activate", backends[i], want, got, BLOCK);
            }
        }
        for (int i = 0; i < BLOCK; i += 2)
            x[i] = 0;
        backends[0]->probabilities(backends[0], x, want, BLOCK / 2, 2);
        for (int i = 1; i < n_backends; i++) {
            backends[i]->probabilities(backends[i], x, got, BLOCK / 2, 2);
            expect_same("probabilities", backends[i], want, got, BLOCK);
        }
    }
    free(x);
    free(want);
    free(got);
}

static int setup(void **state)
{
    static const int threads[] = {1};
    (void)state;
    backends_open(threads, 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_close),
        cmocka_unit_test(tanh_is_close),
        cmocka_unit_test(erf_is_close),
        cmocka_unit_test(activations_are_close),
        cmocka_unit_test(every_isa_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, setup, backends_teardown);
}
