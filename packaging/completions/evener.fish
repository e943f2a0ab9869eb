# Completion of evener for fish.
set -l commands demo check status top connections explain drain ready maintain weight rebalance kill reload
set -l asks status top connections explain drain ready maintain weight rebalance kill reload
set -l policies round_robin weighted_round_robin least_connections power_of_two random source_hash maglev first

complete -c evener -f
complete -c evener -n __fish_use_subcommand -a demo -d 'Bring three backends along, to try it out'
complete -c evener -n __fish_use_subcommand -a check -d 'Validate a config file, no more'
complete -c evener -n __fish_use_subcommand -a status -d 'Listeners, pools and backends of a running evener'
complete -c evener -n __fish_use_subcommand -a top -d 'The same, again and again'
complete -c evener -n __fish_use_subcommand -a connections -d 'The sessions that live now'
complete -c evener -n __fish_use_subcommand -a explain -d 'Which backend is next, and why'
complete -c evener -n __fish_use_subcommand -a drain -d 'Let a backend finish what it has'
complete -c evener -n __fish_use_subcommand -a ready -d 'Take a backend back'
complete -c evener -n __fish_use_subcommand -a maintain -d 'Take a backend out, probes included'
complete -c evener -n __fish_use_subcommand -a weight -d 'Change the share of a backend'
complete -c evener -n __fish_use_subcommand -a rebalance -d 'Close what backends have beyond their shares'
complete -c evener -n __fish_use_subcommand -a kill -d 'End a session'
complete -c evener -n __fish_use_subcommand -a reload -d 'Read the config again'

complete -c evener -s h -l help -d 'Print a summary'
complete -c evener -s V -l version -d 'Print the version'
complete -c evener -l admin -x -a off -d 'Admin address'
complete -c evener -n "not __fish_seen_subcommand_from $commands" -s c -l config -r -F -d 'Read everything from this file'
complete -c evener -n "__fish_seen_subcommand_from $asks" -s c -l config -r -F -d 'Its config, which says where it is'
complete -c evener -n "not __fish_seen_subcommand_from check $asks" -s l -l listen -x -d 'Listen on'
complete -c evener -n "not __fish_seen_subcommand_from check $asks" -s b -l balance -x -a "$policies" -d 'How a backend is chosen'
complete -c evener -n "not __fish_seen_subcommand_from check $asks" -l print-config -d 'Print the effective config'
complete -c evener -n "__fish_seen_subcommand_from demo" -l guide -d 'Begin with a guided tour'
complete -c evener -n "__fish_seen_subcommand_from check" -F
complete -c evener -n "__fish_seen_subcommand_from $asks" -l token-file -r -F -d 'File with the token'
complete -c evener -n "__fish_seen_subcommand_from $asks" -l json -d 'Print JSON'
complete -c evener -n "__fish_seen_subcommand_from explain" -l client -x -d 'For a client of this address'
complete -c evener -n "__fish_seen_subcommand_from explain" -l sni -x -d 'For a TLS client that asks for this name'
complete -c evener -n "__fish_seen_subcommand_from reload" -l dry-run -d 'Only print what would change'
complete -c evener -n "__fish_seen_subcommand_from drain" -l close -d 'Close the sessions, too'
complete -c evener -n "__fish_seen_subcommand_from drain rebalance" -l rate -x -d 'How many are closed in a second'
complete -c evener -n "__fish_seen_subcommand_from drain rebalance" -l idle-for -x -d 'What is silent for so long is idle'
complete -c evener -n "__fish_seen_subcommand_from rebalance" -l stop -d 'Close no more'
