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
