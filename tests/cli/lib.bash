# lib.bash - what the scripts here share: a model, a folder, and a count of what failed.
# shellcheck disable=SC2034 # the scripts that read this use what it sets
set -u
: "${MIDPASS:?names the program under test}"
model=tests/golden/models/llama
folder=$(mktemp -d) || exit
trap 'rm -rf "$folder"' EXIT
out=$folder/out err=$folder/err failures=0

fail() {
    echo "FAIL $*"
    echo "  stdout: $(head -c 600 "$out")"
    echo "  stderr: $(head -c 600 "$err")"
    failures=$((failures + 1))
}
# run STATUS ARGUMENT...: runs midpass with nothing on standard input.
run() {
    local status=$1 got=0
    shift
    "$MIDPASS" "$@" >"$out" 2>"$err" </dev/null || got=$?
    [ "$got" = "$status" ] || fail "status $got, not $status: midpass $*"
}
# says FILE WORDS: FILE (out or err) has a line with these words.
says() {
    grep -qF -- "$2" "${!1}" || fail "$1 does not say: $2"
}
silent() {
    [ ! -s "${!1}" ] || fail "$1 says something"
}
finish() {
    [ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
}
