#!/bin/sh
# lint.sh FLAG... - clang-tidy over all C, with the flags it is compiled with; cppcheck without it.
# AVX2 and AVX512 hold the flags of the files for those.
cd "$(dirname "$0")/../.." || exit
files=$(find tui engine kernels tests -name '*.c' | sort)
jobs=$(nproc 2>/dev/null || echo 2)
if command -v clang-tidy >/dev/null; then
    for file in $files; do
        case $file in
        *_avx2.c) isa=${AVX2:-} ;;
        *_avx512.c) isa=${AVX512:-} ;;
        *) isa= ;;
        esac
        echo "$file -- $* $isa -fopenmp"
    done | xargs -P "$jobs" -L 1 clang-tidy --quiet 2>/dev/null # where it counts, not tells
elif command -v cppcheck >/dev/null; then
    cppcheck --quiet -j "$jobs" --std=c11 --error-exitcode=1 --inline-suppr \
        --enable=warning,portability --suppress=missingIncludeSystem -I. $files
else
    echo 'lint: neither clang-tidy nor cppcheck is here' >&2
    exit 1
fi
