#!/bin/bash
# check-deps.sh [ROOT] - fails where a part of midpass knows of another that it should not.
#
# tui -> engine -> kernels and never back; each library that could be replaced is included in one
# file; CUDA stays under kernels/cuda; the engine never ends the program. test-check-deps.sh breaks
# each of these rules and sees that this finds it.
set -u
root=${1:-$(dirname "$0")/../..}
cd "$root" || exit
shopt -s lastpipe # so that what a rule at the end of a pipe finds is not forgotten
found=0

# rule WORDS: tells what stands on standard input, if anything does, as breaking the rule.
rule() {
    local lines
    lines=$(cat)
    [ -n "$lines" ] || return 0
    echo "check-deps: $1"
    printf '%s\n' "$lines" | sed 's/^/    /'
    found=1
}

# sources FOLDER...: the C in those of the folders that are there.
sources() {
    for folder; do
        [ ! -d "$folder" ] || find "$folder" -type f \( -name '*.[ch]' -o -name '*.cu' -o \
            -name '*.cuh' -o -name '*.inc' \) -print0
    done
}
# includes PATTERN FOLDER...: the lines that include something that matches.
includes() {
    local what=$1
    shift
    sources "$@" | xargs -0r grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$what"
}
but() { grep -vE "^($1):" || true; }
# Passes lines on only where they come from more than one file.
of_several() {
    local lines
    lines=$(cat)
    [ "$(printf '%s\n' "$lines" | cut -d: -f1 | sort -u | wc -l)" -le 1 ] ||
        printf '%s\n' "$lines"
}
# The same lines with comments, strings and characters blanked.
bare() {
    awk '{
        line = $0; out = ""
        while (line != "") {
            if (inside) {
                i = index(line, "*/")
                if (!i) break
                inside = 0; line = substr(line, i + 2)
            } else if (match(line, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047/)) {
                token = substr(line, RSTART, 2)
                out = out substr(line, 1, RSTART - 1) " "
                if (token == "//") break
                if (token == "/*") inside = 1
                line = substr(line, RSTART + (token == "/*" ? 2 : RLENGTH))
            } else { out = out line; break }
        }
        print FILENAME ":" FNR ":" out
    }' "$1"
}
calls() { # calls NAMES FOLDER...
    local names=$1
    shift
    sources "$@" | while IFS= read -r -d '' file; do
        bare "$file" | grep -E "(^|[^A-Za-z0-9_])($names)[[:space:]]*\(" || true
    done
}

up='(\.\.?/)*'
includes "$up(engine|tui|tests)/" kernels | rule 'kernels/ knows nothing of the other parts'
includes "$up(tui|tests)/" engine | rule 'engine/ knows nothing of the screen'
includes "${up}tests/" tui | rule 'tui/ knows nothing of the tests'
includes "${up}kernels/(cpu|cuda)/" engine tui | rule 'kernels/kernels.h is the whole contract'

includes '([^>"]*/)?cJSON\.h' tui engine kernels | but engine/base/json.c |
    rule 'cJSON is included in engine/base/json.c alone'
includes '([^>"]*/)?n?curses\.h' tui engine kernels | of_several | rule 'one file includes ncurses'
includes '(readline/|[^>"]*/readline/)' tui engine kernels | of_several |
    rule 'one file includes readline'
includes '([^>"]*/)?((cuda|cublas|nccl|nvml|nvrtc|curand|cooperative_groups)[^/>"]*|mma\.h)[>"]' \
    tui engine kernels tests | but 'kernels/cuda/[^:]*' | rule 'CUDA headers are for kernels/cuda'
sources tui engine tests |
    xargs -0r grep -nHE '^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif)\>.*(CUDA|NVCC)' |
    rule 'with or without CUDA is decided in kernels/ alone'

calls 'exit|_exit|_Exit|quick_exit|abort' engine kernels |
    rule 'engine/ and kernels/ report errors and never end the program'

for name in *; do
    case $name in
    Makefile | README.md | tui | engine | kernels | tests | screenshots) ;;
    build | build-* | compile_commands.json) ;; # as .gitignore says
    *) echo "$name" ;;
    esac
done | rule 'the top level holds Makefile README.md tui engine kernels tests screenshots'

here=()
for name in Makefile README.md .ci tui engine kernels screenshots; do
    [ ! -e "$name" ] || here+=("$name")
done
grep -rnIE '(^|[^A-Za-z0-9_.])/work/|\.\./shared' "${here[@]}" |
    rule 'only tests/ may name what lies outside the repository'

[ $found = 0 ] && echo 'check-deps: each part knows only what it may'
exit $found
