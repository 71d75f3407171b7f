#!/bin/bash
# The man page knows every command of the table and every option of --help.
. tests/cli/lib.bash
page=$(sed 's/\\-/-/g' tui/midpass.1)
words=$(tr -c 'a-zA-Z_-' '\n' <<<"$page" | sort -u)

run 0 --batch -ex help "$model"
commands=$(sed -nE 's/^  ([a-z-]+).*/\1/p' "$out")
[ "$(wc -w <<<"$commands")" -ge 44 ] || fail 'help lists too few commands'
for command in $commands; do
    grep -qE "^\.(B|BR|TP).*(^|[^a-z-])$command([^a-z-]|$)" <<<"$page" ||
        fail "no command $command in the man page"
done
run 0 --help
options=$(grep -oE '(^|[ ,])--?[a-z][a-z-]*' "$out" | tr -d ' ,' | sort -u)
[ "$(wc -w <<<"$options")" -ge 20 ] || fail '--help lists too few options'
for option in $options; do
    grep -qxF -- "$option" <<<"$words" || fail "no option $option in the man page"
done
for section in NAME SYNOPSIS DESCRIPTION OPTIONS COMMANDS EXPRESSIONS JSON FILES ENVIRONMENT \
    'EXIT STATUS' EXAMPLES BUGS 'SEE ALSO'; do
    grep -qxF ".SH $section" <<<"$page" || fail "no section $section"
done
finish
