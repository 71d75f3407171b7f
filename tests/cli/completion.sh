#!/bin/bash
# The shells' completion knows every option of --help and no other, and bash's completes as one types.
# shellcheck disable=SC2016 # what bash -c expands
. tests/cli/lib.bash

run 0 --help
options=$(sed -nE '/^  -/p' "$out" | grep -oE '(^|[ ,;])--?[a-z][a-z-]*' | tr -d ' ,;' | sort -u)
[ "$(wc -w <<<"$options")" -ge 20 ] || fail '--help lists too few options'

# completes WORD... : what bash would offer for the last word, sorted, in one line.
completes() {
    bash -c 'source tui/completion/midpass.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _midpass; printf "%s\n" "${COMPREPLY[@]}"' midpass midpass "$@" | sort | paste -sd ' '
}
# offers WHAT WORD...
offers() {
    local what=$1 got
    shift
    got=$(completes "$@")
    [ "$got" = "$what" ] || fail "midpass $*: bash offers \"$got\", not \"$what\""
}

offers "$(paste -sd ' ' <<<"$options")" -
zsh=$(grep -oE "^ *'(\(- \*\)|\*)?--?[a-z][a-z-]*" tui/completion/_midpass | grep -oE -- '-[a-z-]*$|--[a-z-]*$' | sort -u)
[ "$zsh" = "$options" ] || fail "zsh's options are not those of --help: $(diff <(echo "$zsh") <(echo "$options"))"
grep -q '^complete .*_midpass midpass$' tui/completion/midpass.bash || fail 'bash is told of no command'
[ "$(head -n 1 tui/completion/_midpass)" = '#compdef midpass' ] || fail 'zsh is told of no command'

export HF_HUB_CACHE=$folder/hub
mkdir -p "$HF_HUB_CACHE/models--openai--gpt2/snapshots" "$HF_HUB_CACHE/models--some-org--a--b/snapshots" \
    "$HF_HUB_CACHE/models--none--yet" "$folder/at/one two" "$folder/at/other"
touch "$folder/at/one.mp"
# A name is a name, whatever it looks like.
mkdir -p "$HF_HUB_CACHE/models--zz--\$(touch ${folder##*/}.ran)/snapshots"

offers 'openai/gpt2' open
offers "zz/\$(touch ${folder##*/}.ran)" zz
[ ! -e "${folder##*/}.ran" ] || { rm "${folder##*/}.ran"; fail 'a name was run'; }
offers 'openai/gpt2' --batch -ex 'run Hello' --ctx 4 openai/
offers 'some-org/a--b' some
offers 'gpt2' gp
offers '' openai/gpt2 open
offers '' --ids '1 2' openai/gpt2 op
offers "$folder/at/one two $folder/at/other" "$folder/at/o"
offers "$folder/at/one two" -- "$folder/at/one"
offers "$folder/at/one two $folder/at/one.mp" -x "$folder/at/one"
offers "$folder/at/one two $folder/at/one.mp" --resume "$folder/at/one"
offers "$folder/at/other" --allow "$folder/at/ot"
offers 'openai/gpt2' --resume "$folder/at/one.mp" op
offers '--rc --resume --rope' --r
offers 'long' --rope l
offers 'auto long short' --rope =
offers 'short' --rope = s
offers 'openai/gpt2' --rope = short op
offers 'avx2 avx512' --isa avx
offers 'bf16' --dtype b
offers 'cpu cuda' --device c
offers '' --ctx ''
offers '' -ex op
offers '--sessions --slow --stride' openai/gpt2 --s
unset HF_HUB_CACHE
HF_HOME=$folder offers 'openai/gpt2' op
mkdir -p "$folder/huggingface" && mv "$folder/hub" "$folder/huggingface"
XDG_CACHE_HOME=$folder HF_HOME='' offers 'openai/gpt2' op

# Where zsh is, it reads its file.
if command -v zsh >/dev/null; then
    zsh -n tui/completion/_midpass 2>"$err" || fail 'zsh cannot read its file'
else
    echo 'zsh is not here: its completion is compared, not read'
fi
finish
