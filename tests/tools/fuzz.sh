#!/bin/sh
# fuzz.sh BUILD SECONDS NAME... - runs each fuzzer on its corpus for so many seconds.
#
# New inputs gather in BUILD/corpus/NAME and crashes in BUILD/findings/; what deserves to stay is
# copied by hand to tests/fuzz/corpus/NAME, where `make test` replays it.
set -u
build=$1 seconds=$2
shift 2
[ $# -gt 0 ] || { echo 'no tests/fuzz/fuzz_*.c' >&2; exit 1; }
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1} OMP_NUM_THREADS=1
failed=0
for name; do
    mkdir -p "$build/corpus/$name" "$build/findings"
    log=$build/$name.log dict=
    [ ! -f "tests/fuzz/$name.dict" ] || dict=-dict=tests/fuzz/$name.dict
    if "$build/fuzz_$name" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 $dict \
        -artifact_prefix="$build/findings/$name-" \
        "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "ok   $name: $runs runs in $seconds s"
    else
        echo "FAIL $name"
        tail -n 60 "$log" | sed 's/^/    /'
        failed=1
    fi
done
exit $failed
