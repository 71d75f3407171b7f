#!/bin/sh
# deps.sh check|install GROUP... - what building, testing and the other targets need.
#
# check says what is missing and fails. install installs it with apt where it may do so without
# asking, and otherwise prints the one command to type and fails. Both are silent where nothing is
# missing. What counts is that a header, library or command is found, not its package.
# shellcheck disable=SC2086,SC2046 # lists are split on purpose
set -u
CC=${CC:-cc}
case $CC in *clang*) clang=$CC ;; *) clang=clang ;; esac
tmp=
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

# Lines of: Debian's package, then what it has to bring.
needs() {
    case $1 in
    build) cat <<'END' ;;
build-essential  command cc
libncurses-dev   library ncursesw ncurses.h
libreadline-dev  library readline readline/readline.h
libcjson-dev     library cjson cjson/cJSON.h
libpcre2-dev     library pcre2-8 pcre2.h
libutf8proc-dev  library utf8proc utf8proc.h
END
    test) cat <<'END' ;;
libcmocka-dev    library cmocka setjmp.h stdarg.h stddef.h stdint.h cmocka.h
libvterm-dev     library vterm vterm.h
END
    clang) cat <<'END' ;;
clang            command clang
libomp-dev       clang -fopenmp
END
    fuzz) needs clang; echo 'libclang-rt-dev clang -fsanitize=fuzzer-no-link,address,undefined' ;;
    lint) needs clang; echo 'clang-tidy command clang-tidy' ;;
    format) echo 'clang-format command clang-format' ;;
    screenshots) cat <<'END' ;;
xvfb             command Xvfb
xterm            command xterm
imagemagick      command import
python3          command python3
END
    valgrind) echo 'valgrind command valgrind' ;;
    *) echo "deps.sh: no group \"$1\"" >&2; exit 2 ;;
    esac
}

# library_found NAME... -- HEADER...: one preprocessor and one linker run for any number of them.
library_found() {
    libs=
    while [ "$1" != -- ]; do libs="$libs -l$1"; shift; done
    shift
    {
        for header; do printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$header"; done
    } | $CC ${CPPFLAGS:-} ${CFLAGS:-} -E -P -xc - >/dev/null 2>&1 &&
        $CC ${LDFLAGS:-} -nostdlib -shared -o "$tmp/lib" $libs 2>/dev/null
}

is_there() { # a line of needs(), without the package
    kind=$1 name=$2; shift 2
    case $kind in
    command)
        case $name in cc) name=$CC ;; clang) name=$clang ;; esac
        command -v ${name%% *} >/dev/null ;;
    library) library_found "$name" -- "$@" || pkg-config --exists "$name" 2>/dev/null ||
        pkg-config --exists "lib$name" 2>/dev/null ;;
    clang) echo 'int main(void){return 0;}' | $clang "$name" -xc - -o "$tmp/clang" 2>/dev/null ;;
    esac
}

# Sets $missing, the packages, and $what, how to tell them.
look() {
    missing="" what=""
    names=$(printf '%s\n' "$list" | awk '$2 == "library" { print $3 }')
    headers=$(printf '%s\n' "$list" |
        awk '$2 == "library" { for (i = 4; i <= NF; i++) print $i }')
    all_libraries=no
    [ -z "$names" ] || ! library_found $names -- $headers || all_libraries=yes
    while read -r package rest; do
        case $rest in 'library '*) [ $all_libraries = no ] || continue ;; esac
        is_there $rest && continue
        missing="$missing $package"
        what="$what  $package ($rest)
"
    done <<END
$list
END
    missing=${missing# }
}

# A package's name differs between releases: those that apt does not know are left out, and
# whether that did it is seen when we look again.
known() {
    for package; do
        apt-cache show "$package" >/dev/null 2>&1 && printf '%s ' "$package"
    done
}

apt() { $may env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

[ $# -ge 2 ] || { echo "usage: deps.sh check|install GROUP..." >&2; exit 2; }
action=$1; shift
list=$(for group; do needs "$group" || exit; done) || exit
tmp=$(mktemp -d) || exit
look
[ -n "$missing" ] || exit 0

if [ "$action" = check ]; then
    printf 'missing:\n%s' "$what" >&2
    case "$*" in
    *clang*) echo "to install: sudo apt-get install $missing" >&2 ;;
    *) echo 'to install: make deps' >&2 ;;
    esac
    exit 1
fi

may=no
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then may=
    elif sudo -n true 2>/dev/null; then may='sudo -n'
    fi
fi
if [ "$may" = no ]; then
    printf 'missing:\n%s' "$what" >&2
    if command -v apt-get >/dev/null; then
        echo "to install: sudo apt-get update && sudo apt-get install -y $missing" >&2
    else
        echo "there is no apt-get here; the names are Debian's and Ubuntu's, yours may differ" >&2
    fi
    exit 1
fi
echo "installing: $missing"
# pkg-config is not needed, only convenient: no reason to install anything by itself.
fetch() { apt install -y --no-install-recommends $(known $missing) pkg-config >"$tmp/log" 2>&1; }
have_lists() { ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; }
# A list may be old and name files that are gone, so a failure is worth one update too.
{ have_lists && fetch; } || { apt update >"$tmp/log" 2>&1; fetch; } || cat "$tmp/log" >&2
look
[ -n "$missing" ] || exit 0
printf 'still missing:\n%s' "$what" >&2
exit 1
