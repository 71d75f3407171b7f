#!/bin/bash
# A checkpoint that becomes shorter while it is mapped ends in words, not in a bare SIGBUS.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash
[ "$(head -c 2 "$MIDPASS")" != '#!' ] || { echo 'skipped: not under a wrapper'; exit 77; }

mkdir "$folder/model"
cp tests/golden/models/gpt2/{config.json,model.safetensors} "$folder/model/"
export SHRINK=$folder/model/model.safetensors
got=0
"$MIDPASS" --batch -ex 'shell : >"$SHRINK"' -ex 'ids 1 2 3' -ex finish "$folder/model" \
    >"$out" 2>"$err" </dev/null || got=$?
[ $got = 1 ] || fail "status $got"
says err 'model.safetensors became shorter'
finish
