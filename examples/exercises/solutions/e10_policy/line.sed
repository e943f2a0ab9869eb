/^    first: POLICY,/a\    most_connections: POLICY,
