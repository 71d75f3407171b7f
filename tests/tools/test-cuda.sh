#!/bin/bash
# test-cuda.sh BUILD - the tests that can take the CUDA backend, with it.
#
# tests/kernels/test_cuda*.c are made for it (and skip themselves in `make test`, which has no GPU);
# tests/golden/test_parity and test_bits (of --exact) take the device as their argument, and bf16
# behind it.
#
# SANITIZE=1: the tiny checkpoints and the tests above under compute-sanitizer instead, once for bad
# accesses (memcheck), once for races (racecheck); each program for $SANITIZE_SECONDS at most (600).
set -u
cd "$(dirname "$0")/../.." || exit
build=$1
[ -f "$build/midpass_cuda.so" ] || {
    echo "test-cuda: there is no $build/midpass_cuda.so: it takes nvcc to build it" >&2
    exit 1
}
nvidia-smi -L >/dev/null 2>&1 || {
    echo 'test-cuda: nvidia-smi finds no GPU' >&2
    exit 1
}
export MIDPASS_TEST_DEVICE=cuda
parity=$build/tests/golden/test_parity bits=$build/tests/golden/test_bits
made=()
for test in "$build"/tests/kernels/test_cuda*; do
    case $test in *\** | *.d) ;; *) made+=("$test") ;; esac
done

if [ "${SANITIZE:-}" ]; then
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer) || {
        echo 'test-cuda: there is no compute-sanitizer; it comes with the CUDA toolkit' >&2
        exit 1
    }
    logs=$build/sanitize
    rm -rf "$logs" && mkdir -p "$logs" || exit
    rc=0
    # Asking for more memory than there is, as a test does, is no error of ours.
    check() { # TOOL NAME COMMAND...: a line, and the log where it is not clean
        local tool=$1 log=$logs/$1-$2.log start=$SECONDS code=0 said
        shift
        timeout -k 5 "${SANITIZE_SECONDS:-600}" "$sanitizer" --tool "$tool" \
            --report-api-errors no --error-exitcode 99 "${@:2}" >"$log" 2>&1 </dev/null || code=$?
        said=$(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$log" | sed 's/^=* *//')
        printf '%-9s %-24s exit %d, %d s: %s\n' "$tool" "$1" "$code" $((SECONDS - start)) \
            "${said:-no summary}"
        ((code == 0)) || tail -n 20 "$log"
        return "$code"
    }
    for tool in memcheck racecheck; do
        check $tool parity-f32 "$parity" cuda || rc=1
        check $tool parity-bf16 "$parity" cuda bf16 || rc=1
        check $tool exact-bf16 "$bits" cuda bf16 || rc=1
        for test in "${made[@]}"; do
            check $tool "$(basename "$test")" "$test" || rc=1
        done
    done
    exit $rc
fi

# One at a time: they share the GPU's memory, and some of them measure it.
rc=0
TEST_JOBS=1 TEST_ARGS=cuda tests/tools/run-tests.sh "$build" "${made[@]}" "$parity" "$bits" || rc=1
TEST_JOBS=1 TEST_ARGS='cuda bf16' tests/tools/run-tests.sh "$build" "$parity" "$bits" || rc=1
exit $rc
