#!/bin/bash
# Watches, catches, displays and the commands of breakpoints, as one types them.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash
ids='3 1 4 1 5 9 2 6'

run 0 --batch --ids "$ids" -ex 'display norm(.)' -ex 'display/a 1.z[7,0]' -ex 'info display' \
    -ex 'tbreak 0.mlp_out at 3' -ex c -ex 'undisplay 1' -ex 'disable display 2' -ex 'c' $model
says out '1    norm(.)'; says out 'Temporary breakpoint 1 at'
says out '1: norm(.) = '; says out '2: 1.z[7,0]  (1.z of position 7 is not computed yet'
[ "$(grep -c '^1: norm(.) = ' "$out")" = 1 ] || fail 'undisplay does not hold'
run 0 --batch --json --ids "$ids" -ex 'display norm(.)' -ex 'watch argmax(logits)' -ex c $model
says out '{"cmd":"watch","id":1,"text":"argmax(logits)"}'
says out '{"stopped":"watchpoint","id":1,"site":"logits"'
says out '"old":{"shape":[],"data":['; says out '{"display":1,"expr":"norm(.)","shape":[],"data":['

# The lines run in order; one that goes on ends the list; the end of the sequence ends them all.
printf '%s\n' 'break 1.resid_post' 'commands' '  silent' 'print 40 + 2' 'c' 'print 1/0' 'end' \
    'info breakpoints' 'c' 'info breakpoints' >"$folder/a.mp"
run 0 --batch --ids "$ids" -x "$folder/a.mp" $model
[ "$(grep -c '= 42' "$out")" = 8 ] || fail 'the list did not run at each stop'
grep -q 'inf\|Breakpoint 1,' "$out" && fail 'a silent stop spoke, or the list went on'
says out 'hit 8 times'
run 0 --batch --ids "$ids" -ex 'b 0.z' -ex 'commands 1' -ex 'p 7' -ex end -ex c $model
says out 'Breakpoint 1, #0'; says out '$1 = 7'

run 1 --batch --ids "$ids" -ex 'b 0.z' -ex commands -ex 'print nothing(1)' -ex end -ex c $model
says err 'breakpoint 1, command 1 (print nothing(1)): '
run 1 --batch --ids "$ids" -ex 'b 0.z' -ex commands -ex 'p 1' $model
says err 'commands without an end'
# A temporary breakpoint has its commands; commands within commands; a file that leaves them open.
run 0 --batch --ids "$ids" -ex 'tb 0.z' -ex commands -ex silent -ex 'p 6 * 7' -ex end -ex c $model
says out '$1 = 42'; grep -q 'Breakpoint 1,' "$out" && fail 'a silent temporary breakpoint spoke'
run 0 --batch --ids "$ids" -ex 'b 0.z at 1' -ex 'b 1.z at 2' -ex 'commands 1' -ex 'commands 2' \
    -ex 'p 8' -ex end -ex 'p 9' -ex end -ex c -ex c $model
[ "$(grep -c '^\$[12] = ' "$out")" = 2 ] || fail 'the two lists did not run once each'
says out '$1 = 9'; says out '$2 = 8'
printf 'break 0.z\ncommands\np 1\n' >"$folder/open.mp"
run 1 --batch --ids "$ids" -x "$folder/open.mp" $model; says err 'open.mp: commands without an end'
printf 'b 0.z at 1-2\ncommands 1\np 3 +\nend\nc\n' >"$folder/bad.mp"
run 1 --batch --ids "$ids" -x "$folder/bad.mp" $model
says err 'bad.mp:5: breakpoint 1, command 1 (p 3 +): '
printf 'b 0.z at 1-2\ncommands\np 3\nend\nc\nc\n' | "$MIDPASS" --batch --ids "$ids" $model >"$out"
[ "$(grep -c '= 3$' "$out")" = 2 ] || fail 'commands from standard input'

# Generating stops, shows and runs as any motion does; in JSON one object tells both.
run 0 --batch --json --ids "$ids" -ex 'b 1.z at 9' -ex 'commands' -ex 'p 5' -ex end \
    -ex 'display 1 + 1' -ex 'g 4' $model
says out '{"stopped":"breakpoint","id":1,"ids":['; says out '"position":9,'
says out '{"display":1,"expr":"1 + 1","shape":[],"data":[2]}'; says out '"expr":"5","number":1'
run 0 --batch --json --ids "$ids" -ex 'catch top1' -ex c $model
says out '{"stopped":"catchpoint","id":1,"site":"blocks.'; says out '"kind":"top1","old_id":'
says out '"old_token":null'
run 0 --batch --json --ids "$ids" -ex 'patch 0.mlp_out[3] at 5 = nan' -ex 'catch nan' -ex c $model
says out '"site":"blocks.0.hook_mlp_out"'; says out '"kind":"nan","index":[3],"value":"nan"}'
run 0 --batch --ids "$ids" -ex 'patch 0.mlp_out[3] at 5 = inf' -ex 'catch nan' -ex c $model
says out 'Catchpoint 1, #5 '; says out '  the first is inf at .[3]'
# What lies ahead of a catch stays known, and edits are not counted twice.
run 0 --batch --ids "$ids" -ex 'patch 0.mlp_out[3] at 5 = inf' -ex finish -ex 'goto 0' \
    -ex 'catch nan' -ex c -ex 'p sum(isnan(1.z[7]))' -ex 'info patches' $model
says out '$1 = '; says out 'changed 1 row,'

# What can never stop is told when it is set.
run 1 --batch --ids "$ids" -ex 'b 0.z at 99999' $model; says err 'position 99999 can never come'
run 1 --batch -ex 'b 0.z at -1' $model; says err 'there is no prompt yet whose end -1 could'
run 1 --batch --ids "$ids" -ex 'b 0.z at -9' $model; says err 'there is no position -9'
run 1 --batch --ids "$ids" -ex 'b 0.z at 5-3' $model; says err 'the range 5-3 ends before'
run 1 --batch -ex 'b pos_embed' $model; says err 'has no hook_pos_embed'
run 1 --batch --ids "$ids" -ex 'b 1.pattern if .[0,5] > 0' $model
says err 'at position 0: index 5 is out of range'
run 0 --batch --ids "$ids" -ex 'b 1.pattern at 5-7 if .[0,5] > 0' -ex c $model
run 1 --batch --ids "$ids" -ex 'watch (1.pattern)[0,5]' $model; says err 'at position 0: '
run 1 --batch --ids "$ids" -ex 'watch 1.z[-1,0]' $model; says err 'nothing in it changes'
run 1 --batch --ids "$ids" -ex 'watch norm(.)' $model; says err 'watch needs the name of one'

run 1 --batch -ex end $model; says err 'none are open'
run 1 --batch -ex commands $model; says err 'there is no breakpoint yet'
run 1 --batch -ex 'b 0.z' -ex 'commands 4' $model; says err "a breakpoint's number is expected"
run 1 --batch -ex 'watch 1 + 1' $model; says err 'nothing in it changes from token to token'
run 1 --batch --ids "$ids" -ex 'watch 1.z[3]' $model; says err 'nothing in it changes'
run 1 --batch -ex 'watch nothing(1)' $model; says err 'nothing'
run 1 --batch -ex 'catch top2' $model; says err 'nan or top1 is expected here'
run 1 --batch -ex 'catch nan' -ex 'condition 1 1 > 0' $model; says err 'only breakpoints at sites'
run 1 --batch -ex 'display 1 +' $model
run 1 --batch -ex 'undisplay 3' $model; says err 'there is no display 3'
finish
