# bash completion for midpass: options, their values, folders and the models of the Hugging Face cache.

# Models by name, ORG/NAME, as engine/model/hub.h looks for them.
_midpass_models() {
    local hub=${HF_HUB_CACHE:-} folder name
    [ -n "$hub" ] || hub=${HF_HOME:+$HF_HOME/hub}
    [ -n "$hub" ] || hub=${XDG_CACHE_HOME:-$HOME/.cache}/huggingface/hub
    for folder in "$hub"/models--*/snapshots; do
        [ -d "$folder" ] || continue
        name=${folder%/snapshots}
        name=${name##*/models--}
        printf '%s\n' "${name/--//}"
    done
}

# What OPTION's value can be, in COMPREPLY; fails if the option takes none.
_midpass_value() { # _midpass_value OPTION CURRENT
    case $1 in
    -x | --resume) mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
    --allow) mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
    --device) mapfile -t COMPREPLY < <(compgen -W 'auto cpu cuda' -- "$2") ;;
    --dtype) mapfile -t COMPREPLY < <(compgen -W 'f32 bf16' -- "$2") ;;
    --isa) mapfile -t COMPREPLY < <(compgen -W 'scalar avx2 avx512' -- "$2") ;;
    --rope) mapfile -t COMPREPLY < <(compgen -W 'auto short long' -- "$2") ;;
    -ex | --ex | --ids | --ctx | --mem | --threads | --stride | --chunk) COMPREPLY=() ;;
    *) return 1 ;;
    esac
}

_midpass() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local options='--plain --slow --batch -ex -x --json --ids --ctx --mem --rope --device --dtype --exact
        --threads --plan --stride --chunk --isa --resume --sessions --no-log --no-rc --rc --allow
        --help --version'
    local i given=0 only_words=0
    COMPREPLY=()
    # bash makes three words of --rope=short.
    if [ "$current" = = ]; then
        _midpass_value "$before" ''
        return
    fi
    if [ "$before" = = ]; then
        _midpass_value "${COMP_WORDS[COMP_CWORD - 2]}" "$current"
        return
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        if ((only_words)); then
            given=$((given + 1))
            continue
        fi
        case ${COMP_WORDS[i]} in
        --) only_words=1 ;;
        =) i=$((i + 1)) ;;
        --resume) ;; # the next word may be a log, or the model
        -*)
            if _midpass_value "${COMP_WORDS[i]}" '' && [ "${COMP_WORDS[i + 1]}" != = ]; then
                i=$((i + 1))
                # That value is the current word.
                ((i < COMP_CWORD)) || { _midpass_value "$before" "$current"; return; }
            fi
            ;;
        *) [ "${COMP_WORDS[i - 1]}" = --resume ] && [ -f "${COMP_WORDS[i]}" ] || given=$((given + 1)) ;;
        esac
    done
    COMPREPLY=()
    if ((!only_words)) && [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif ((!only_words)) && [ "$before" = --resume ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif ((given == 0)); then
        local name
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        while read -r name; do
            [[ $name == "$current"* ]] && COMPREPLY+=("$name")
        done < <(_midpass_models)
        # A model's last name does, too.
        [ ${#COMPREPLY[@]} -gt 0 ] || while read -r name; do
            [[ ${name##*/} == "$current"* ]] && COMPREPLY+=("${name##*/}")
        done < <(_midpass_models)
    fi
}

complete -o filenames -F _midpass midpass
