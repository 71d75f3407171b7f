#!/bin/bash
# What was generated is kept when something takes its place, and comes back with the same bits.
. tests/cli/lib.bash
ids='3 1 4 1 5'
hashes() { sed -nE 's/^([0-9a-f]{16})  .*/\1/p' "$out" | tr '\n' ' '; }

run 0 --batch --ids "$ids" -ex 'generate 6' -ex 'info hash' -ex 'info continuations' \
    -ex 'patch 0.mlp_out scale 3' -ex 'tokens' -ex 'regenerate' -ex 'info hash' -ex 'delete patch 1' \
    -ex 'recall a' -ex finish -ex 'goto -1 logits' -ex 'info hash' -ex 'info continuations' $model
says out 'none was kept yet'; says out 'what was generated is kept: continuation A'
says out 'what was generated is kept: continuation B'
says out '=> A      6 tokens  no patches'; says out '   B      6 tokens  parts at #'
says out 'patches 1: 0.mlp_out scale 3'; says out 'generated before patch 1'
read -r first second third < <(hashes)
[ "$first" = "$third" ] && [ "$first" != "$second" ] || fail "hashes $(hashes)"

# Sampled anew with a patch in force: what a run with it from the start samples.
run 0 --batch --json --ids "$ids" -ex 'patch 0.mlp_out scale 3' -ex 'generate 6' -ex 'info hash' $model
says out "\"hash\":\"$second\""

# From the cursor on, from a position, more of them; undo brings the tokens back, also the same number.
run 0 --batch --ids "$ids" -ex 'generate 6' -ex 'goto 7' -ex 'patch 1.z zero' -ex regenerate -ex undo \
    -ex 'info history' -ex redo -ex 'regenerate from -2 5' -ex tokens $model
says out 'undid: regenerate'; says out '(undone) regenerate'; says out '   #8 '; says out '#13 '
run 1 --batch --ids "$ids" -ex regenerate $model; says err 'nothing was generated yet'
run 1 --batch --ids "$ids" -ex 'generate 2' -ex 'regenerate from 3' $model
says err 'tokens 5 to 6 were generated'
run 1 --batch --ids "$ids" -ex 'generate 2' -ex 'recall C' $model; says err 'there is no continuation C'
run 1 --batch -ex regenerate $model; says err 'there is no prompt yet'

# Another prompt: its own are kept too, and only put behind the prompt that they follow.
run 1 --batch --ids "$ids" -ex 'generate 2' -ex 'ids 7 7' -ex 'info continuations' \
    -ex "save session $folder/kept" -ex 'recall A' $model
says out 'of another prompt'; says err 'follows another prompt'
run 0 --batch -x "$folder/kept" -ex "ids $ids" -ex 'recall A' -ex tokens $model
says out '#6 '
run 0 --batch --json --ids "$ids" -ex 'generate 2' -ex 'patch token 1 = 9' -ex run \
    -ex 'info continuations' -ex 'recall A' -ex tokens $model
says out '"name":"A","position":5,"count":2,"this_prompt":true,"present":false,"branch":5,'
says out '"position":1,"id":9,"generated":false,"stale":false,"patch":1,"was":1'; says out '"generated":true'
# Running again does not take the patched token for the prompt's own.
run 0 --batch --json --ids "$ids" -ex 'patch token 1 = 9' -ex run -ex 'delete patch 1' -ex tokens $model
says out '"position":1,"id":1,'
printf 'restore continuation + 1\n' >"$folder/bad"
run 1 --batch --ids "$ids" -x "$folder/bad" $model; says err 'there is no continuation yet'
printf 'restore continuation 2 1 99999\n' >"$folder/bad"
run 1 --batch --ids "$ids" -x "$folder/bad" $model; says err 'outside the vocabulary'
# What an edit has overtaken is told, token by token, and only where it reaches; so is an edit gone.
run 0 --batch --json --ids "$ids" -ex 'generate 4' -ex 'patch 0.mlp_out at 6 scale 3' -ex tokens $model
says out '"position":6,"id":51,"generated":true,"stale":false,'
says out '"position":7,"id":51,"generated":true,"stale":true,"since":[1],"gone":[]'
run 0 --batch --ids "$ids" -ex 'patch 1.z zero' -ex 'generate 2' -ex 'disable patch 1' -ex tokens \
    -ex 'enable patch 1' -ex 'info continuations' -ex "save session $folder/origin" $model
says out 'generated with patch 1 that is gone'; says out '=> -      2 tokens  patches 1: 1.z zero'
run 0 --batch -x "$folder/origin" -ex 'delete patch 1' -ex tokens $model
says out 'generated with patch 1 that is gone'
# Undo and another prompt keep what they drop; continuation is another word for recall.
run 0 --batch --ids "$ids" -ex 'patch 1.z zero' -ex 'generate 3' -ex undo -ex 'generate 1' -ex undo \
    -ex 'info continuations' -ex 'continuation A' -ex tokens $model
says out 'what was generated is kept: continuation A'; says out '   A      3 tokens  parts at #5'
says out '#7 '; grep -q 'continuation B' "$out" && fail 'the beginning of a kept one was kept, too'
# A patched token that waits for its position is saved, too.
run 0 --batch --ids "$ids" -ex 'patch token 4 = 9' -ex 'ids 1 2' -ex "save session $folder/waits" $model
run 0 --batch -x "$folder/waits" -ex "ids $ids" -ex tokens $model; says out 'by patch 1, was #5'
finish
