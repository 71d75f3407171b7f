#!/bin/bash
# Commands from a pipe, and output that nobody takes.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash

feed() { # feed STATUS INPUT ARGUMENT...
    local status=$1 input=$2 got=0
    shift 2
    printf '%b' "$input" | "$MIDPASS" "$@" >"$out" 2>"$err" || got=$?
    [ "$got" = "$status" ] || fail "status $got, not $status: $input"
}

feed 0 'ids 3 4 5\nfinish\np 1 + 1' --batch "$model"
says out '#2 #5  logits'; says out '$1 = 2'; silent err
feed 0 'p 1\r\nquit\np 2\n' --batch "$model"
[ "$(cat "$out")" = '$1 = 1' ] || fail 'quit or a carriage return'
feed 1 'p 1\np oops(\np 3\n' --batch "$model"
says err 'there is no function oops'; [ "$(cat "$out")" = '$1 = 1' ] || fail 'it went on'
# Without --batch an error is told, and the next line runs.
feed 0 'p oops(\np 3\n' "$model"; says err 'there is no function oops'; says out '$1 = 3'
feed 0 '' --batch "$model"; silent out
# Bytes of any kind, and lines that are far too long.
feed 1 'p \000 1\n' --batch "$model"; says err 'a character that means nothing here'
feed 1 '\001\002\n' --batch "$model"; says err 'there is no command "\x01\x02"'
head -c 3000000 /dev/zero | tr '\0' '(' >"$folder/long"
printf '\np 5\n' >>"$folder/long"
got=0; "$MIDPASS" "$model" <"$folder/long" >"$out" 2>"$err" || got=$?
[ $got = 0 ] || fail "status $got of a long line"
says err 'a line of more than 1 MiB'; says out '$1 = 5'
(head -c 1000000 /dev/zero | tr '\0' '('; echo) | "$MIDPASS" --batch "$model" >"$out" 2>"$err"
says err 'there is no command'

# A disk that is full, a pipe that is closed: told, with a status, and no signal.
for extra in '' --json; do
    got=0
    # shellcheck disable=SC2086
    "$MIDPASS" --batch $extra -ex 'p 1' -ex 'p 2' "$model" >/dev/full 2>"$err" || got=$?
    : >"$out"
    [ $got = 1 ] || fail "status $got with a full disk"
    says err 'cannot write to standard output: No space left on device'
done
got=$( { { "$MIDPASS" --batch -ex 'help' -ex 'info sites' -ex 'shell sleep 0.3' -ex help -ex help \
    "$model" 2>"$err"; echo $? >&3; } | head -c 1 >/dev/null; } 3>&1)
[ "$got" = 1 ] || fail "status $got with a closed pipe"
says err 'cannot write to standard output: Broken pipe'
got=0; "$MIDPASS" --help >/dev/full 2>"$err" || got=$?
[ $got = 1 ] || fail "status $got of --help with a full disk"
finish
