#!/bin/bash
# The circuit that tests/models/tinystories/lily-and-tom.mp finds, replayed to the last digit.
. tests/cli/lib.bash
model=../shared/models/tinystories-656k
[ -f $model/model.safetensors ] || { echo "skipped: no $model"; exit 77; }

run 0 --batch -x tests/models/tinystories/lily-and-tom.mp $model
silent err
diff tests/models/tinystories/lily-and-tom.expected "$out" || fail 'the session says something else'
finish
