#!/bin/sh
# test-cuda.sh BUILD - the tests that can take the CUDA backend, with it.
#
# tests/kernels/test_cuda*.c are made for it (and skip themselves in `make test`, which has no GPU);
# tests/golden/test_parity takes the device as its argument.
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
set --
for test in "$build"/tests/kernels/test_cuda* "$build"/tests/golden/test_parity; do
    case $test in *\** | *.d) ;; *) set -- "$@" "$test" ;; esac
done
# One at a time: they share the GPU's memory, and some of them measure it.
TEST_JOBS=1 TEST_ARGS=cuda exec tests/tools/run-tests.sh "$build" "$@"
