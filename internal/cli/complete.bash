# bash completion for PROGRAM. The program itself lists the candidates.
_PROGRAM() {
    local cur=${COMP_WORDS[COMP_CWORD]} line found
    [[ $cur == = ]] && cur=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :file | :dir)
            compopt -o filenames 2>/dev/null
            while IFS= read -r found; do
                COMPREPLY+=("$found")
            done < <(if [[ $line == :dir ]]; then compgen -d -- "$cur"; else compgen -f -- "$cur"; fi)
            ;;
        *)
            COMPREPLY+=("${line%%$'\t'*}")
            ;;
        esac
    done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _PROGRAM PROGRAM
