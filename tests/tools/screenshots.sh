#!/bin/bash
# screenshots.sh BUILD [NAME...] - pictures of the real program in a real terminal, xterm under
# Xvfb, to screenshots/NAME.png.
#
# MODEL names another model than the TinyStories one beside the repository.
set -u
cd "$(dirname "$0")/../.." || exit
build=$1; shift
model=${MODEL:-../shared/models/tinystories-656k}
prompt='Once upon a time there was a little girl named Lily. She loved to play with her dog'
for tool in Xvfb xterm import python3; do
    command -v $tool >/dev/null || {
        echo "screenshots.sh: $tool is missing (xvfb, xterm, imagemagick, python3)" >&2; exit 1; }
done
[ -f "$model/config.json" ] || { echo "screenshots.sh: no model at $model" >&2; exit 1; }

home=$(mktemp -d) || exit
trap 'kill "$xvfb" 2>/dev/null; rm -rf "$home"' EXIT
number=90
while [ -e "/tmp/.X11-unix/X$number" ]; do number=$((number + 1)); done
Xvfb ":$number" -screen 0 2400x1500x24 >/dev/null 2>&1 &
xvfb=$!
for _ in {1..50}; do [ -e "/tmp/.X11-unix/X$number" ] && break; sleep 0.1; done
mkdir -p screenshots

# shot NAME SIZE KEYS [ARGUMENT...]: arguments before the model; VARS is put in front of all.
chosen=("$@")
shot() {
    local name=$1 size=$2 keys=$3 window
    shift 3
    if ((${#chosen[@]})) && [[ " ${chosen[*]} " != *" $name "* ]]; then return; fi
    # shellcheck disable=SC2086 # VARS is NAME=VALUE, or nothing
    DISPLAY=:$number env -u NO_COLOR XDG_CONFIG_HOME="$home/config" XDG_STATE_HOME="$home/$name" \
        LC_ALL=C.UTF-8 ${VARS:-} xterm -tn xterm-256color -fa 'DejaVu Sans Mono' -fs 11 -b 8 \
        -geometry "$size+0+0" -bg '#101014' -fg '#d8d8d8' -bd '#101014' -title midpass \
        -e tests/tools/type-keys.py "$keys" "$build/midpass" "$@" "$model" "$prompt" &
    window=$!
    # Half a second for each part of the keys, and some to start and to settle.
    local tabs=${keys//[!$'\t']/}
    sleep "$(awk "BEGIN { print 3.5 + 0.5 * ${#tabs} }")"
    DISPLAY=:$number import -silent -window root -trim +repage "screenshots/$name.png"
    kill $window
    wait $window 2>/dev/null
    echo "  screenshots/$name.png"
}

shot overview 120x40 "" -ex 'break 1.pattern' -ex 'goto 9 1.pattern'
shot attention 120x40 "" -ex 'goto 11 1.pattern' -ex 'attn 1 0 3' -ex 'layout attention' \
    -ex 'focus attention'
shot residual-map 120x40 "m" -ex finish -ex 'layout residual' -ex 'focus residual'
shot breakpoint 120x40 "c" -ex 'break *.pattern at 4-11 if max(.[6]) > 0.7' -ex 'layout default' \
    -ex 'layout default'
shot patch-before 120x40 "" -ex finish -ex 'layout custom' -ex 'focus top'
shot patch-after 120x40 ":patch 1.z[3] zero\r" -ex finish -ex 'layout custom' -ex 'focus top'
shot memory 120x40 "" -ex finish -ex 'layout memory' -ex 'focus memory'
shot value 120x40 "" -ex 'goto 9 0.resid_post' -ex 'layout memory' -ex 'focus value' -ex zoom
shot small 80x24 "" -ex 'goto 9 1.pattern'
VARS=NO_COLOR=1 shot no-colour 120x40 "" -ex 'break 1.z' -ex 'goto 9 1.pattern'
shot help 120x40 "?" -ex 'goto 9 1.pattern'
shot palette 120x40 "\x10pat" -ex 'goto 9 1.pattern'

# The picture on top of README.md: its five minutes, with the heads silenced that bring the name.
model=tests/models/demo prompt='When Mary and John went to the store, John gave a drink to'
shot circuit 120x40 ":patch 2.z[0:5] zero\r" -ex 'layout default' -ex finish -ex 'attn 2 0 1 4'
