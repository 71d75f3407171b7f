# Completion of midpass's command line for bash: options as --help tells them, models as folders or as
# names in the Hugging Face cache.
_midpass_models() {
    local hub=${HF_HUB_CACHE:-${HF_HOME:-$HOME/.cache/huggingface}/hub} folder name
    for folder in "$hub"/models--*/; do
        [ -d "$folder" ] || continue
        name=${folder%/}
        name=${name##*/models--}
        printf '%s\n' "${name//--//}"
    done
}

_midpass() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
    COMPREPLY=()
    case $before in
    --device) words='auto cpu cuda cuda:0 cuda:1' ;;
    --dtype) words='f32 bf16' ;;
    --rope) words='auto short long' ;;
    --isa) words='scalar avx2 avx512' ;;
    --allow) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    -x) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -ex | --ids | --ctx | --mem | --threads | --stride | --chunk) return ;;
    esac
    if [ -z "$words" ] && [[ $word == -* ]]; then
        words=$("${COMP_WORDS[0]}" --help 2>/dev/null | grep -oE '^ +-.*' | cut -c1-20 |
            grep -oE -- '--?[a-z]+(-[a-z]+)*')
        words+=$'\n'$("${COMP_WORDS[0]}" --help 2>/dev/null | grep -oE -- '--rc|--version')
    fi
    if [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word" | sort -u)
        return
    fi
    mapfile -t COMPREPLY < <(compgen -d -- "$word"; compgen -W "$(_midpass_models)" -- "$word")
    [ "$before" != --resume ] ||
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -X '!*.log' -- "$word")
}
complete -o filenames -F _midpass midpass
