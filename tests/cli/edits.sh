#!/bin/bash
# Edits with TransformerLens's axes, edges of attention, and undo, as one types them.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash
ids='3 1 4 1 5 9 2 6'

run 0 --batch --ids "$ids" -ex finish -ex 'patch 1.pattern[0,5,2] = 0' -ex 'p 1.pattern[0,5,2]' \
    -ex 'p 1.pattern[0,6,2] != 0' -ex 'patch 1.attn_scores[1,-1,0:2] = -inf' \
    -ex 'p sum(1.pattern[1,-1,0:2])' -ex 'patch 0.z[2:4,1,:] = 0.5' -ex 'p 0.z[1:5,1,0] == 0.5' $model
says out 'position 5: 1.pattern[0,5,2] = 0'; says out 'positions 2 to 3: 0.z[2:4,1,:]'
says out '$1 = 0'; says out '$2 = 1'; says out '$3 = 0'; says out '[0 1 1 0]'
run 1 --batch --ids "$ids" -ex 'patch 1.z[1,2,3] at 4 = 0' $model; says err 'in the brackets already'
run 1 --batch --ids "$ids" -ex 'patch 1.z[1,2,3,4] = 0' $model; says err 'and one more with its'
run 1 --batch --ids "$ids" -ex 'patch 1.z[99,0,0] = 0' $model; says err 'out of range'

# From files: .npy, and a dump with the site's own name.
run 1 --batch --ids "$ids" -ex finish -ex "save 1.z[5,0] $folder/z.npy" -ex "load \$a $folder/z.npy" \
    -ex 'p norm($a - 1.z[5,0])' -ex "patch 1.z[0] at 2 from $folder/z.npy" \
    -ex 'p norm(1.z[2,0] - $a)' -ex "dump $folder/d.safetensors 0.mlp_out" \
    -ex "patch 1.z[1,0,:] from $folder/d.safetensors blocks.1.nothing" $model
says out '$1 = 0'; says out '$2 = 0'; says out 'Patch 1 at'
says err 'has no tensor blocks.1.nothing'
printf 'no array' >"$folder/bad.npy"
run 1 --batch --ids "$ids" -ex "patch 1.z[0] from $folder/bad.npy" $model; says err 'bad.npy: this is no .npy'
run 1 --batch --ids "$ids" -ex "patch 1.z[0] from $folder/none.npy" $model; says err 'none.npy'

# Several patches go at once, or all; where one number is wrong, none.
run 0 --batch --ids "$ids" -ex finish -ex 'info hash' -ex 'patch 1.z[0] zero' -ex 'patch 1.z[1] zero' \
    -ex 'patch 0.mlp_out zero' -ex 'delete patch 1 3' -ex 'info patches' -ex 'delete patch' \
    -ex 'info patches' -ex 'info hash' -ex 'undo 2' -ex 'info hash' -ex 'delete patch 2 1 2 3' \
    -ex 'info patches' -ex 'info hash' $model
mapfile -t hash < <(sed -nE 's/^([0-9a-f]{16})  .*/\1/p' "$out")
[ "${hash[0]}" = "${hash[1]}" ] && [ "${hash[0]}" = "${hash[3]}" ] && [ "${hash[0]}" != "${hash[2]}" ] ||
    fail "hashes ${hash[*]}"
[ "$(grep -c '^Patch 2 at .* 1.z\[1\] zero$' "$out")" = 2 ] || fail 'patch 2 was not left alone'
[ "$(grep -c '^no patches$' "$out")" = 2 ] || fail 'a patch is left'
printf 'patch 1.z[0] zero\ndelete patch 1 9\ninfo patches\n' |
    "$MIDPASS" --plain --ids "$ids" $model >"$out" 2>"$err"
says err 'there is no patch 9'; [ "$(grep -c '^Patch 1 at' "$out")" = 2 ] || fail 'patch 1 is gone'

# A position behind the operation is told where it belongs.
run 1 --batch --ids "$ids" -ex 'patch 1.z[0] zero at -1' $model
says err '"at POS" stands right behind the site'
run 1 --batch --ids "$ids" -ex 'patch 1.z[0] mean over' $model; says err 'nothing more is expected here'

# Another token: as if the prompt had it, and back.
run 0 --batch --ids "$ids" -ex finish -ex 'info hash' -ex 'patch token 3 = 7' -ex 'info hash' \
    -ex tokens -ex 'info patches' -ex "save session $folder/token" -ex 'disable patch 1' \
    -ex 'info hash' -ex 'enable patch 1' -ex 'delete patch 1' -ex 'info hash' -ex undo \
    -ex 'info hash' $model
mapfile -t hash < <(sed -nE 's/^([0-9a-f]{16})  .*/\1/p' "$out")
says out 'Patch 1 at token 3: #1 -> #7'; says out 'by patch 1, was #1'
run 0 --batch --ids '3 1 4 7 5 9 2 6' -ex finish -ex 'info hash' $model
mapfile -t fresh < <(sed -nE 's/^([0-9a-f]{16})  .*/\1/p' "$out")
[ "${hash[*]}" = "${hash[0]} $fresh ${hash[0]} ${hash[0]} $fresh" ] || fail "hashes ${hash[*]}"
run 0 --batch -x "$folder/token" -ex 'info hash' -ex 'delete patch 1' -ex 'info hash' $model
says out "$fresh"; says out "${hash[0]}"
run 1 --batch --ids "$ids" -ex 'patch token 9 = 1' $model; says err 'a position is expected here'
run 1 --batch --ids "$ids" -ex 'patch token 1 = 999' $model; says err 'outside the vocabulary'
run 1 --batch --ids "$ids" -ex 'patch token 1 = x' $model; says err 'a token in quotes'
run 1 --batch -ex 'patch token 1 = 1' $model; says err 'there is no prompt yet'

# Undoing brings the first bits back, and doing again those of the edit.
run 0 --batch --ids "$ids" -ex finish -ex 'info hash' -ex 'patch 1.z zero' -ex 'info hash' \
    -ex undo -ex 'info hash' -ex redo -ex 'info hash' -ex 'info patches' $model
mapfile -t hash < <(sed -nE 's/^([0-9a-f]{16})  .*/\1/p' "$out")
[ "${hash[0]}" = "${hash[2]}" ] && [ "${hash[1]}" = "${hash[3]}" ] && [ "${hash[0]}" != "${hash[1]}" ] ||
    fail "hashes ${hash[*]}"
says out 'undid: patch 1.z zero'; says out 'did again: patch 1.z zero'; says out 'Patch 1 at'
run 0 --batch --json --ids "$ids" -ex 'b 0.z' -ex 'undo 5' -ex 'info history' -ex 'b 0.q' $model
says out '{"cmd":"undo","line":"b 0.z"}'; says out '{"cmd":"info history","line":"b 0.z","undone":true}'
says out '{"cmd":"break","id":2,'
run 1 --batch -ex undo $model; says err 'there is nothing to undo'
run 1 --batch --ids "$ids" -ex redo $model; says err 'there is nothing to redo'

# What is no number is said to be none, not the best token.
run 0 --batch --ids "$ids" -ex finish -ex 'patch 0.resid_post = 0/0' -ex finish -ex 'top 3' -ex lens $model
says out '52 of 52 logits are NaN, so no token'; says out 'logits  [V=52]  no best token  52 NaN'; says out '0.resid_post        nan'
grep -q -e '-nan' "$out" && fail '-nan'
run 0 --batch --json --ids "$ids" -ex finish -ex 'patch 0.resid_post = 0/0' -ex finish -ex 'top 1' -ex lens \
    -ex 'print prob(3)' -ex 'print rank(3)' $model
says out '"trouble":"52 of 52 logits are NaN","tokens":'; says out '"rank":null,"trouble":"52 of'
says out '"shape":[],"data":["nan"]'
run 0 --batch --ids "$ids" -ex 'patch 0.resid_post = 0/0' -ex 'generate 1' -ex 'dla 3' -ex 'attn 1' \
    -ex heads $model
says out "what was sampled there is not the model's choice"; grep -q -e '-nan' "$out" && fail '-nan'

# A value has the slice's shape, not only its count; a command that failed leaves redo alone.
run 0 --batch --ids "$ids" -ex finish -ex 'patch 1.z[0:1,0:3] at 3 = 1.z[1,0,0:3]' -ex 'patch 1.z mean' $model
# shellcheck disable=SC2016 # midpass's $
run 1 --batch --ids "$ids" -ex finish -ex '$x = 0.resid_pre[0:3,0:2]' -ex 'patch 1.z[0:2,0:3] = $x' $model
says err 'the slice is [2, 3] and the value is [3, 2]'
printf 'patch 1.z zero\nundo\npatch 1.z[99] zero\nredo\ninfo patches\n' |
    "$MIDPASS" --plain --no-rc --ids "$ids" $model >"$out" 2>"$err"
says out 'did again: patch 1.z zero'

# A place before the first block: what is before it is computed, and nothing else is said to be.
run 0 --batch --ids "$ids" -ex 'goto 4 embed' -ex 'print .' -ex 'print 1.resid_post[3,0]' -ex stepi $model
run 1 --batch --ids "$ids" -ex 'goto 4 embed' -ex 'print 1.resid_post[4]' $model
says err '1.resid_post of position 4 is not computed yet: the cursor is at position 4, embed'
finish
