#!/bin/bash
# The machine interface: one object a line for every command, and the keys of each, in order.
. tests/cli/lib.bash

# keys: the top level's keys of each object, and the shape of what is nested, once.
keys() {
    sed -E 's/\\.//g; s/:"[^"]*"/:_/g; s/\["[^"]*"(,"[^"]*")*\]/[]/g; s/:-?[0-9][0-9.e+-]*/:_/g
        s/:(true|false|null)/:_/g; s/\[[-0-9.e,+]*\]/[]/g; s/"//g; s/:_//g
        s/(\{[^{}]*\})(,\{[^{}]*\})+/\1/g' "$out"
}
# shape COMMAND KEYS: the last line that COMMAND says has these keys.
shape() {
    run 0 --batch --json --ids '3 4 5 6' -ex finish -ex 'patch 1.z zero' -ex 'break 1.z' \
        -ex "$1" "$model"
    [ "$(grep -vc '^{.*}$' "$out")" = 0 ] || fail "$1: a line is no object"
    local got
    got=$(keys | tail -n 1)
    [ "$got" = "$2" ] || fail "$1: $got"
}
stop='site,shape:[],op,position,token_id,token'
shape 'run' '{stopped,site,op,position,token_id,token}'
shape 'ids 3 4' '{stopped,site,op,position,token_id,token}'
shape 'goto 1 0.z' "{stopped,$stop}"
shape 'reverse-step' "{stopped,$stop}"
shape 'reverse-stepi' "{stopped,$stop}"
shape 'reverse-next' "{stopped,$stop}"
shape 'reverse-token' "{stopped,$stop}"
shape 'reverse-continue' "{stopped,id,$stop}"
shape 'token' "{stopped,id,$stop}"
shape 'generate 1' "{stopped,id,ids:[],end_of_text,$stop}"
shape 'print 1.z' '{cmd,expr,number,shape:[],data:[]}'
shape 'output 1 + 1' '{cmd,expr,shape:[],data:[]}'
shape 'x/3 1.z' '{cmd,expr,shape:[],data:[]}'
# shellcheck disable=SC2016 # midpass's $
shape '$x = 1.z' '{cmd,name,shape:[]}'
shape 'top 2' '{cmd,position,tokens:[{id,token,logit,probability}]}'
shape 'map 1.pattern[2,3]' '{cmd,layer,heads:[],queries:[],keys:[],shape:[],data:[]}'
shape 'tokens' '{cmd,tokens:[{position,id,generated,stale,token}]}'
shape 'break 0.z' '{cmd,id,site}'
shape 'tbreak 0.z' '{cmd,id,site}'
shape 'condition 1 max(.) > 0' '{cmd}'
shape 'ignore 1 2' '{cmd}'
shape 'enable 1' '{cmd}'
shape 'disable patch 1' '{cmd}'
shape 'delete 1' '{cmd}'
shape 'patch 0.z zero' \
    '{cmd,id,site,layer_last,first,last,enabled,fired,norm_before,norm_after,text}'
shape 'set 0.z = 0' '{cmd,id,site,layer_last,first,last,enabled,fired,norm_before,norm_after,text}'
shape 'set sampler greedy' '{cmd,greedy,temperature,top_p,seed}'
shape 'info patches' \
    '{cmd,id,site,layer_last,first,last,enabled,fired,norm_before,norm_after,text}'
shape 'info breakpoints' \
    '{cmd,id,kind,text,site,layer_last,first,last,enabled,temporary,hits,ignore}'
shape 'info hash' '{cmd,hash,positions}'
shape 'info timing' '{cmd,seconds,tokens}'
shape "save 1.z $folder/z.npy" '{cmd,file,tensors,elements}'
shape "dump $folder/d.safetensors 1.z" '{cmd,file,tensors,elements}'
# shellcheck disable=SC2016
shape "load \$d $folder/d.safetensors" '{cmd,name,shape:[]}'
shape "save session $folder/s" '{cmd,file,arrays}'
shape "export python $folder/e.py" '{cmd,file,left_out}'
shape "log $folder/l" '{cmd,files:[]}'
shape 'echo x' '{cmd,text}'
shape 'help top' '{cmd,text}'
shape 'shell true' '{cmd}'
shape 'quit' '{cmd}'

# Every command of the table answers with objects alone, be it an error.
run 0 --batch -ex help "$model"
commands=$(sed -nE 's/^  ([a-z-]+).*/\1/p' "$out")
[ "$(wc -w <<<"$commands")" -ge 44 ] || fail 'help lists too few commands'
model=$PWD/$model
cd "$folder" || exit # `log 1` writes a file
for command in $commands; do
    "$MIDPASS" --batch --json --ids '3 4 5 6' -ex "$command" -ex "$command 1" "$model" \
        >"$out" 2>"$err" </dev/null
    [ "$(grep -c '^{' "$out")" -ge 2 ] && [ "$(grep -vc '^{.*}$' "$out")" = 0 ] ||
        fail "$command: no object for each command"
done
# An error has its word, its number and, where it points at the line, its column.
run 1 --batch --json -ex 'p )' "$model"
[ "$(keys)" = '{error,message,code,column}' ] || fail "$(keys)"
run 1 --batch --json -ex 'step' "$model"
[ "$(keys)" = '{error,message,code}' ] || fail "$(keys)"
says out '"error":"state"'; says out '"code":6'
finish
