#!/bin/bash
# Sessions: logs, --resume after kill -9, --sessions, rc files, allowed folders, saved sessions.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash
export HOME=$folder/home
mkdir "$HOME"
logs=$HOME/.local/state/midpass config=$HOME/.config/midpass
here=$PWD
# feed STATUS INPUT ARGUMENT...: commands on standard input, as a person's
feed() {
    local status=$1 input=$2 got=0
    shift 2
    printf '%b' "$input" | "$MIDPASS" "$@" >"$out" 2>"$err" || got=$?
    [ "$got" = "$status" ] || fail "status $got, not $status: $input"
}
work='set sampler temp 0.8 seed 5\nbreak 1.z at 2\npatch 1.z[1] zero\nc\n$v = 0.resid_pre\ngenerate 4\nrt\n'

# --batch logs nothing by itself, nor does --no-log; a session without a command leaves nothing.
run 0 --batch --ids '3 4' "$model"
feed 0 'ids 3 4\n' --no-log "$model"
feed 0 'info model\n' "$model"
[ -z "$(ls -A "$logs" 2>/dev/null)" ] || fail 'a log is there'
run 1 --resume; says err 'there is no session to resume'
run 0 --sessions; says out 'no sessions'

# A session, and its log done again by --resume, by source and by --resume FILE.
feed 0 "ids 3 4 5 6 7\n${work}wrong\nstep 1000000\ninfo hash\n" --ctx 50 "$model"
hash=$(grep 'logits of' "$out")
[ -n "$hash" ] || fail 'no hash'
log=$(echo "$logs"/*.log)
grep -q 'wrong' "$log" && fail 'what failed is logged'
feed 0 'info hash\ninfo breakpoints\ninfo patches\ninfo model\n' --resume
says out "$hash"; says out '1    stop  1.z at 2'; says out '1.z[1] zero'; says err 'resumed: '
says out 'positions up to 50'
run 0 --batch -x "$log" -ex 'info hash' "$model"; says out "$hash"
cp "$log" "$folder/copy.log"
run 0 --batch --resume "$folder/copy.log" -ex 'info hash'; says out "$hash"
run 0 --batch --resume="$folder/copy.log" --chunk 2 -ex 'info hash'; says out "$hash"
run 1 --batch --resume="$folder/none"; says err "cannot open the log $folder/none"
run 2 --resume --ids 3; says err 'one too many'
run 0 --sessions; says out ' llama'; says out '    ids 3 4 5 6 7'
run 0 --json --sessions; says out '"prompt":"ids 3 4 5 6 7","lines":'; says out '"held":false}'

# kill -9 in the middle: what was done is there, and a line that was cut off is left out.
mkfifo "$folder/pipe"
"$MIDPASS" "$model" <"$folder/pipe" >"$out" 2>"$err" &
pid=$!
exec 3>"$folder/pipe"
printf 'ids 9 8 7\n%binfo hash\n' "$work" >&3
for _ in $(seq 100); do grep -q 'logits of' "$out" && break; sleep 0.1; done
hash=$(grep 'logits of' "$out")
# While it lives its log is its own: resume takes the other one.
run 0 --sessions; says out '(open)'
run 0 --batch --resume -ex tokens; says out '     3  '
kill -9 $pid; wait $pid 2>/dev/null; exec 3>&-
newest=$(grep -l 'ids 9 8 7' "$logs"/*.log)
printf 'patch 1.z' >>"$newest"
feed 0 'info hash\nstep\n' --resume
says out "$hash"; says err 'a last line was cut off'
[ "$(tail -n 1 "$newest")" = step ] || fail 'the log does not go on'
run 0 --batch --resume -ex 'info hash'; ! grep -q 'cut off' "$err" || fail 'still torn'

# A hang-up loses nothing either.
"$MIDPASS" "$model" <"$folder/pipe" >"$out" 2>"$err" &
pid=$!
exec 3>"$folder/pipe"
printf 'ids 11 12 13\nfinish\ninfo hash\n' >&3
for _ in $(seq 100); do grep -q 'logits of' "$out" && break; sleep 0.1; done
hash=$(grep 'logits of' "$out")
kill -HUP $pid; wait $pid 2>/dev/null; exec 3>&-
run 0 --batch --resume -ex 'info hash'; says out "$hash"

# A log whose line fails: told with its place, and the work goes on in a new log.
printf '# midpass session {"model":"%s","options":[]}\nids 3 4 5\nfinish\npatch 99.z zero\ntop\n' \
    "$here/$model" >"$folder/bad.log"
feed 0 'info hash\nstep\n' --resume "$folder/bad.log"
says err "$folder/bad.log:4: "; says err 'stands where this line failed'; says out 'of 3 positions'
run 1 --batch --resume "$folder/bad.log" -ex 'p 1'; ! grep -q '= 1' "$out" || fail 'it went on'
printf 'p 1\n' >"$folder/none.log"
run 1 --batch --resume "$folder/none.log"; says err 'names no model'

# A home that cannot be written to is told once, and the work goes on.
feed 0 'ids 3 4\nfinish\n' "$model"
for home in /dev/null/none ''; do
    HOME=$home feed 0 'ids 3 4\nfinish\np 1 + 1\n' "$model"
    says out '= 2'
    [ "$(grep -c midpass: "$err")" = 1 ] || fail 'not told once'
done

# save session: what it says is what there is.
shown='info breakpoints\ninfo tokens\nset sampler\np $v\ninfo hash\n'
feed 0 "ids 3 4 5 6 7\n${work}tbreak 0.z\nignore 1 3\ndisable 1\nsave session $folder/saved\n" \
    --no-log "$model"
says out 'saved: source it'; says out '1 array in'
feed 0 "ids 3 4 5 6 7\n${work}tbreak 0.z\nignore 1 3\ndisable 1\n$shown" --no-log "$model"
sed -n '/^1    /,$p' "$out" >"$folder/a"
cd "$folder" || exit # the arrays are found beside the script
feed 0 "source $folder/saved\n$shown" --no-log "$here/$model"
cd "$here" || exit
sed -n '/^1    /,$p' "$out" >"$folder/b"
cmp -s "$folder/a" "$folder/b" || { cp "$folder/b" "$out"; fail 'another state'; }
run 0 --batch --resume "$folder/saved" -ex 'info hash'; says out "$(tail -n 1 "$folder/a")"
run 1 --batch --ids 3 -ex "save session $folder/no/such" "$model"; says err 'no/such'

# log FILE, log off, and a log that somebody else writes.
run 0 --batch -ex "log $folder/mine" -ex 'ids 3 4' -ex 'log off' -ex 'step' -ex log "$model"
says out "logging to $folder/mine"; says out 'nothing is logged'
[ "$(sed -n '2,$p' "$folder/mine")" = 'ids 3 4' ] || fail 'another log'
run 0 --batch -ex "log \"$folder/a b\"" -ex 'ids 3 4' "$model"
[ -f "$folder/a b" ] || fail 'no log with a blank in its name'
run 1 --batch -ex "log $folder/no/such" "$model"; says err 'cannot open the log'

# rc: the user's; not with --no-rc, nor with --batch unless asked for; errors are told.
mkdir -p "$config"
printf 'p 40 + 2\n\nnonsense\np 43\n' >"$config/rc"
feed 0 'p 1\n' "$model"; says out '$1 = 42'; says out '$2 = 1'
says err "$config/rc:3:1: there is no command \"nonsense\""
feed 0 'p 1\n' --no-rc "$model"; says out '$1 = 1'
run 0 --batch -ex 'p 1' "$model"; says out '$1 = 1'; silent err
run 0 --batch --rc -ex 'p 1' "$model"; says out '$2 = 1'
printf 'p 40 + 2\n' >"$config/rc"
feed 0 '' --json "$model"; says out '{"cmd":"print","expr":"40 + 2","number":1'

# A folder's runs once it is allowed, as it was then.
rm "$config/rc"; mkdir "$folder/work"; printf 'p 5\n' >"$folder/work/.midpassrc"
cd "$folder/work" || exit
feed 0 'p 1\n' "$here/$model"; says out '$1 = 1'; says err 'midpass --allow . allows'
"$MIDPASS" --allow . || fail 'cannot be allowed'
feed 0 'p 1\n' "$here/$model"; says out '$1 = 5'; silent err
printf 'p 6\n' >.midpassrc
feed 0 'p 1\n' "$here/$model"; says out '$1 = 1'; says err 'did not run'
"$MIDPASS" --allow . || fail 'cannot be allowed again'
[ "$(wc -l <"$config/allowed")" = 1 ] || fail 'allowed twice'
feed 0 'p 1\n' --no-rc "$here/$model"; says out '$1 = 1'; silent err
cd "$here" || exit
run 1 --allow "$folder/none"; says err "cannot find $folder/none"
run 1 --allow "$folder"; says err '.midpassrc'
finish
