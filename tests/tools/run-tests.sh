#!/bin/bash
# run-tests.sh BUILD TEST... - runs the tests, a few at a time, and counts what they say.
#
# A TEST is a cmocka program, a replay_NAME (run on tests/fuzz/corpus/NAME), or a .sh, which counts
# as one test and is skipped if it exits 77. All run in the repository's root with MIDPASS naming
# the program under test. What a failing one printed is shown. The last line is the sum of all.
#
# TEST_TIMEOUT  seconds for each, 300 by default      TEST_JOBS  how many at a time
# TEST_WRAP     put in front of each program and of MIDPASS: tests/tools/valgrind.sh
# TEST_ARGS     given to each cmocka program             TEST_VERBOSE  1: show what passes, too
# shellcheck disable=SC2206 # TEST_WRAP and TEST_ARGS are split on purpose
set -u
cd "$(dirname "$0")/../.." || exit
given=$1 build=$1; shift
limit=${TEST_TIMEOUT:-300} wrap=${TEST_WRAP:-}
cpus=$(nproc 2>/dev/null || echo 2)
jobs=${TEST_JOBS:-$cpus}

case $build in /*) ;; *) build=$PWD/$build ;; esac
logs=$build/logs
rm -rf "$logs" && mkdir -p "$logs/home" || exit

export MIDPASS=$build/midpass
if [ -n "$wrap" ]; then
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$PWD/$wrap" "$MIDPASS" >"$logs/midpass"
    chmod +x "$logs/midpass"
    MIDPASS=$logs/midpass
fi
# Nobody's settings, history or terminal may decide how a test ends.
export HOME=$logs/home LC_ALL=C.UTF-8 TERM=xterm-256color CMOCKA_MESSAGE_OUTPUT=STDOUT
unset "${!XDG_@}" "${!CMOCKA_XML@}" "${!HF_@}" CMOCKA_TEST_FILTER CMOCKA_SKIP_FILTER
unset NO_COLOR COLORTERM COLUMNS LINES INPUTRC
# A few threads each, which sleep while they wait: the tests beside them want the CPUs, too.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cpus < 4 ? cpus : 4))} OMP_WAIT_POLICY=passive
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:halt_on_error=1:allocator_may_return_null=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$PWD/tests/tools/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}

# "[  PASSED  ] 3 test(s)." of every group in the log, added up. Newer releases of cmocka put the
# group's name before some of the numbers.
sum_of() {
    sed -nE "s/^\[ +$1 +\] (.*: )?([0-9]+) test\(s\).*/\2/p" "$2" | awk '{ n += $1 } END { print n + 0 }'
}

run_one() {
    local test=$1 log=$logs/$2.log start=$EPOCHREALTIME rc=0 passed failed=0 skipped=0 note=
    local -a command=("$test")
    case $test in
    *.sh) ;;
    */replay_*) command=($wrap "$test" "tests/fuzz/corpus/${test##*/replay_}") ;;
    *) command=($wrap "$test" ${TEST_ARGS:-}) ;;
    esac
    timeout -k 10 "$limit" "${command[@]}" >"$log" 2>&1 </dev/null || rc=$?

    case $test in
    *.sh | */replay_*)
        passed=$((rc == 0)) skipped=$((rc == 77))
        failed=$((!passed && !skipped)) ;;
    *)
        passed=$(sum_of PASSED "$log") failed=$(sum_of FAILED "$log")
        skipped=$(sum_of SKIPPED "$log")
        # Died before it could sum up: what it had finished counts, and so does its death.
        ((rc == 0 || passed + failed)) || passed=$(grep -c '^\[ *OK \]' "$log")
        ((rc == 0 || failed)) || failed=1
        ((passed + failed + skipped)) || { failed=1 note=', no test ran'; } ;;
    esac
    ((rc != 124 && rc != 137)) || note=", stopped after $limit s"
    ((rc < 128 || rc == 137)) || note=", signal $((rc - 128))"
    ((failed == 0 || rc == 0 || ${#note})) || note=", exit $rc"

    local time=$(((${EPOCHREALTIME/./} - ${start/./}) / 10000))
    {
        flock 9
        printf '%-4s %-44s %4d.%02d s %5d passed' "$( ((failed)) && echo FAIL || echo ok)" \
            "${test#"$given/"}" $((time / 100)) $((time % 100)) "$passed"
        ((!failed)) || printf ', %d failed' "$failed"
        ((!skipped)) || printf ', %d skipped' "$skipped"
        printf '%s\n' "$note"
        if ((failed)) || [ "${TEST_VERBOSE:-}" = 1 ]; then sed 's/^/    /' "$log"; fi
        echo "$passed $failed $skipped" >>"$logs/counts"
    } 9>"$logs/lock"
}

: >"$logs/counts"
n=0
for test; do
    while (($(jobs -rp | wc -l) >= jobs)); do wait -n; done
    n=$((n + 1))
    run_one "$test" "$n-$(basename "$test")" &
done
wait

read -r passed failed skipped lines <<<"$(awk '{ p += $1; f += $2; s += $3 }
    END { print p + 0, f + 0, s + 0, NR }' "$logs/counts")"
failed=$((failed + n - lines)) # a test whose counts were lost has not passed
echo "$passed passed, $failed failed$( ((!skipped)) || echo ", $skipped skipped")"
((failed == 0 && passed > 0))
