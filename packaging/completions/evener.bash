# Completion of evener for bash.
_evener() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="" command="" i
    ((COMP_CWORD > 0)) && before="${COMP_WORDS[COMP_CWORD - 1]}"
    local commands="demo check status top connections explain drain ready maintain weight rebalance kill reload"
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ " $commands " == *" ${COMP_WORDS[i]} "* ]]; then
            command="${COMP_WORDS[i]}"
            break
        fi
    done
    case "$before" in
        -c | --config | --token-file | check)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        -b | --balance)
            mapfile -t COMPREPLY < <(compgen -W "round_robin weighted_round_robin least_connections \
                power_of_two random source_hash maglev first" -- "$word")
            return
            ;;
        --admin)
            mapfile -t COMPREPLY < <(compgen -W "off" -- "$word")
            return
            ;;
        -l | --listen | --client | --sni | --rate | --idle-for) return ;;
    esac
    local options="--help --version"
    case "$command" in
        "") options+=" --config --listen --balance --admin --print-config" ;;
        demo) options+=" --listen --balance --admin --print-config --guide" ;;
        check) ;;
        *) options+=" --admin --config --token-file --json" ;;
    esac
    case "$command" in
        explain) options+=" --client --sni" ;;
        drain) options+=" --close --rate --idle-for" ;;
        rebalance) options+=" --rate --idle-for --stop" ;;
        reload) options+=" --dry-run" ;;
    esac
    [[ -n $command || $word == -* ]] || options="$commands"
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
}
complete -F _evener evener
