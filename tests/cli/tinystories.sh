#!/bin/bash
# A published checkpoint, as a user meets it. Skipped where it is not at hand.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash
model=../shared/models/tinystories-656k
[ -f $model/model.safetensors ] || { echo "skipped: no $model"; exit 77; }

run 0 --batch -ex 'run Once upon a time' -ex finish -ex 'top 5' -ex 'print 1.pattern[3]' \
    -ex 'print norm(0.resid_post)' -ex "dump $folder/out.safetensors" $model
says out '   0  0.929083    17.3808     313  ", a "'
says out '$1 = [6, 6]'; says out ' [0.4222 0.0504 0.3880 0.1118 0.0253 0.0023]]'
says out '$2 = 148.955'; says out 'out.safetensors: 46 arrays'
[ "$(head -c 100000 "$folder/out.safetensors" | grep -ac '"blocks.1.attn.hook_pattern":{"dtype":"F32","shape":\[8,6,6\]')" = 1 ] ||
    fail 'the dump lacks a pattern'
run 0 --batch -ex 'generate 20' $model 'Once upon a time'
says out ', a little girl named Lily lived in a small house with her mom'
# The prompt on the command line is what run gives.
run 0 --batch --json -ex 'run Once upon a time' -ex tokens $model; tail -n 1 "$out" >"$folder/a"
run 0 --batch --json -ex tokens $model 'Once upon a time'; tail -n 1 "$out" >"$folder/b"
cmp -s "$folder/a" "$folder/b" || fail 'a prompt on the command line is another one'
# What one types with, the others have: threads, chunks, strides, instruction sets.
for how in '--threads 1' '--threads 3' '--chunk 1' '--chunk 7 --stride 2' '--isa scalar'; do
    # shellcheck disable=SC2086
    run 0 --batch --json $how -ex finish -ex 'p logits' $model 'Once upon a time'
    tail -n 1 "$out" >"$folder/now"
    [ -f "$folder/first" ] || cp "$folder/now" "$folder/first"
    cmp -s "$folder/first" "$folder/now" || fail "other logits with $how"
done
finish
