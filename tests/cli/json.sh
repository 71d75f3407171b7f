#!/bin/bash
# --json: one object a line, errors too.
. tests/cli/lib.bash

run 1 --batch --json --ids '3 4 5' -ex 's' -ex 'goto 1 1.pattern' -ex 'p .[0]' -ex 'p nan' \
    -ex 'top 2' -ex 'p 1.zz' "$model"
says out '{"stopped":"run","site":null,"op":-1,"position":0,"token_id":3,"token":null}'
says out '{"stopped":"step","site":"hook_embed","shape":[20],'
says out '{"stopped":"goto","site":"blocks.1.attn.hook_pattern","shape":[4,2],'
says out '{"cmd":"print","expr":".[0]","number":1,"shape":[2],"data":['
says out '"shape":[],"data":["nan"]}'
says err 'midpass: logits of position 1 is not computed yet'
[ "$(grep -vc '^{.*}$' "$out")" = 0 ] || fail 'a line is no object'
# top 2 fails, and is the last to say something.
says out '{"error":"state","message":"logits of position 1 is not computed yet'
run 1 --batch --json --ids '3 4 5' -ex 'p 1.zz' "$model"
says out '"column":3}'; says out '{"error":"usage","message":"no site is called \"zz\"'
run 1 --batch --json "$folder/none"; says out '{"error":"'
run 2 --json --foo; says out '{"error":"usage","message":"there is no option --foo","code":1}'
finish
