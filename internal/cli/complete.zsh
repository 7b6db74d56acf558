#compdef PROGRAM
# zsh completion for PROGRAM. The program itself lists the candidates.
_PROGRAM() {
    local line
    local -a candidates
    local -a lines=("${(@f)$("$words[1]" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    # Candidates for --flag=value are values only.
    compset -P '--*='
    for line in $lines; do
        case $line in
        :file) _files ;;
        :dir) _files -/ ;;
        *) candidates+=("${line/$'\t'/:}") ;;
        esac
    done
    (( $#candidates )) && _describe PROGRAM candidates
}
if [[ $funcstack[1] == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
