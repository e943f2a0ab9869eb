/^policies! {/a\    most_connections: POLICY,
