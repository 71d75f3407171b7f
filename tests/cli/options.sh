#!/bin/bash
# The command line: options, their order, what is off, and the status that tells it.
# shellcheck disable=SC2016 # $1 is midpass's
. tests/cli/lib.bash

run 0 --help; says out 'usage: midpass [options] MODEL [PROMPT]'; silent err
run 0 --version; says out 'midpass '; silent err
run 2; says err 'a MODEL is needed'
run 2 --foo "$model"; says err 'there is no option --foo'
run 2 "$model" a b; says err 'one word too many'
run 2 --ctx; says err '--ctx needs a value'
run 2 --ctx 0 "$model"; says err '--ctx takes a whole number from 1 on, not "0"'
run 2 --ctx=1x "$model"; says err 'not "1x"'
run 2 --mem lots "$model"; says err '--mem'
run 2 --rope sideways "$model"; says err '--rope takes auto, short or long, not "sideways"'
run 2 --device gpu "$model"; says err '--device takes auto, cpu, cuda or cuda:1, not "gpu"'
run 2 --device cuda:x "$model"; says err 'not "cuda:x"'
run 2 --dtype f64 "$model"; says err '--dtype takes f32 or bf16, not "f64"'
run 1 --batch --device cpu --dtype bf16 -ex quit "$model"; says err 'the CPU computes in f32'
run 1 --batch --device cuda:99 -ex quit "$model"; says err 'cuda'
run 0 --batch --device cpu --dtype f32 -ex 'info model' "$model"; says out 'runs on cpu'
run 2 --isa mmx "$model"; says err '--isa takes scalar, avx2 or avx512'
run 2 --batch=yes "$model"; says err '--batch takes no value'
run 2 --ids '1 2' "$model" text; says err 'one too many'
run 1 --batch -ex quit "$folder/none"; says err "$folder/none"; silent out
run 1 --batch --ctx 100000 -ex quit "$model"; says err 'above the model'
run 1 --batch -ex 'ids 1' --mem 1K "$model"; says err 'needs'

# Options before and behind the model, with = and without.
run 0 "$model" --batch --ids='3 4 5' -ex 'p 1' --threads=1 -ex 'p 2' --chunk 2 --stride=2
says out '3 tokens'; says out '$1 = 1'; says out '$2 = 2'
run 0 --batch --isa scalar --ids 3 -ex fin -- "$model"; says out 'logits'

# -x and -ex in the order given.
printf 'p 2\n# nothing\n\np 3\n' >"$folder/script"
run 0 --batch -ex 'p 1' -x "$folder/script" -ex 'p 4' "$model"
[ "$(cat "$out")" = $'$1 = 1\n$2 = 2\n$3 = 3\n$4 = 4' ] || fail 'the order is off'

# The first error ends it; its place is told.
run 1 --batch -ex 'p 1' -ex 'p 1 +' -ex 'p 3' "$model"
says out '$1 = 1'; says err '       ^'; says err 'midpass: the line ends where a value is expected'
! grep -q '= 3' "$out" || fail 'it went on behind an error'
printf 'p 1\np )\np 3\n' >"$folder/script"
run 1 --batch -x "$folder/script" "$model"; says err "$folder/script:2:3: \")\" stands where"
run 1 --batch -x "$folder/none" "$model"; says err "$folder/none"
run 1 --batch "$model" 'a prompt'; says err 'no tokenizer.json'
run 7 --batch -ex 'quit 7' -ex 'p 1' "$model"; silent out

run 0 --plan "$model"; says out 'weights'; silent err
run 1 --plan "$folder/none"; says err "$folder/none"
finish
