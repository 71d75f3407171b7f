#!/bin/bash
# The demo model answers questions of every task, made of words that training never combined so.
. tests/cli/lib.bash

# One run for all: after each question `top 1` tells the best token.
questions=() answers=()
while IFS='|' read -r question answer; do
    [ -n "$question" ] || continue
    questions+=("$question") answers+=("$answer")
done <<'END'
When Mary and John went to the store, John gave a drink to| Mary
Because Adam had met Mary at the castle, Adam offered a bag to| Mary
After Mary and Harry came back from the park, Mary lent the candle to| Harry
Because Diana had met Janet at the bakery, Janet offered a broom to| Diana
After Tina and Fred came back from the office, Fred offered a fork to| Tina
Yesterday Michael saw Carol near the bakery, and later Carol handed the basket to| Michael
Again Luke siege balls Jane village Kate gift Arthur Luke| siege
Again Beth Simon guitars Rose bag Peter project Wendy coats Sarah book light Carl Beth Simon guitars Rose| bag
Again festival plate Rose baskets crisis mirror beach necklaces festival plate Rose baskets| crisis
The trial began in 1942 and ended in 19|>42
The festival lasted from 1841 to 18|>41
They say that the journey of 1787 was over in 17|>87
The siege began in 2065 and ended in 20|>65
At noon Megan smiled as| she
Later Carol smiled as| she
At noon Jason smiled as| he
Yesterday Louis was proud of| his
At noon Martha looked for| her
They say the flower under the small tables| was is has
The guitar above the hammers| was is has
In this story the clocks behind the bad card| were are have
The tables beside the round towel| were are have
She wrote [ the light mirror ( the bad cup )| ]
He saw " the warm guitar [ the bad card ]| "
She wrote ( the green pencil { the green sword }| )
They found [ the cold toy ' the big ball| '
It said ( the big shirt { the green paper| }
Code: village = coat ; park = toy ; hotel = ticket ; library = candle ; kitchen = letter ; park =| toy
Code: library = candle ; theater = spoon ; castle = chair ; theater =| spoon
Today Mark wants the bell, Fred wants the hat, Louis wants the cup, Zachary wants the pillow. So Mark wants the| bell
Today Philip wants the spoon, Martin wants the computer, Ralph wants the ring, John wants the picture. So John wants the| picture
END

# Is TOKEN one of the ANSWERs, " was is has", or, of ">42", a two-digit number above it?
answers() { # answers TOKEN ANSWERS
    case $2 in
    '>'*) [[ $1 =~ ^[0-9][0-9]$ ]] && ((10#$1 > ${2#>})) ;;
    *) [[ $1 == ' '?* && "$2 " == *"$1 "* ]] ;;
    esac
}

for question in "${questions[@]}"; do
    printf 'run %s\nfinish\ntop 1\n' "$question"
done >"$folder/script"
run 0 --batch -x "$folder/script" tests/models/demo
# "   0  0.999734    19.5886     815  " Mary"": the token as it is shown, its own quote as \".
mapfile -t tokens < <(sed -nE 's/^ +0 +[0-9.e-]+ +[0-9.e-]+ +[0-9]+  "(.*)"$/\1/p' "$out" | sed 's/\\"/"/')
[ "${#tokens[@]}" = "${#questions[@]}" ] ||
    fail "${#tokens[@]} answers to ${#questions[@]} questions"
for i in "${!tokens[@]}"; do
    answers "${tokens[i]}" "${answers[i]}" ||
        fail "${questions[i]} ->${answers[i]}, not \"${tokens[i]}\""
done
# Every word is one token, and a year is two.
run 0 --batch -ex 'tokens The war of 1732, Mary' tests/models/demo
says out '#3       1136  " 17"'; says out '#4       1267  "32"'; says out '#6        815  " Mary"'
finish
