# fish completion for PROGRAM. The program itself lists the candidates.
function __PROGRAM_candidates
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    # Candidates for --flag=value are values only; fish wants the whole word.
    set -l flag (string match -r -- '^--[^=]*=' $word)
    set -l value (string replace -r -- '^--[^=]*=' '' $word)
    for line in ($words[1] __complete $words[2..-1] "$word" 2>/dev/null)
        switch $line
            case :file
                printf "$flag%s\n" (__fish_complete_path "$value")
            case :dir
                printf "$flag%s\n" (__fish_complete_directories "$value")
            case '*'
                printf '%s\n' "$flag$line"
        end
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_candidates)'
