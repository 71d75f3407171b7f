#!/bin/bash
# test-check-deps.sh - breaks each rule of check-deps.sh in a small tree, and sees that it is found.
set -u
check=$(cd "$(dirname "$0")" && pwd)/check-deps.sh
tree=$(mktemp -d) || exit
trap 'rm -rf "$tree"' EXIT
failed=0

# put FILE LINE: adds a line to a file of the tree.
put() {
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" >>"$tree/$1"
}

# A tree that breaks no rule, though it comes near.
fresh() {
    rm -rf "$tree" && mkdir "$tree"
    put Makefile 'all:'
    put README.md 'midpass works/ here'
    put .ci/run 'make test'
    put .hidden 'a dot file'
    put build/anything 'x'
    put screenshots/one.txt 'x'
    put kernels/kernels.h '#include <stdint.h>'
    put kernels/backend.c '#include "kernels/kernels.h"'
    put kernels/backend.c '#ifdef MIDPASS_CUDA'
    put kernels/cpu/avx2.c '#include "kernels/cpu/cpu.h"'
    put kernels/cuda/add.cu '#include <cuda_runtime.h>'
    put kernels/cuda/add.cu '#include <cublas_v2.h>'
    put engine/base/json.c '#include <cjson/cJSON.h>'
    put engine/base/error.c '#include "kernels/kernels.h"'
    put engine/base/file.c '#include <sys/mman.h>'
    put engine/base/error.c '/* never exit(1) here,'
    put engine/base/error.c '   and no abort() either */'
    put engine/base/error.c 'say("do not exit(1)", on_exit(f), "\"abort()"); // exit(2)'
    put engine/base/error.c 'int exit_code = 0, cudaless;'
    put tui/screen.c '#include <ncurses.h>'
    put tui/screen.c '#include "engine/base/error.h"'
    put tui/prompt.c '#include <readline/readline.h>'
    put tui/prompt.c '#include <readline/history.h>'
    put tui/main.c 'exit(1);'
    put tests/unit/test_json.c '#include <cjson/cJSON.h>'
    put tests/unit/test_json.c 'open("../shared/x"); abort();'
}

# finds WORD: check-deps fails on the tree and names the word.
finds() {
    local said
    if said=$("$check" "$tree" 2>&1); then
        echo "not found: $1"
        failed=1
    elif [[ $said != *"$1"* ]] || [ "$(grep -c '^check-deps:' <<<"$said")" != 1 ]; then
        echo "expected $1 and nothing else, but it says:"
        echo "$said"
        failed=1
    fi
    cases=$((cases + 1))
}
breaks() { # FILE LINE WORD
    fresh
    put "$1" "$2"
    finds "$3"
}

cases=1
fresh
said=$("$check" "$tree" 2>&1) || { echo "a clean tree is refused: $said"; failed=1; }

breaks kernels/backend.c '#include "engine/base/error.h"' 'kernels/backend.c:3'
breaks kernels/cpu/avx2.c '  #  include "../../tui/x.h"' 'kernels/cpu/avx2.c:2'
breaks kernels/cuda/add.cu '#include "engine/base/error.h"' 'kernels/cuda/add.cu:3'
breaks engine/base/error.c '#include "tui/screen.h"' 'engine/base/error.c:6'
breaks engine/base/error.h '#include "../../tests/support/x.h"' 'engine/base/error.h:1'
breaks tui/main.c '#include "tests/support/x.h"' 'tui/main.c:2'
breaks engine/base/error.c '#include "kernels/cpu/cpu.h"' 'engine/base/error.c:6'
breaks engine/model/config.c '#include <cjson/cJSON.h>' 'engine/model/config.c:1'
breaks tui/main.c '#include "cJSON.h"' 'tui/main.c:2'
breaks tui/panels/heat.c '#include <ncursesw/curses.h>' 'tui/panels/heat.c:1'
breaks engine/debug/line.c '#include <readline/history.h>' 'engine/debug/line.c:1'
breaks kernels/backend.c '#include <cuda_runtime.h>' 'kernels/backend.c:3'
breaks engine/base/error.c '#include <cublas_v2.h>' 'engine/base/error.c:6'
breaks tests/unit/test_x.c '#include <cuda.h>' 'tests/unit/test_x.c:1'
breaks engine/base/error.c '#ifdef MIDPASS_CUDA' 'engine/base/error.c:6'
breaks tui/main.c '# if defined(__NVCC__)' 'tui/main.c:2'
breaks tests/unit/test_x.c '#elif WITH_CUDA' 'tests/unit/test_x.c:1'
breaks engine/base/error.c 'if (x) exit (1);' 'engine/base/error.c:6'
breaks kernels/backend.c '/* a */ abort(); /* b */' 'kernels/backend.c:3'
breaks kernels/cuda/add.cu '_exit(1);' 'kernels/cuda/add.cu:3'
breaks notes.txt 'x' notes.txt
breaks docs/page.md 'x' docs
breaks Makefile 'MODEL = /work/models/x' 'Makefile:2'
breaks tui/main.c 'open("../shared/x");' 'tui/main.c:2'
breaks README.md 'see ../shared/reference' 'README.md:2'
breaks .ci/run 'cd /work/x' '.ci/run:2'

[ $failed = 0 ] && echo "$cases trees judged rightly"
exit $failed
