#!/bin/bash
# The command line's completion for bash: options, their values, folders, cached models.
. tests/cli/lib.bash
program=$folder/midpass
ln -s "$(realpath "$MIDPASS")" "$program"
# shellcheck source=/dev/null
. tui/completion/midpass.bash
# complete_words WORD...: what the last word may become.
complete_words() {
    COMP_WORDS=("$program" "$@") COMP_CWORD=$#
    _midpass
    printf '%s\n' "${COMPREPLY[@]}" >"$out"
}
: >"$err"
complete_words --
for option in $("$MIDPASS" --help | grep -oE -- '--[a-z-]+' | sort -u); do says out "$option"; done
complete_words --device cu; says out cuda; grep -qx cpu "$out" && fail 'cpu does not begin with cu'
complete_words --isa avx; says out avx512
complete_words tests/golden/mod; says out tests/golden/models
mkdir -p "$folder/hub/models--EleutherAI--pythia-70m"
HF_HUB_CACHE=$folder/hub complete_words Eleu; says out EleutherAI/pythia-70m
complete_words -x tests/models/circuits/ind; says out tests/models/circuits/induction.mp
complete_words --ids 1; [ "$(cat "$out")" = '' ] || fail 'ids cannot be completed'
# That for zsh, where there is a zsh: it can be read, and knows the values.
if command -v zsh >/dev/null; then zsh -n tui/completion/_midpass || fail 'zsh cannot read it'; fi
finish
