#!/bin/bash
# What help says is whole, and what it says of letters behind a slash holds.
. tests/cli/lib.bash

run 0 --batch -ex help "$model"
says out '  break SITE [at POS] [if EXPR]'
says out '  patch SITE[slice] [at POS] OP | patch token POS = "TEXT"'
mapfile -t slashed < <(sed -nE 's/^  ([a-z-]+)\[\/a\].*/\1/p' "$out")
[ "${#slashed[@]}" = 4 ] || fail "of ${slashed[*]} help says that they take /a"
for command in "${slashed[@]}"; do
    operand=embed
    [ "$command" = dla ] && operand=3
    run 0 --batch --ids '1 2 3' -ex finish -ex "$command/a $operand" "$model"
    silent err
done
run 1 --batch --ids '1 2 3' -ex 'top/a' "$model"; says err 'top takes no /'

# The parts that dla leaves out come with /a, and add up to the same logit.
run 0 --batch -ex 'run Mary' -ex finish -ex 'dla " was"' -ex 'dla/a " was"' tests/models/demo
[ "$(grep -c '^logit of ' "$out")" = 2 ] && [ "$(grep '^logit of ' "$out" | uniq | wc -l)" = 1 ] ||
    fail 'dla and dla/a tell two logits'
[ "$(grep -c 'dla/a shows them' "$out")" = 1 ] || fail 'dla leaves out nothing, or dla/a does'
finish
