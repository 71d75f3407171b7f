#!/bin/bash
# bundle.sh BUILD FOLDER - everything that the CUDA tests and tests/bench/h200.sh need, in one folder,
# for a machine with a GPU that has none of our libraries: there, `FOLDER/run.sh` runs the tests and
# `FOLDER/run.sh bench` the benchmark, too.
set -eu
cd "$(dirname "$0")/../.."
build=$1 out=$2
[ -f "$build/midpass_cuda.so" ] || {
    echo "bundle: there is no $build/midpass_cuda.so" >&2
    exit 1
}
rm -rf "$out"
mkdir -p "$out/build/tests/kernels" "$out/build/tests/golden" "$out/lib" "$out/tests"
cp "$build/midpass" "$build/midpass_cuda.so" "$out/build"
programs=("$build/midpass" "$build/tests/golden/test_parity" "$build/tests/golden/test_bits")
for test in "$build"/tests/kernels/test_cuda*; do
    case $test in *.d) ;; *) programs+=("$test") ;; esac
done
for p in "${programs[@]:1}"; do
    cp "$p" "$out/${p/#"$build"/build}"
    ln -sf ../../midpass_cuda.so "$(dirname "$out/${p/#"$build"/build}")/"
done
# Our own libraries; the machine has its own libc and CUDA.
ldd "${programs[@]}" | awk '/=> \// { print $3 }' | sort -u |
    grep -E '/lib(cjson|pcre2|utf8proc|cmocka|readline|ncurses|tinfo|gomp)' |
    xargs -I{} cp -L {} "$out/lib"
cp -r tests/golden tests/bench tests/tools "$out/tests"
strip "$out/build/midpass" 2>/dev/null || true
cat >"$out/run.sh" <<'RUN'
#!/bin/bash
cd "$(dirname "$0")" || exit
cuda=$(find /usr/local /opt /usr/lib -name 'libcublas.so.*' -printf '%h\n' 2>/dev/null | sort -u | tr '\n' ':')
export LD_LIBRARY_PATH="$PWD/lib:$cuda${LD_LIBRARY_PATH:-}"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
export TEST_VERBOSE=1
rc=0
timeout 280 tests/tools/test-cuda.sh build || rc=1
[ "${1:-}" != bench ] || timeout 300 tests/bench/h200.sh "$PWD/build" || rc=1
exit $rc
RUN
chmod +x "$out/run.sh"
du -sh "$out"
