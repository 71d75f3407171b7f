#!/bin/sh
# valgrind.sh PROGRAM ARG... - the program under valgrind; an error or a leak is exit status 99.
#
# Valgrind's CPU has no AVX-512 and says so, so that the AVX2 code is what runs here.
exec valgrind --quiet --error-exitcode=99 --leak-check=full --num-callers=30 \
    --errors-for-leak-kinds=definite,indirect,possible \
    --show-leak-kinds=definite,indirect,possible \
    --suppressions="$(dirname "$0")/valgrind.supp" "$@"
