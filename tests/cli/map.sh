#!/bin/bash
# map: attention of any length in as many numbers as are wanted, and what it says of nonsense.
. tests/cli/lib.bash
model=tests/golden/models/mistral # its window hides what lies four tokens back
map() { # STATUS LINE
    run "$1" --batch --ids '1 5 9 2 7 3 8 4' -ex finish -ex "$2" $model
}
map 0 'map 1.pattern[2] 3x4'
says out 'L1H2  queries 0-7 down, keys 0-7 across, the largest weights'
says out '               0       2       4       6'
says out '       0  1.0000       -       -       -'
says out '       5  0.0023  0.0147  0.8287  0.7974'
map 0 'map 1.pattern[0,2:5,0:4] 9x9'
says out 'L1H0  queries 2-4 down, keys 0-3 across'
says out '       4  0.6498  0.0783  0.2020  0.0649'
# A cell is the largest of the pattern's own numbers.
map 0 'print max(1.pattern[2,5:8,4:6])'; says out '$1 = 0.8287'
map 0 'map 1.pattern'; [ "$(grep -c '^L1H' "$out")" = 4 ] || fail 'not all heads'
map 0 "map 1.pattern[0] 4x4 $folder/m.npy"; says out 'm.npy: [4, 4]'
[ "$(head -c 200 "$folder/m.npy" | grep -ac 'shape.*(4, 4)')" = 1 ] || fail 'no array in the file'

map 1 'map'; says err 'a pattern is expected here'
map 1 'map 9.pattern'; says err 'there is no layer 9'; says err '      ^'
map 1 'map 1.z'; says err 'a map is of a pattern'
map 1 'map 1.pattern[9]'; says err 'index 9 is out of range'
map 1 'map 1.pattern[0] 0x4'; says err '"0x4" is none'; says err '                   ^'
map 1 'map 1.pattern[0,::2]'; says err 'the queries of a map have no gaps'
map 1 "map 1.pattern[0] 4x4 $folder/none/m.npy"; says err "$folder/none/m.npy"
run 1 --batch --ids '1 5 9' -ex 'map 1.pattern[0]' $model; says err 'no queries there that are computed'
finish
