#!/bin/bash
# What tests/models/circuits tells of the demo model is what midpass says today, to the last digit.
# After a wanted change: build/midpass --batch -x NAME.mp tests/models/demo >NAME.out, and read it.
. tests/cli/lib.bash

for script in tests/models/circuits/*.mp; do
    run 0 --batch -x "$script" tests/models/demo
    diff -u "${script%.mp}.out" "$out" >"$folder/difference" || {
        head -n 40 "$folder/difference"
        fail "$script says something else than ${script%.mp}.out"
    }
done
finish
